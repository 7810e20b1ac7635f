"""A folder of entries, one file a rendition: read, written, counted, thrown out. Plain blocking calls.

    FOLDER/renditions/3f/3f9c…   an entry under its key
    FOLDER/unfinished/…          being written; renamed into place when whole

The files are the index: nothing is known of an entry but what its file tells, so that a restart loses nothing and two
processes may share a folder (docs/decisions/0051). Files are 0600, folders 0700.
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
from cropmark.caches.stats import tagged
from cropmark.ports import Digest, Record, Rendition
from cropmark.runtime.file_io import FileCalls, FileState

AT_ONCE_BYTES: Final = 256 * 1024
"""Files up to here may be read on the event loop: 256 KiB take about 150 µs, checksum included."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_START_BYTES: Final = 4_096
_BLOCK: Final = 4_096
_TOUCHED_AFTER_S: Final = 300
_CHECKED_FOR_S: Final = 60.0
"""For so long a file that is as it was when its checksums were right is not summed up again; it lies in memory."""
_CHECKED_LIMIT: Final = 4_096
_ABANDONED_AFTER_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Usage:
    """How many entries a folder holds, and the bytes of disk that they take."""

    entries: int = 0
    bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.entries + other.entries, self.bytes + other.bytes)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(max(self.entries - other.entries, 0), max(self.bytes - other.bytes, 0))

    def within(self, limit: Usage) -> bool:
        return self.entries <= limit.entries and self.bytes <= limit.bytes


@dataclass(frozen=True, slots=True)
class _Found:
    used_s: float
    bytes: int
    path: str


@dataclass(frozen=True, slots=True)
class _Checked:
    """An entry that was read and found whole: in that state of its file, until then, the body begins at `start`."""

    look: FileState
    start: int
    record: Record
    until_s: float


class EntryStore:
    """The entries under a folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._renditions = folder / "renditions"
        self._unfinished = folder / "unfinished"
        self._calls = FileCalls()
        self._checked: dict[Digest, _Checked] = {}

    def prepare(self) -> None:
        """Make the folders ours; prove that a file can be written."""
        self._renditions.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._renditions, self._unfinished):
            folder.mkdir(mode=0o700, exist_ok=True)
            _make_private(folder)
        with tempfile.TemporaryFile(dir=self._unfinished):
            pass

    def read(self, key: Digest, *, at_once: bool = False) -> Rendition | None:
        """The rendition under a key; None where there is none.

        With `at_once` only what takes no waiting: BlockingIOError where the file is large or not in the page cache.
        Raises Damaged.
        """
        try:
            return self._read_at_once(key) if at_once else entry_format.unpacked(key, self._read(key))
        except FileNotFoundError:
            return None

    def write(self, key: Digest, parts: Iterable[bytes]) -> Usage:
        """Put an entry in its place, whole or not at all; how much more the folder holds by it."""
        path = Path(self._path(key))
        before = _size_of(path)
        try:
            size = self._write(path, parts)
        except FileNotFoundError:  # the first of its shard, or somebody has emptied the folder
            self._unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            size = self._write(path, parts)
        # By what it was: two writers of one key, or a removal in between, put the count right at the next survey.
        return Usage(0, on_disk(size) - on_disk(before)) if before is not None else Usage(1, on_disk(size))

    def remove(self, key: Digest) -> Usage:
        """Remove an entry, if there is one; what was removed."""
        path = Path(self._path(key))
        try:
            gone = Usage(1, on_disk(path.lstat().st_size))
            path.unlink()
        except FileNotFoundError:
            return Usage()
        return gone

    def scan(self) -> Usage:
        """Count all entries; throw away what a killed writer left unfinished."""
        self._tidy()
        found = list(self._found())
        return Usage(len(found), sum(entry.bytes for entry in found))

    def shrink(self, to: Usage) -> tuple[Usage, Usage]:
        """Remove the least recently used until no more than `to` is held: what is left, and what was removed."""
        found = sorted(self._found(), key=lambda entry: entry.used_s)
        left = Usage(len(found), sum(entry.bytes for entry in found))
        gone = Usage()
        for entry in found:
            if left.within(to):
                break
            Path(entry.path).unlink(missing_ok=True)
            gone += Usage(1, entry.bytes)
            left -= Usage(1, entry.bytes)
        return left, gone

    def remove_tagged(self, tag_prefixes: Collection[str]) -> tuple[Usage, Counter[str]]:
        """Remove all with a tag that begins with one of these: what was removed, and how many by each.

        One file that cannot be removed does not save the others: its error is raised at the end.
        """
        traces = dict(_traces(tag_prefixes))
        gone, by_prefix, trouble = Usage(), Counter[str](), None
        for entry in self._found():
            try:
                hits = _prefixes_hit(entry.path, traces)
                if hits:
                    Path(entry.path).unlink(missing_ok=True)
                    gone += Usage(1, entry.bytes)
                    by_prefix.update(hits)
            except OSError as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return gone, by_prefix

    def _read_at_once(self, key: Digest) -> Rendition:
        path = self._path(key).encode()
        checked = self._checked.get(key)
        if checked is not None and checked.until_s > time.monotonic():
            body = self._calls.rest(path, checked.look, checked.start)
            if body is not None:
                return Rendition(body, record=checked.record)
        look, data = self._calls.read(path, AT_ONCE_BYTES)
        found = entry_format.unpacked(key, data)
        self._remember(key, look, found)
        _touch(path, look.mtime_ns / 1e9)
        return found

    def _remember(self, key: Digest, look: FileState, found: Rendition) -> None:
        if len(self._checked) >= _CHECKED_LIMIT:
            self._checked.clear()
        until_s = time.monotonic() + _CHECKED_FOR_S
        self._checked[key] = _Checked(look, look.size - len(found.body), found.record, until_s)

    def _read(self, key: Digest) -> bytes:
        descriptor = os.open(self._path(key), _READ)
        try:
            status = os.fstat(descriptor)
            _touch(descriptor, status.st_mtime)
            return os.pread(descriptor, status.st_size, 0)
        finally:
            os.close(descriptor)

    def _write(self, path: Path, parts: Iterable[bytes]) -> int:
        descriptor, name = tempfile.mkstemp(dir=self._unfinished)  # 0600
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                size = file.tell()
            # Not fsync(): a file that power loss left half is found by its checksums (docs/decisions/0051).
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        return size

    def _found(self) -> Iterator[_Found]:
        for shard in _listed(self._renditions):
            if not shard.is_dir(follow_symlinks=False):
                continue
            for file in _listed(shard.path):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = file.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield _Found(status.st_mtime, on_disk(status.st_size), file.path)

    def _tidy(self) -> None:
        oldest_s = time.time() - _ABANDONED_AFTER_S
        for file in _listed(self._unfinished):
            with contextlib.suppress(FileNotFoundError):
                if file.stat(follow_symlinks=False).st_mtime < oldest_s:
                    Path(file.path).unlink()

    def _path(self, key: Digest) -> str:
        # Text, not Path: a Path costs more than the whole lookup of a key that is not there.
        return f"{self._renditions}/{key[:2]}/{key}"


def on_disk(size: int) -> int:
    """The bytes of disk that a file of that size takes: whole blocks.

    So a bound on bytes is a bound on entries too: verdicts have no body, and millions of them would fit.
    """
    return max(-(-size // _BLOCK), 1) * _BLOCK


def _make_private(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder))
    if os.geteuid() not in (0, status.st_uid):
        raise PermissionError(errno.EACCES, "belongs to another user", str(folder))
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def _touch(file: int | bytes, used_s: float) -> None:
    """Note that the entry was used: its mtime is that. Not each time, to spare the disk."""
    if time.time() - used_s > _TOUCHED_AFTER_S:
        with contextlib.suppress(OSError):
            os.utime(file)


def _traces(tag_prefixes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for prefix in tag_prefixes:
        with contextlib.suppress(ValueError):  # no record has such a tag
            yield prefix, entry_format.trace_of(prefix)


def _prefixes_hit(path: str, traces: Mapping[str, bytes]) -> list[str]:
    """Those of the prefixes that a tag of the entry begins with."""
    try:
        start = _start_of(path)
        # Looking for the text first spares parsing: three quarters of the time of a purge.
        likely = [prefix for prefix, trace in traces.items() if trace in start]
        record = entry_format.record_of(Digest(Path(path).name), start) if likely else None
    except (FileNotFoundError, ValueError):  # removed meanwhile, or damaged: never served, and removed when asked for
        return []
    return [prefix for prefix in likely if record is not None and tagged(record, prefix)]


def _start_of(path: str) -> bytes:
    """The file as far as its record goes. Raises FileNotFoundError, Damaged."""
    descriptor = os.open(path, _READ)
    try:
        start = os.pread(descriptor, _START_BYTES, 0)
        offset = entry_format.body_offset(start)
        if offset > len(start):
            start += os.pread(descriptor, offset - len(start), len(start))
    finally:
        os.close(descriptor)
    return start


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _listed(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []
