"""Imports many local files into the library. A second run continues an interrupted import."""

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
from cropmark.library.inspection import inspect_file
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
from cropmark.model.problems import BadRequest, Problem, SourceNotFound
from cropmark.ports import OpenSource, Renderers, SourceVersion

CONCURRENCY: Final = 4
"""Number of files imported at the same time: one file is read while another is inspected or committed."""
_MAX_FILES: Final = 1_000_000


class ImportOutcome(Enum):
    """The outcome of a file's import. The values are the words in the summary that the command prints."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    NEW_VERSION = "updated"
    CHANGED = "changed but not updated"
    UNKNOWN_TYPE = "of an unknown type"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """The outcome of one file's import, with the asset or the reason for the failure."""

    path: Path
    outcome: ImportOutcome
    asset: Asset | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BulkImport:
    """The options of an import.

    With `update`, a file that changed since its last import becomes a new version. Without it, the change is only
    reported.
    """

    place: BranchRef
    by: str
    publishing: PublishRequest | None = None
    changes: AssetChanges = field(default_factory=AssetChanges)
    update: bool = False


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files at the given paths. A folder is replaced by all files below it, sorted, without hidden files.

    Raises SourceNotFound for a missing path, and BadRequest for too many files.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(_files_below(path))
        elif path.is_file():
            files.append(path)
        else:
            raise SourceNotFound(f"file not found: {path}", fix="check the path")
        if len(files) > _MAX_FILES:
            raise BadRequest(f"expected at most {_MAX_FILES:,} files", fix="import fewer files at a time")
    return files


async def import_files(
    store: LibraryStore,
    renderers: Renderers,
    files: Iterable[Path],
    options: BulkImport,
    report: Callable[[ImportRecord], None],
) -> None:
    """Import the files, CONCURRENCY at a time. Calls `report` with the record of each file when its import ends.

    One transaction adds the file, publishes it and stores its path, so a second run skips the file.
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
    except UnknownType as error:
        return ImportRecord(path, ImportOutcome.UNKNOWN_TYPE, reason=str(error))
    except Problem as problem:
        return ImportRecord(path, ImportOutcome.FAILED, reason=problem.detail)
    finally:
        source.close()


class UnknownType(Exception):
    """Raised for a file of an unknown format.

    Such a file is not imported, because it may not be intended for the public.
    """


async def inspect(source: OpenSource, renderers: Renderers, name: str) -> UploadInfo:
    """The name, format and image size of a file. A renderer reads the size. Raises UnknownType and Problems."""
    upload = await inspect_file(source, renderers, os.fsencode(name).decode("utf-8", "replace")[-MAX_NAME_CHARS:])
    if upload.format is None and upload.other_type is None:
        raise UnknownType("not a known format")
    return upload


def _already_imported(store: LibraryStore, path: Path, source: OpenSource, options: BulkImport) -> ImportRecord | None:
    """The record of a file that an earlier import stored; None if the file must be imported now.

    Publishes the unchanged asset if the options request publishing and its newest version is not published.
    """
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
    """True if the asset's newest version is already published in all requested environments and locales."""
    published = {(name, p.locale) for p in asset.publications if p.version == asset.newest for name in _names(p)}
    return all((name, locale) in published for name in publishing.environments for locale in publishing.locales)


def _names(publication: Publication) -> tuple[str, ...]:
    return (publication.environment, publication.environment_name)


def _origin(path: Path) -> str:
    """The text that identifies an imported file: its absolute path, or a `file:` URL if the path is not UTF-8.

    Different paths have different texts.
    """
    absolute = path.resolve()
    try:
        return os.fsencode(absolute).decode("utf-8")
    except UnicodeDecodeError:
        return absolute.as_uri()


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in files if not name.startswith("."))


def open_file(path: Path) -> OpenSource:
    """Open a local file, which the caller closes. Raises OSError, also if the path is not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for its writer
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return OpenSource.from_fd(descriptor, status.st_size, SourceVersion(f"import:{path.name}", ""))
