"""Signing keys by site and by URL, and signing with them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.security.signing import Keyring, SigningKey
from cropmark.web.routing import Mount, Router, host_name

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")


def site_keyring(settings: Settings, site: SiteSettings | None = None) -> Keyring | None:
    """The keys of a site: its own if configured, even an empty list, else the server's. None: URLs are not signed."""
    keys = settings.signing_keys if site is None or site.signing_keys is None else site.signing_keys
    return parse_keyring(tuple(key.get_secret_value() for key in keys))


def parse_keyring(keys: Sequence[str]) -> Keyring | None:
    """The keyring of these keys, None for an empty list. Raises ValueError for an invalid key."""
    return Keyring(SigningKey.read(key) for key in keys) if keys else None


def url_keyring(settings: Settings, url: str) -> Keyring | None:
    """The keys of the site that serves a URL, or the server's; None: its URLs are not signed.

    Endpoints such as PixLab's have API keys and take no signature.
    """
    parts = urlsplit(url)
    signed = [site for site in settings.site if not site.is_endpoint]
    router = Router((Mount.configured(site.prefix, site.hosts), site) for site in signed)
    found = router.find(host_name(parts.netloc), parts.path)
    return site_keyring(settings, found[0] if found else None)


def read_keyring(file: Path) -> Keyring:
    """The key in the first line of a file. Raises OSError, and ValueError for an invalid key."""
    lines = file.read_text("utf-8").splitlines()
    return Keyring([SigningKey.read(lines[0].strip() if lines else "")])


def sign_url(url: str, keys: Keyring, expires: str | None = None, key_id: str | None = None) -> str:
    """The signed URL, valid for the duration `expires` from now, or without limit. Raises ValueError."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    expires_s = None if expires is None else int(time.time()) + duration_s(expires)
    return origin + keys.sign(url.removeprefix(origin), expires_s=expires_s, key_id=key_id)


def duration_s(text: str) -> int:
    """Seconds of a duration such as `90`, `90s`, `15m`, `1h`, `7d`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a duration such as 90s, 15m, 1h or 7d, got {text[:40]!r}")
    return int(found[1]) * _UNITS[found[2]]
