"""Finds the signing keys of a site or a URL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.dialects import registry
from cropmark.security.signing import Keyring, SigningKey
from cropmark.web.routing import INFO_PREFIX, Mount, Router, host_name


def site_keyring(settings: Settings, site: SiteSettings | None = None) -> Keyring | None:
    """The keys that sign a site's URLs: the site's own keys, else the server's. None if its URLs are not signed.

    An empty list of the site's own keys overrides the server's keys.
    """
    keys = settings.signing_keys if site is None or site.signing_keys is None else site.signing_keys
    return parse_keyring(tuple(key.get_secret_value() for key in keys))


def parse_keyring(keys: Sequence[str]) -> Keyring | None:
    """The keyring with these keys; None without keys. Raises ValueError for an invalid key."""
    return Keyring(SigningKey.read(key) for key in keys) if keys else None


def url_keyring(settings: Settings, url: str, library_mounts: Iterable[Mount] = ()) -> Keyring | None:
    """The keys that sign a URL: those of its site, else the server's. None if the URL needs no signature.

    URLs of the folder and of the library are signed with the server's keys. `library_mounts` are the mounts of the
    library. URLs of endpoints such as PixLab's need no signature, because endpoints have API keys.
    """
    parts = urlsplit(url)
    mounts: list[tuple[Mount, SiteSettings | None]] = [(mount, None) for mount in library_mounts]
    if settings.folder is not None:
        defaults = (default for entry in registry.folder_entries() for default in entry.mounts)
        mounts += [(Mount(default.prefix), None) for default in defaults]
    signed = [site for site in settings.site if not site.is_endpoint]
    mounts += [(Mount.configured(site.prefix, site.hosts), site) for site in signed]
    path = parts.path.removeprefix(INFO_PREFIX)  # the document about an image is signed by the keys of its site
    found = Router(mounts).find(host_name(parts.netloc), path)
    return site_keyring(settings, found[0] if found else None)


def read_keyring(file: Path) -> Keyring:
    """A keyring with the key in the first line of a file. Raises OSError, and ValueError for an invalid key."""
    lines = file.read_text("utf-8").splitlines()
    return Keyring([SigningKey.read(lines[0].strip() if lines else "")])
