"""Signing keys by site and by URL."""

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
    """The keys of a site: its own list, even if that is empty, or else the server's keys.

    None: URLs are not signed.
    """
    keys = settings.signing_keys if site is None or site.signing_keys is None else site.signing_keys
    return parse_keyring(tuple(key.get_secret_value() for key in keys))


def parse_keyring(keys: Sequence[str]) -> Keyring | None:
    """The keyring of these keys, None for an empty list. Raises ValueError for an invalid key."""
    return Keyring(SigningKey.read(key) for key in keys) if keys else None


def url_keyring(settings: Settings, url: str, library_mounts: Iterable[Mount] = ()) -> Keyring | None:
    """The keys of the site that serves a URL, or the server's keys; None: the URL needs no signature.

    `library_mounts` are the mounts of the library; URLs there are signed with the server's keys, as are those of the
    folder. Endpoints such as PixLab's have API keys and take no signature.
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
    """The key in the first line of a file. Raises OSError, and ValueError for an invalid key."""
    lines = file.read_text("utf-8").splitlines()
    return Keyring([SigningKey.read(lines[0].strip() if lines else "")])
