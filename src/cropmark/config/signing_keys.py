"""Which keys sign which URL, by the configuration."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cropmark.config.loader import Settings, SiteSettings
from cropmark.security.signing import Keyring, SigningKey

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PERIOD = re.compile(r"([0-9]{1,9})([smhd]?)")


def keyring(settings: Settings, site: SiteSettings | None = None) -> Keyring | None:
    """The keys that a site takes: its own where it names any, even none, else the server's. None: it is not signed."""
    keys = settings.signing_keys if site is None or site.signing_keys is None else site.signing_keys
    return ring(tuple(key.get_secret_value() for key in keys))


def ring(keys: Sequence[str]) -> Keyring | None:
    """Raises ValueError for a key that will not do."""
    return Keyring(SigningKey.read(key) for key in keys) if keys else None


def keyring_for(settings: Settings, url: str) -> Keyring | None:
    """The keys for a URL, by its host and path. PixLab's endpoints have a key of their own and are not signed."""
    parts = urlsplit(url)
    fitting = [site for site in settings.site if site.dialect != "pixlab" and _serves(site, parts.hostname, parts.path)]
    # As the server looks for a site: its own host before any host, a longer prefix before a shorter one.
    fitting.sort(key=lambda site: (not site.hosts, -len(site.prefix)))
    return keyring(settings, fitting[0] if fitting else None)


def ring_in(file: Path) -> Keyring:
    """The key in a file's first line. Raises OSError, and ValueError for a key that will not do."""
    lines = file.read_text("utf-8").splitlines()
    return Keyring([SigningKey.read(lines[0].strip() if lines else "")])


def signed(url: str, keys: Keyring, expires: str | None = None, key_id: str | None = None) -> str:
    """The URL with a signature that holds from now on, for `expires`. Raises ValueError."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    end_s = None if expires is None else int(time.time()) + period_s(expires)
    return origin + keys.sign(url.removeprefix(origin), expires_s=end_s, key_id=key_id)


def _serves(site: SiteSettings, host: str | None, path: str) -> bool:
    named = {name.lower() for name in site.hosts}
    return (not named or host in named) and path.startswith(site.prefix.rstrip("/") + "/")


def period_s(text: str) -> int:
    """Seconds of `90`, `90s`, `15m`, `1h`, `7d`. Raises ValueError."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a time such as 90s, 15m, 1h or 7d, got {text[:40]!r}")
    return int(found[1]) * _UNITS[found[2]]
