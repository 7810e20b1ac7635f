"""A folder of cache entries, one file per rendition: read, written, counted, removed. All calls block.

    FOLDER/renditions/3f/3f9c…   an entry under its key
    FOLDER/unfinished/…          an entry being written; renamed into place when it is complete

The files are the only index: a restart loses nothing, and several processes may share a folder (docs/decisions/0051).
Files have mode 0600, folders 0700.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cropmark.caches import entry_format
from cropmark.caches.stats import has_tag
from cropmark.ports import Digest, Record, Rendition
from cropmark.runtime.atomic_file import write_atomically
from cropmark.runtime.file_io import FileCalls, FileState
from cropmark.runtime.reads import read_up_to

INLINE_READ_BYTES: Final = 256 * 1024
"""Largest file that is read on the event loop: 256 KiB take about 150 µs, checksum included."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_START_BYTES: Final = 4_096
_BLOCK_BYTES: Final = 4_096
_TOUCH_AFTER_S: Final = 300
_VERIFIED_TTL_S: Final = 60.0
"""Time for which a verified, unchanged file is served without another check of its checksum."""
_MAX_VERIFIED: Final = 4_096
_STALE_PART_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Usage:
    """The contents of a folder: number of entries, and the disk space they take in bytes."""

    entries: int = 0
    bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.entries + other.entries, self.bytes + other.bytes)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(max(self.entries - other.entries, 0), max(self.bytes - other.bytes, 0))

    def within(self, limit: Usage) -> bool:
        return self.entries <= limit.entries and self.bytes <= limit.bytes


@dataclass(frozen=True, slots=True)
class _EntryFile:
    used_s: float
    """Unix time of the last use: the file's mtime."""
    bytes: int
    """Space on disk."""
    path: str


@dataclass(frozen=True, slots=True)
class _Verified:
    """An entry with correct checksums; valid until `until_s` while the state of its file is the same."""

    state: FileState
    body_offset: int
    record: Record
    until_s: float
    """By time.monotonic()."""


class EntryStore:
    """The entries in a folder. Every method may raise OSError."""

    def __init__(self, folder: Path, file_calls: FileCalls | None = None) -> None:
        self._entry_folder = folder / "renditions"
        self._part_folder = folder / "unfinished"
        self._file_calls = file_calls or FileCalls()
        self._verified: dict[Digest, _Verified] = {}

    def prepare(self) -> None:
        """Create the folders, make them private, and check that a file can be written."""
        self._entry_folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._entry_folder, self._part_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            _make_private(folder)
        with tempfile.TemporaryFile(dir=self._part_folder):
            pass

    def read(self, key: Digest, *, without_waiting: bool = False) -> Rendition | None:
        """The rendition under a key, or None.

        With `without_waiting`, raises BlockingIOError if the file is large or not in the page cache.
        Raises CorruptEntry.
        """
        try:
            return self._read_without_waiting(key) if without_waiting else entry_format.decode(key, self._read(key))
        except FileNotFoundError:
            return None

    def write(self, key: Digest, parts: Iterable[bytes]) -> Usage:
        """Write an entry completely or not at all; returns by how much the usage of the folder grew."""
        path = Path(self._path(key))
        before = _size_of(path)
        # Not durable: a file that a power failure truncated is found by its checksums (docs/decisions/0051).
        try:
            size = write_atomically(path, parts, folder=self._part_folder)
        except FileNotFoundError:  # the first entry of its subfolder, or another process has emptied the folder
            self._part_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            size = write_atomically(path, parts, folder=self._part_folder)
        # Wrong if another process writes or removes the same key at this moment; the next scan corrects it.
        return Usage(0, disk_bytes(size) - disk_bytes(before)) if before is not None else Usage(1, disk_bytes(size))

    def remove(self, key: Digest) -> Usage:
        """Remove an entry if it exists; returns the usage that was freed."""
        path = Path(self._path(key))
        try:
            removed = Usage(1, disk_bytes(path.lstat().st_size))
            path.unlink()
        except FileNotFoundError:
            return Usage()
        return removed

    def scan(self) -> Usage:
        """Count all entries, and remove the unfinished files of killed processes."""
        self._remove_stale_parts()
        files = list(self._scan_files())
        return Usage(len(files), sum(file.bytes for file in files))

    def shrink(self, to: Usage) -> tuple[Usage, Usage]:
        """Remove the least recently used entries until the usage is at most `to`; returns the rest and the removed."""
        files = sorted(self._scan_files(), key=lambda file: file.used_s)
        left = Usage(len(files), sum(file.bytes for file in files))
        removed = Usage()
        for file in files:
            if left.within(to):
                break
            Path(file.path).unlink(missing_ok=True)
            removed += Usage(1, file.bytes)
            left -= Usage(1, file.bytes)
        return left, removed

    def remove_tagged(self, tag_prefixes: Collection[str]) -> tuple[Usage, Counter[str]]:
        """Remove all entries with a tag that begins with one of the prefixes.

        Returns the usage that was freed, and the number of entries per prefix. The error of a file that cannot be
        removed is raised after all others have been removed.
        """
        needles = dict(_needles(tag_prefixes))
        removed, by_prefix, failure = Usage(), Counter[str](), None
        for file in self._scan_files():
            try:
                matches = _matching_prefixes(file.path, needles)
                if matches:
                    Path(file.path).unlink(missing_ok=True)
                    removed += Usage(1, file.bytes)
                    by_prefix.update(matches)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure
        return removed, by_prefix

    def _read_without_waiting(self, key: Digest) -> Rendition:
        path = self._path(key).encode()
        verified = self._verified.get(key)
        if verified is not None and verified.until_s > time.monotonic():
            body = self._file_calls.read_unchanged(path, verified.state, verified.body_offset)
            if body is not None:
                return Rendition(body, record=verified.record)
        state, data = self._file_calls.read(path, INLINE_READ_BYTES)
        rendition = entry_format.decode(key, data)
        self._remember(key, state, rendition)
        _touch(path, state.mtime_ns / 1e9)
        return rendition

    def _remember(self, key: Digest, state: FileState, rendition: Rendition) -> None:
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified.clear()
        until_s = time.monotonic() + _VERIFIED_TTL_S
        self._verified[key] = _Verified(state, state.size - len(rendition.body), rendition.record, until_s)

    def _read(self, key: Digest) -> bytes:
        descriptor = os.open(self._path(key), _READ)
        try:
            status = os.fstat(descriptor)
            _touch(descriptor, status.st_mtime)
            return read_up_to(descriptor, status.st_size)
        finally:
            os.close(descriptor)

    def _scan_files(self) -> Iterator[_EntryFile]:
        for shard in _list_folder(self._entry_folder):
            if not shard.is_dir(follow_symlinks=False):
                continue
            for file in _list_folder(shard.path):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    status = file.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield _EntryFile(status.st_mtime, disk_bytes(status.st_size), file.path)

    def _remove_stale_parts(self) -> None:
        oldest_s = time.time() - _STALE_PART_S
        for file in _list_folder(self._part_folder):
            with contextlib.suppress(FileNotFoundError):
                if file.stat(follow_symlinks=False).st_mtime < oldest_s:
                    Path(file.path).unlink()

    def _path(self, key: Digest) -> str:
        # Text, not Path: a Path costs more than the whole lookup of a missing key.
        return f"{self._entry_folder}/{key[:2]}/{key}"


def disk_bytes(size: int) -> int:
    """The space on disk of a file with `size` bytes: whole blocks, at least one.

    So the limit in bytes also limits the number of entries without a body.
    """
    return max(-(-size // _BLOCK_BYTES), 1) * _BLOCK_BYTES


def _make_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder))
    if os.geteuid() not in (0, status.st_uid):
        raise PermissionError(errno.EACCES, "belongs to another user", str(folder))
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def _touch(file: int | bytes, used_s: float) -> None:
    """Set the mtime, which is the time of the last use, if it is older than 300 s."""
    if time.time() - used_s > _TOUCH_AFTER_S:
        with contextlib.suppress(OSError):
            os.utime(file)


def _needles(tag_prefixes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for prefix in tag_prefixes:
        with contextlib.suppress(ValueError):  # no record can have such a tag
            yield prefix, entry_format.tag_needle(prefix)


def _matching_prefixes(path: str, needles: Mapping[str, bytes]) -> list[str]:
    """The prefixes that a tag of the entry begins with."""
    try:
        start = _read_start(path)
        # Searching for the bytes first avoids most parsing: three quarters of the time of a purge.
        likely = [prefix for prefix, needle in needles.items() if needle in start]
        record = entry_format.decode_record(Digest(Path(path).name), start) if likely else None
    except (FileNotFoundError, ValueError):  # already removed, or corrupt: get() removes it and never serves it
        return []
    return [prefix for prefix in likely if record is not None and has_tag(record, prefix)]


def _read_start(path: str) -> bytes:
    """The file up to the end of its record. Raises FileNotFoundError or CorruptEntry."""
    descriptor = os.open(path, _READ)
    try:
        start = read_up_to(descriptor, _START_BYTES)
        offset = entry_format.body_offset(start)
        if offset > len(start):
            start = read_up_to(descriptor, offset)
    finally:
        os.close(descriptor)
    return start


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _list_folder(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
