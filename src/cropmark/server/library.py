"""Opens the configured library, and lists the mounts at which it is served."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cropmark.config.paths import data_folder
from cropmark.config.settings import Settings
from cropmark.config.source_spec import LibrarySpec
from cropmark.library.errors import FILE, LibraryUnavailable
from cropmark.model.assets import UID, UUID
from cropmark.web.routing import Mount

if TYPE_CHECKING:
    from cropmark.library.blobs import BlobStore
    from cropmark.library.store import LibraryStore

# Imports inside functions: SQLAlchemy and obstore take 0.3 s to load, and most servers have no library.

LIBRARY_FOLDER: Final = "library"
"""The library's folder inside the data folder."""
LIBRARY_OVERRIDES: Final[Mapping[str, Mapping[str, Any]]] = {"contentstack": {"environments": None}}
"""Dialect settings of a site over the library: the library itself stores where each asset is published."""

_ASSETS = re.compile(rf"v3/assets/{UID.pattern}/{UID.pattern}(/|$)")
_FILES = re.compile(rf"{UUID.pattern}/{UUID.pattern}/[^/]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LibraryMount:
    """A default mount of the library, for URLs in the form of a vendor's asset URLs. It needs no configuration."""

    name: str
    dialect: str
    mount: Mount
    overrides: Mapping[str, Any] = field(default_factory=dict)


def library_folder(settings: Settings) -> Path:
    """The folder of the library's database and files.

    The settings `database_url` and `library_store` can move the database and the files elsewhere.
    """
    return data_folder(settings) / LIBRARY_FOLDER


def exists(settings: Settings) -> bool:
    """True if the library exists: its database file is in the folder, or `database_url` is set."""
    return bool(settings.database_url) or (library_folder(settings) / FILE).is_file()


def open_library(settings: Settings) -> LibraryStore:
    """Open the library, or create it. Raises LibraryUnavailable."""
    from cropmark.library.store import LibraryStore  # noqa: PLC0415 - slow to load, see above

    url = settings.database_url.get_secret_value() if settings.database_url else ""
    folder, timeout_s = library_folder(settings), settings.database_timeout_s
    return LibraryStore.open(folder, url, _bucket_blobs(settings), timeout_s=timeout_s)


def invalid_settings(settings: Settings) -> Iterator[tuple[str, LibraryUnavailable]]:
    """The name and the error of each setting with an invalid database or bucket URL. Sends no request."""
    for name, parse in _parsers(settings):
        try:
            parse()
        except LibraryUnavailable as error:
            yield name, error


def _parsers(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    if settings.database_url:
        from cropmark.library.database import Database, parse_url  # noqa: PLC0415 - slow to load, see above

        url = settings.database_url.get_secret_value()
        yield "database_url", lambda: Database(parse_url(url))
    for name, store in (("library_store", settings.library_store), ("pixlab_store", settings.pixlab_store)):
        if store and not store.startswith("file:"):
            from cropmark.library.bucket import Bucket  # noqa: PLC0415 - slow to load, see above

            yield name, partial(Bucket.from_url, store, name, role=settings.allow_instance_credentials)


def library_mounts(settings: Settings) -> Iterator[LibraryMount]:
    """The default mounts of the library, which need no configuration.

    They are /contentstack and /kontent, and the root unless a site is configured for the root of all hosts.
    """
    overrides = LIBRARY_OVERRIDES["contentstack"]
    yield LibraryMount("library", "contentstack", Mount("/contentstack", paths=_ASSETS), overrides)
    yield LibraryMount("library-files", "kontent", Mount("/kontent", paths=_FILES))
    if not any(not site.hosts and not site.prefix.strip("/") for site in settings.site):
        yield LibraryMount("library-host", "contentstack", Mount(paths=_ASSETS), overrides)


def management_mounts(settings: Settings) -> Iterator[Mount]:
    """The mounts of the management API.

    It is served at each configured Contentstack site over the library, and at the library's default Contentstack
    mounts. The default mounts exclude the hosts of all other configured sites.
    """
    others: list[str] = []
    for site in settings.site:
        mount = Mount.configured(site.prefix, site.hosts)
        if isinstance(site.source, LibrarySpec) and site.dialect == "contentstack":
            yield mount
        else:
            others += mount.hosts
    for at in library_mounts(settings):
        if at.dialect == "contentstack":
            yield Mount(at.mount.prefix, excluded_hosts=tuple(others))


def _bucket_blobs(settings: Settings) -> BlobStore | None:
    """The bucket of the library's files; None if no bucket is configured.

    Sends a request to the bucket. Raises LibraryUnavailable if that fails.
    """
    if not settings.library_store:
        return None
    from cropmark.library.bucket_blobs import BucketBlobStore  # noqa: PLC0415 - slow to load, see above

    blobs = BucketBlobStore.from_url(settings.library_store, role=settings.allow_instance_credentials)
    blobs.check()
    return blobs
