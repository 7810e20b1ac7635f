"""The configuration's library becomes objects: where it lies, if there is one, and where it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cropmark.config.loader import Settings
from cropmark.config.paths import data_folder
from cropmark.library.errors import FILE, LibraryUnavailable
from cropmark.model.assets import UID, UUID

if TYPE_CHECKING:
    from cropmark.library.blobs import BlobStore
    from cropmark.library.store import LibraryStore

LIBRARY_SOURCE: Final = "library"
"""What a site's source is called where it is the library; a folder of that name is ./library."""
IN_LIBRARY: Final[Mapping[str, Mapping[str, Any]]] = {"contentstack": {"environments": None}}
"""The settings of dialects that differ over a library: it knows itself what is published where."""

_ASSETS = re.compile(rf"v3/assets/{UID.pattern}/{UID.pattern}(/|$)")
_FILES = re.compile(rf"{UUID.pattern}/{UUID.pattern}/[^/]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LibraryMount:
    """Where the library answers without being configured: a dialect below a prefix, on the paths that fit."""

    name: str
    dialect: str
    prefix: str
    paths: re.Pattern[str]
    differing: Mapping[str, Any] = field(default_factory=dict)


def library_folder(settings: Settings) -> Path:
    """Where the library lies, but for what the configuration puts elsewhere."""
    return data_folder(settings) / LIBRARY_SOURCE


def is_there(settings: Settings) -> bool:
    """Whether there is a library, or one was asked for by its database."""
    return bool(settings.database_url) or (library_folder(settings) / FILE).is_file()


def opened(settings: Settings) -> LibraryStore:
    """The library; an empty one where there was none. Raises LibraryUnusable."""
    from cropmark.library.store import LibraryStore  # noqa: PLC0415 - as places.py says

    url = settings.database_url.get_secret_value() if settings.database_url else ""
    return LibraryStore.opened(library_folder(settings), url, _blobs(settings))


def unusable(settings: Settings) -> Iterator[tuple[str, LibraryUnavailable]]:
    """Settings that name no database and no bucket, as their URLs tell: neither is asked, and no folder made."""
    for name, read in _reading(settings):
        try:
            read()
        except LibraryUnavailable as error:
            yield name, error


def _reading(settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    if settings.database_url:
        from cropmark.library.database import Database, read_url  # noqa: PLC0415 - as places.py says

        url = settings.database_url.get_secret_value()
        yield "database_url", lambda: Database(read_url(url))
    for name, store in (("library_store", settings.library_store), ("pixlab_store", settings.pixlab_store)):
        if store and not store.startswith("file:"):
            from cropmark.library.bucket import Bucket  # noqa: PLC0415

            yield name, partial(Bucket.at, store, name, role=settings.bucket_role)


def addresses(settings: Settings) -> Iterator[LibraryMount]:
    """Where the library answers: beside the folder, and as the vendor's own host does, unless a site is there."""
    library = IN_LIBRARY["contentstack"]
    yield LibraryMount("library", "contentstack", "/contentstack", _ASSETS, library)
    yield LibraryMount("library-files", "kontent", "/kontent", _FILES)
    if not any(not site.hosts and not site.prefix.strip("/") for site in settings.site):
        yield LibraryMount("library-host", "contentstack", "", _ASSETS, library)


def management_places(settings: Settings) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Where the management API answers: prefix, hosts, and hosts where it does not, for they are other sites'."""
    others: list[str] = []
    for site in settings.site:
        hosts = tuple(host.lower() for host in site.hosts)
        if site.source == LIBRARY_SOURCE and site.dialect == "contentstack":
            yield site.prefix.rstrip("/"), hosts, ()
        else:
            others += hosts
    for at in addresses(settings):
        if at.dialect == "contentstack":
            yield at.prefix, (), tuple(others)


def _blobs(settings: Settings) -> BlobStore | None:
    """Where the bytes are, if not in the data folder; known to answer. Raises LibraryUnusable."""
    if not settings.library_store:
        return None
    from cropmark.library.bucket_blobs import BucketBlobStore  # noqa: PLC0415 - as places.py says

    found = BucketBlobStore.at(settings.library_store, role=settings.bucket_role)
    found.check()
    return found
