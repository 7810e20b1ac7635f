"""A folder of cache entries, one file per rendition. Reads, writes, counts and removes entries. All calls block.

    FOLDER/renditions/3f/3f9c…   an entry under its key; a stale entry has the key of its order as its name
    FOLDER/tags/3f               the tags of these entries, for purges (tag_index.py)
    FOLDER/unfinished/…          an entry being written; renamed into place when it is complete

A restart loses nothing, and several processes may share a folder (docs/decisions/0051, 0253). Files have mode 0600,
folders 0700.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cropmark.caches import entry_format
from cropmark.caches.entry_format import CorruptEntry
from cropmark.caches.pending_purges import PendingPurge, PendingPurges
from cropmark.caches.tag_index import SHARDS, TagIndex, indexed_keys, keys_with, needs_rewriting
from cropmark.ports import STALE_S, Digest, Record, Rendition, StoredRendition
from cropmark.runtime.atomic_file import write_atomically
from cropmark.runtime.file_io import FileCalls, FileState
from cropmark.runtime.reads import read_pieces, read_up_to

INLINE_READ_BYTES: Final = 256 * 1024
"""Largest file that is read on the event loop. Reading and checking 256 KiB takes about 150 µs."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_START_BYTES: Final = 4_096
_BLOCK_BYTES: Final = 4_096
_PIECE_BYTES: Final = 256 * 1024
_TOUCH_AFTER_S: Final = 300
_VERIFIED_TTL_S: Final = 60.0
"""Time for which a verified, unchanged file is served without another check of its checksum."""
_MAX_VERIFIED: Final = 4_096
_STALE_PART_S: Final = 3_600
_FEW_KEYS: Final = 16
"""Up to this number of keys, each key's file is looked up. For more keys, their folder is listed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The number of entries in a folder, and the disk space that they take in bytes."""

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
    """An entry with verified checksums.

    The checksums are not checked again until `until_s`, unless the file changes before that time.
    """

    state: FileState
    body_offset: int
    record: Record
    until_s: float
    """The time, by time.monotonic(), until which the checksums are not checked again."""


class EntryStore:
    """The entries in a folder. Every method may raise OSError.

    A shard is a subfolder of entries: their keys begin with the same two digits.
    """

    def __init__(self, folder: Path, file_calls: FileCalls | None = None) -> None:
        self._entry_folder = folder / "renditions"
        self._part_folder = folder / "unfinished"
        self._index = TagIndex(folder / "tags", self._part_folder)
        self._file_calls = file_calls or FileCalls()
        self._shards: set[str] = set()
        """The names of the subfolders that exist."""
        self._verified: dict[Digest, _Verified] = {}

    def prepare(self) -> None:
        """Create the folders, restrict them to this user, and check that a file can be written."""
        self._entry_folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._entry_folder, self._part_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            _make_private(folder)
        self._index.prepare()
        with tempfile.TemporaryFile(dir=self._part_folder):
            pass

    def read(self, key: Digest, *, without_waiting: bool = False) -> Rendition | None:
        """The rendition under a key, or None. Raises CorruptEntry.

        With `without_waiting`, raises BlockingIOError if the file is large or not in the page cache.
        """
        try:
            return self._read_without_waiting(key) if without_waiting else entry_format.decode(key, self._read(key))
        except FileNotFoundError:
            return None

    def has(self, key: Digest) -> bool:
        """True if an entry exists under this key."""
        return os.path.lexists(self._path(key))

    def find(self, key: Digest, *, read_bytes: int) -> Rendition | StoredRendition | None:
        """The rendition under a key, or None. If the file is larger than `read_bytes`, the rendition is an open file.

        The checksums are verified in both cases. Raises CorruptEntry.
        """
        return self._find(key, read_bytes)

    def find_stale(self, order_key: Digest, *, read_bytes: int) -> Rendition | StoredRendition | None:
        """The stale rendition of an order, which make_stale() has moved in the last STALE_S; else None.

        It is read or opened as by find().
        """
        found = self._find(order_key, read_bytes, is_stale=True)
        if found is not None and found.record.order_key != order_key:
            raise CorruptEntry("of another order")
        return found

    def _find(self, key: Digest, read_bytes: int, *, is_stale: bool = False) -> Rendition | StoredRendition | None:
        try:
            descriptor = os.open(self._path(key), _READ)
        except FileNotFoundError:
            return None
        stored: StoredRendition | None = None
        try:
            status = os.fstat(descriptor)
            if not is_stale:
                _touch(descriptor, status.st_mtime)
            elif time.time() - status.st_ctime > STALE_S:  # since make_stale() has renamed it
                return None
            if status.st_size <= read_bytes:
                return entry_format.decode(None if is_stale else key, read_up_to(descriptor, status.st_size))
            stored = self._open_large(key, descriptor, FileState.of(os.fstat(descriptor)), is_stale=is_stale)
            return stored
        finally:
            if stored is None:
                os.close(descriptor)

    def _open_large(self, key: Digest, descriptor: int, state: FileState, *, is_stale: bool) -> StoredRendition:
        """The rendition in an open file. The rendition then owns the descriptor.

        The body is read once to verify its checksum, unless it has been verified before.
        """
        verified = self._verified.get(key)
        if verified is not None and verified.state == state and verified.until_s > time.monotonic():
            return StoredRendition.from_fd(descriptor, verified.body_offset, verified.record)
        start = _start_of(descriptor)
        offset, body = len(start), read_pieces(descriptor, state.size - len(start), _PIECE_BYTES, start=len(start))
        record = entry_format.verified_record(None if is_stale else key, start, body)
        self._remember(key, state, record, offset)
        return StoredRendition.from_fd(descriptor, offset, record)

    def write(self, key: Digest, parts: Iterable[bytes], tags: Iterable[str]) -> Usage:
        """Write an entry completely or not at all. Returns the growth of the folder's usage."""
        path = Path(self._path(key))
        self._make_shard(path.parent)
        before = _size_of(path)
        # Not durable: a file that a power failure truncated is found by its checksums (docs/decisions/0051).
        with self._index.adding(key, tags):
            try:
                size = write_atomically(path, parts, folder=self._part_folder)
            except FileNotFoundError:  # another process has emptied the folder
                self._part_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                size = write_atomically(path, parts, folder=self._part_folder)
        # Wrong if another process writes or removes the same key at this moment; the next scan corrects it.
        return Usage(0, disk_bytes(size) - disk_bytes(before)) if before is not None else Usage(1, disk_bytes(size))

    def remove(self, key: Digest) -> Usage:
        """Remove an entry if it exists. Returns the usage that was freed."""
        path = self._path(key)
        try:
            removed = Usage(1, disk_bytes(os.lstat(path).st_size))
            os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            return Usage()
        return removed

    def record_of(self, key: Digest) -> Record | None:
        """The record of an entry, even a stale one. None if the entry is absent or corrupt."""
        try:
            return entry_format.decode_record(None, _read_start(self._path(key)))
        except (FileNotFoundError, CorruptEntry):
            return None

    def make_stale(self, key: Digest, record: Record) -> Usage:
        """Move an entry to the key of its order, where find_stale() finds it. Returns the usage that was freed.

        If an order has entries for several versions of its sources, only the most recently used entry remains.
        """
        order_key = Digest(record.order_key)
        path, stale = Path(self._path(key)), Path(self._path(order_key))
        self._make_shard(stale.parent)
        replaced = _status_of(stale)
        if replaced is not None and replaced.st_mtime > path.stat().st_mtime:
            return self.remove(key)
        with self._index.adding(order_key, record.tags):
            path.replace(stale)  # which sets its ctime, the time of the purge; mtime stays that of its last use
        return Usage() if replaced is None else Usage(1, disk_bytes(replaced.st_size))

    def scan(self) -> Usage:
        """Count all entries, add missing lines to the index, and remove the unfinished files of killed processes."""
        self._remove_stale_parts()
        usage = Usage()
        for shard in SHARDS:
            files = list(self._scan_shard(shard))
            usage += Usage(len(files), sum(file.bytes for file in files))
            self._complete_index(shard, {os.path.basename(file.path).encode() for file in files})  # noqa: PTH119
        return usage

    def shrink(self, to: Usage) -> tuple[Usage, Usage]:
        """Remove the least recently used entries until the usage is at most `to`.

        Returns the usage that is left, then the usage that was removed.
        """
        files = sorted((file for shard in SHARDS for file in self._scan_shard(shard)), key=lambda file: file.used_s)
        left = Usage(len(files), sum(file.bytes for file in files))
        removed = Usage()
        for file in files:
            if left.within(to):
                break
            Path(file.path).unlink(missing_ok=True)
            removed += Usage(1, file.bytes)
            left -= Usage(1, file.bytes)
        return left, removed

    def tagged(self, shard: str, purges: Sequence[PendingPurge], pending: PendingPurges) -> list[set[bytes]]:
        """For each purge, the keys of the entries in a shard that the purge covers.

        A key that several purges cover is listed only for the first of them. If an entry was replaced by an entry with
        other tags, its old tags also count until the index is rewritten.
        """
        lines, found, names, earlier = self._index.read(shard), list[set[bytes]](), None, set[bytes]()
        for purge in purges:
            keys = keys_with(purge.needle, lines)
            if len(keys) > _FEW_KEYS:
                names = self._names(shard) if names is None else names
                keys &= names
            else:
                keys = {key for key in keys if os.path.lexists(self._path(Digest(key.decode())))}
            keys = pending.old(purge, keys) - earlier
            earlier |= keys
            found.append(keys)
        return found

    def shrink_index(self, shard: str) -> None:
        """Rewrite the index of a shard if most of its lines belong to removed entries."""
        if needs_rewriting(self._index.read(shard), len(self._names(shard))):
            self._index.rewrite(shard, lambda: self._names(shard))

    def _complete_index(self, shard: str, names: set[bytes]) -> None:
        """Add missing entries to the index of a shard. Rewrite the index if most of its lines are out of date."""
        lines = self._index.read(shard)
        for name in names - indexed_keys(lines):
            with contextlib.suppress(FileNotFoundError, ValueError):  # removed, or corrupt: get() never serves it
                key = Digest(name.decode())
                with self._index.adding(key, entry_format.decode_record(key, _read_start(self._path(key))).tags):
                    pass
        if needs_rewriting(lines, len(names)):
            self._index.rewrite(shard, lambda: self._names(shard))

    def _names(self, shard: str) -> set[bytes]:
        """The names of the files in a shard, as bytes. Each name is the key of an entry."""
        try:
            return set(os.listdir(f"{self._entry_folder}/{shard}".encode()))  # noqa: PTH208
        except FileNotFoundError:
            return set()

    def _make_shard(self, shard: Path) -> None:
        """Create the subfolder of an entry, unless this process has created it before.

        If another process has removed the subfolder since, write() creates it again.
        """
        if shard.name not in self._shards:
            shard.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._shards.add(shard.name)

    def _read_without_waiting(self, key: Digest) -> Rendition:
        path = self._path(key).encode()
        verified = self._verified.get(key)
        is_small = verified is not None and verified.state.size <= INLINE_READ_BYTES
        if verified is not None and is_small and verified.until_s > time.monotonic():
            body = self._file_calls.read_unchanged(path, verified.state, verified.body_offset)
            if body is not None:
                return Rendition(body, record=verified.record)
        state, data = self._file_calls.read(path, INLINE_READ_BYTES)
        rendition = entry_format.decode(key, data)
        self._remember(key, state, rendition.record, state.size - len(rendition.body))
        _touch(path, state.mtime_ns / 1e9)
        return rendition

    def _remember(self, key: Digest, state: FileState, record: Record, body_offset: int) -> None:
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified.clear()
        until_s = time.monotonic() + _VERIFIED_TTL_S
        self._verified[key] = _Verified(state, body_offset, record, until_s)

    def _read(self, key: Digest) -> bytes:
        descriptor = os.open(self._path(key), _READ)
        try:
            status = os.fstat(descriptor)
            _touch(descriptor, status.st_mtime)
            return read_up_to(descriptor, status.st_size)
        finally:
            os.close(descriptor)

    def _scan_shard(self, shard: str) -> Iterator[_EntryFile]:
        folder = f"{self._entry_folder}/{shard}"
        if os.path.islink(folder):  # noqa: PTH114
            return
        for file in _list_folder(folder):
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
    """The disk space for a file with `size` bytes: whole blocks, at least one block.

    Because every entry counts at least one block, the limit in bytes also limits the number of tiny entries.
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
    """Set the file's mtime to now, to record the use of the entry. Skipped if the mtime is less than 300 s old."""
    if time.time() - used_s > _TOUCH_AFTER_S:
        with contextlib.suppress(OSError):
            os.utime(file)


def _read_start(path: str) -> bytes:
    """The bytes of a file up to the end of its record. Raises FileNotFoundError or CorruptEntry."""
    descriptor = os.open(path, _READ)
    try:
        return _start_of(descriptor)
    finally:
        os.close(descriptor)


def _start_of(descriptor: int) -> bytes:
    """The bytes of an open entry up to the end of its record; fewer if the file is shorter. Raises CorruptEntry."""
    start = read_up_to(descriptor, _START_BYTES)
    offset = entry_format.body_offset(start)
    return start[:offset] if offset <= len(start) else read_up_to(descriptor, offset)


def _size_of(path: Path) -> int | None:
    status = _status_of(path)
    return None if status is None else status.st_size


def _status_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _list_folder(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
