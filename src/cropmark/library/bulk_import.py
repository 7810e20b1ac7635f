"""Many files into the library: begun anew, it goes on where it ended, whatever ended it."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from cropmark.library.blobs import digest_of
from cropmark.library.store import LibraryStore
from cropmark.model.assets import MAX_NAME_CHARS, Asset, BranchRef, Changes, Publication, Publishing, UploadInfo
from cropmark.model.formats import READABLE, SNIFFED_BYTES, sniffed
from cropmark.model.problems import BadRequest, Problem, SourceNotFound
from cropmark.ports import OpenSource, Renderers, SourceVersion

AT_ONCE: Final = 4
"""Files in hand: reading, a renderer's look and the database's commit overlap."""
_WALKED: Final = 1_000_000


class ImportOutcome(Enum):
    """What became of a file."""

    ADDED = "added"
    UNCHANGED = "there already"
    NEW_VERSION = "new versions"
    CHANGED = "changed since, and left"
    NOT_AN_IMAGE = "no pictures"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """A file and what became of it; the asset where there is one, the reason where there is none."""

    path: Path
    outcome: ImportOutcome
    asset: Asset | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class BulkImport:
    """How files are taken in. `updates`: one that changed since becomes a new version."""

    place: BranchRef
    by: str
    published: Publishing | None = None
    changes: Changes = field(default_factory=Changes)
    updates: bool = False


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files, and those in the folders, sorted; hidden ones are left out. Raises SourceMissing."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(_walked(path))
        elif path.is_file():
            found.append(path)
        else:
            raise SourceNotFound(f"there is no file {path}", fix="check the path")
        if len(found) > _WALKED:
            raise BadRequest(f"expected at most {_WALKED:,} files", fix="import a part of them at a time")
    return found


async def take_in(
    store: LibraryStore,
    renderers: Renderers,
    files: Iterable[Path],
    how: BulkImport,
    told: Callable[[ImportRecord], None],
) -> None:
    """Take in the files, several at once; `told` hears of each as soon as it is kept.

    Each is added and published in one transaction, under the path that it has: whoever begins anew finds it there.
    """
    waiting = iter(files)

    async def work() -> None:
        for path in waiting:
            told(await _taken(store, renderers, path, how))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def _taken(store: LibraryStore, renderers: Renderers, path: Path, how: BulkImport) -> ImportRecord:
    try:
        source = await asyncio.to_thread(opened, path)
    except OSError as error:
        return ImportRecord(path, ImportOutcome.FAILED, why=error.strerror or str(error))
    try:
        known = await asyncio.to_thread(_known, store, path, source, how)
        if known is not None:
            return known
        upload = await inspected(source, renderers, path.name)
        return await asyncio.to_thread(_kept, store, path, upload, source, how)
    except NotAnImage as error:
        return ImportRecord(path, ImportOutcome.NOT_AN_IMAGE, why=str(error))
    except Problem as problem:
        return ImportRecord(path, ImportOutcome.FAILED, why=problem.detail)
    finally:
        source.close()


class NotAnImage(Exception):
    """A file that is none."""


async def inspected(source: OpenSource, renderers: Renderers, name: str) -> UploadInfo:
    """What a renderer finds a file to be. Raises NoPicture, and Problems."""
    kind = sniffed(os.pread(source.descriptor, SNIFFED_BYTES, 0))
    if kind is None:
        raise NotAnImage("none of the formats that are known")
    size = None
    if kind in READABLE:
        info = await renderers.inspect(source, foreign=True)
        kind, size = info.format, info.size
    text = os.fsencode(name).decode("utf-8", "replace")
    return UploadInfo(text[-MAX_NAME_CHARS:], kind, size)


def _known(store: LibraryStore, path: Path, source: OpenSource, how: BulkImport) -> ImportRecord | None:
    """What there is to tell of a file that was taken in before; None: it is to be taken in."""
    asset = store.imported(how.place, _origin(path))
    if asset is None:
        return None
    if asset.version.file.digest != digest_of(source):
        return None if how.updates else ImportRecord(path, ImportOutcome.CHANGED, asset)
    wanted = how.published
    if wanted is not None and not _is_published(asset, wanted):
        store.publish(how.place, asset.uid, wanted, how.by)
    return ImportRecord(path, ImportOutcome.UNCHANGED, asset)


def _kept(store: LibraryStore, path: Path, upload: UploadInfo, source: OpenSource, how: BulkImport) -> ImportRecord:
    origin = _origin(path)
    old = store.imported(how.place, origin)
    if old is not None:
        asset = store.replace(how.place, old.uid, upload, source, how.changes, how.by, published=how.published)
        return ImportRecord(path, ImportOutcome.NEW_VERSION, asset)
    added = store.add(how.place, upload, source, how.changes, how.by, published=how.published, origin=origin)
    return ImportRecord(path, ImportOutcome.ADDED, added)


def _is_published(asset: Asset, wanted: Publishing) -> bool:
    """Whether its newest version is published everywhere that it should be."""
    there = {(name, p.locale) for p in asset.publications if p.version == asset.newest for name in _names(p)}
    return all((name, locale) in there for name in wanted.environments for locale in wanted.locales)


def _names(publication: Publication) -> tuple[str, ...]:
    return (publication.environment, publication.environment_name)


def _origin(path: Path) -> str:
    """The whole path. Bytes that are no UTF-8 are escaped: two such names stay two."""
    return os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")


def _walked(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in files if not name.startswith("."))


def opened(path: Path) -> OpenSource:
    """A file of this machine, to be closed. Raises OSError, also for what is no file of bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for its writer
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError("no file")
    return OpenSource(descriptor, found.st_size, SourceVersion(f"import:{path.name}", ""), io.FileIO(descriptor).close)
