"""Bulk import into the library; a second run resumes an interrupted one."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from cropmark.library.blobs import digest_of
from cropmark.library.store import LibraryStore
from cropmark.model.assets import (
    MAX_NAME_CHARS,
    Asset,
    AssetChanges,
    BranchRef,
    Publication,
    PublishRequest,
    UploadInfo,
)
from cropmark.model.formats import READABLE
from cropmark.model.problems import BadRequest, Problem, SourceNotFound
from cropmark.ports import OpenSource, Renderers, SourceVersion
from cropmark.runtime.reads import source_format

CONCURRENCY: Final = 4
"""Files imported at the same time: reading, inspection in a renderer and the database's commit overlap."""
_MAX_FILES: Final = 1_000_000


class ImportOutcome(Enum):
    """The outcome of a file's import; the values are words of the command line's summary."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    NEW_VERSION = "updated"
    CHANGED = "changed but not updated"
    NOT_AN_IMAGE = "not an image"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """A file, the outcome of its import, and its asset or the reason for the failure."""

    path: Path
    outcome: ImportOutcome
    asset: Asset | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BulkImport:
    """Options of an import. `update`: a file that changed since its last import becomes a new version."""

    place: BranchRef
    by: str
    publishing: PublishRequest | None = None
    changes: AssetChanges = field(default_factory=AssetChanges)
    update: bool = False


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files and, sorted, those in the folders, without hidden ones. Raises SourceNotFound."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(_files_below(path))
        elif path.is_file():
            files.append(path)
        else:
            raise SourceNotFound(f"file not found: {path}", fix="check the path")
        if len(files) > _MAX_FILES:
            raise BadRequest(f"expected at most {_MAX_FILES:,} files", fix="import a part of them at a time")
    return files


async def import_files(
    store: LibraryStore,
    renderers: Renderers,
    files: Iterable[Path],
    options: BulkImport,
    report: Callable[[ImportRecord], None],
) -> None:
    """Import the files, CONCURRENCY at a time; `report` is called with each record when it is complete.

    Each file is added and published in one transaction that also stores its path, so a second run skips it.
    """
    waiting = iter(files)

    async def work() -> None:
        for path in waiting:
            report(await _import_file(store, renderers, path, options))

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


async def _import_file(store: LibraryStore, renderers: Renderers, path: Path, options: BulkImport) -> ImportRecord:
    try:
        source = await asyncio.to_thread(open_file, path)
    except OSError as error:
        return ImportRecord(path, ImportOutcome.FAILED, reason=error.strerror or str(error))
    try:
        record = await asyncio.to_thread(_already_imported, store, path, source, options)
        if record is not None:
            return record
        upload = await inspect(source, renderers, path.name)
        return await asyncio.to_thread(_store_file, store, path, upload, source, options)
    except NotAnImage as error:
        return ImportRecord(path, ImportOutcome.NOT_AN_IMAGE, reason=str(error))
    except Problem as problem:
        return ImportRecord(path, ImportOutcome.FAILED, reason=problem.detail)
    finally:
        source.close()


class NotAnImage(Exception):
    """The file has none of the image formats that we know."""


async def inspect(source: OpenSource, renderers: Renderers, name: str) -> UploadInfo:
    """The name, format and size of an image file, as a renderer reads them. Raises NotAnImage and Problems."""
    kind = source_format(source)
    if kind is None:
        raise NotAnImage("not a known image format")
    size = None
    if kind in READABLE:
        info = await renderers.inspect(source, untrusted=True)
        kind, size = info.format, info.size
    text = os.fsencode(name).decode("utf-8", "replace")
    return UploadInfo(text[-MAX_NAME_CHARS:], kind, size)


def _already_imported(store: LibraryStore, path: Path, source: OpenSource, options: BulkImport) -> ImportRecord | None:
    """The record of a file that was imported before; None if it must be imported. Publishes its asset if required."""
    asset = store.imported(options.place, _origin(path))
    if asset is None:
        return None
    if asset.version.file.digest != digest_of(source):
        return None if options.update else ImportRecord(path, ImportOutcome.CHANGED, asset)
    publishing = options.publishing
    if publishing is not None and not _is_published(asset, publishing):
        store.publish(options.place, asset.uid, publishing, options.by)
    return ImportRecord(path, ImportOutcome.UNCHANGED, asset)


def _store_file(
    store: LibraryStore, path: Path, upload: UploadInfo, source: OpenSource, options: BulkImport
) -> ImportRecord:
    origin = _origin(path)
    old = store.imported(options.place, origin)
    if old is not None:
        asset = store.replace(
            options.place, old.uid, upload, source, options.changes, options.by, publishing=options.publishing
        )
        return ImportRecord(path, ImportOutcome.NEW_VERSION, asset)
    added = store.add(
        options.place, upload, source, options.changes, options.by, publishing=options.publishing, origin=origin
    )
    return ImportRecord(path, ImportOutcome.ADDED, added)


def _is_published(asset: Asset, publishing: PublishRequest) -> bool:
    """True if the asset's newest version is published in each of the environments and locales."""
    published = {(name, p.locale) for p in asset.publications if p.version == asset.newest for name in _names(p)}
    return all((name, locale) in published for name in publishing.environments for locale in publishing.locales)


def _names(publication: Publication) -> tuple[str, ...]:
    return (publication.environment, publication.environment_name)


def _origin(path: Path) -> str:
    """The absolute path as text. Bytes that are not UTF-8 are escaped, so different paths stay different."""
    return os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in files if not name.startswith("."))


def open_file(path: Path) -> OpenSource:
    """A local file, which the caller closes. Raises OSError, also for anything but a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for its writer
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return OpenSource.from_fd(descriptor, status.st_size, SourceVersion(f"import:{path.name}", ""))
