"""Originals of web sources on disk, each with its source record. Whole or not there, also after kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from cropmark.ports import purge_matches
from cropmark.sources.original_record import SourceRecord, read_record, written
from cropmark.sources.spool import PART, Spool

log = structlog.get_logger("cropmark.sources")

GIB = 1024**3
LARGEST_PART = 8
"""An original is at most an eighth of the store: one may not push out all others."""
_DEAD_S = 60
"""Past this age an unfinished or unnamed file is nobody's: no fetch takes so long."""


@dataclass(slots=True)
class _Entry:
    record: SourceRecord
    checked: bool
    """Whether this process wrote the body or has compared its digest."""


class OriginalCache:
    """Keeps originals by key, the longest unused go first. Trouble with the disk is logged; only a folder that cannot
    be used at the start is raised, as OSError.

    The index is in memory, read from the records at the start; `find` and `generation` touch no disk. A key is 64 hex
    digits. After a restart the order of use is that of the fetches.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int = GIB,
        limit_entries: int = 16_384,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._limit_entries = limit_entries
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._purges = _PurgeGenerations(clock)
        self._load()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Of all bodies kept."""
        return self._bytes

    def find(self, key: str) -> SourceRecord | None:
        """The record of an original, which counts as used now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.record

    async def read(self, key: str) -> tuple[int, SourceRecord] | None:
        """A read-only descriptor of the original, which the caller closes, and its record.

        Its length is compared always, its digest once in each process; a damaged one is forgotten.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        try:
            descriptor = os.open(self._body(key, entry.record), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.drop(key)
            return None
        try:
            if await _whole(descriptor, entry):
                return descriptor, entry.record
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        log.warning("a damaged original was removed", source=key[:16])
        if self._entries.get(key) is entry:
            self.drop(key)
        return None

    def spool(self) -> Spool:
        """Where the body of a new original is written to."""
        return Spool(self._folder, self._shrink)

    def store(self, key: str, spool: Spool, record: SourceRecord) -> bool:
        """Keep a finished body with its record; False where it is too large, purged meanwhile, or the disk refuses."""
        if record.bytes * LARGEST_PART > self._limit_bytes or record.generation != self.generation(record.identity):
            return False
        if not (spool.keep_as(self._body(key, record)) and self._write(key, record)):
            self._remove(self._body(key, record))
            return False
        before = self._forget(key)
        if before is not None and before.digest != record.digest:
            self._remove(self._body(key, before))
        self._enter(key, _Entry(record, checked=True))
        self._evict(self._limit_bytes, self._limit_entries)
        return True

    def update(self, key: str, record: SourceRecord) -> None:
        """A new record over the same bytes, as after a 304; nothing where they are gone or were purged."""
        entry = self._entries.get(key)
        if entry is None or entry.record.digest != record.digest or entry.record.generation != record.generation:
            return
        self._write(key, record)
        entry.record = record  # also where the disk refuses: else each request would ask the origin again

    def drop(self, key: str) -> None:
        """Forget an original."""
        record = self._forget(key)
        if record is not None:
            self._remove(self._record(key))
            self._remove(self._body(key, record))

    def purge(self, named: str) -> None:
        """Forget all whose identity begins so; what is fetched of them from now on is of a new generation."""
        self._purges.add(named)
        for key in [k for k, e in self._entries.items() if purge_matches(named, e.record.identity)]:
            self.drop(key)

    def generation(self, identity: str) -> int:
        """What a fetch that begins now is stamped with: 0, or the time in ms of the last purge."""
        return self._purges.generation(identity)

    # ---------------------------------------------------------------------------------------------- disk

    def _load(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))
        with _logged("the folder of originals cannot be read"):
            found = sorted(self._folder.glob("*.json"), key=_written_s)
            for path in found:
                self._take_in(path)
            self._sweep()
        self._evict(self._limit_bytes, self._limit_entries)

    def _take_in(self, path: Path) -> None:
        record = read_record(path)
        key = path.stem
        if record is not None and _length(self._body(key, record)) == record.bytes:
            self._enter(key, _Entry(record, checked=False))
        else:
            self._remove(path)

    def _sweep(self) -> None:
        """Remove bodies without a record and unfinished files, but none that another process may be writing."""
        named = {self._body(key, entry.record).name for key, entry in self._entries.items()}
        for path in self._folder.iterdir():
            stray = path.name.startswith(PART) or (path.suffix == ".body" and path.name not in named)
            if stray and time.time() - _written_s(path) > _DEAD_S:
                self._remove(path)

    def _body(self, key: str, record: SourceRecord) -> Path:
        # The digest in the name: a record never meets the bytes of another fetch.
        return self._folder / f"{key}-{record.digest[:16]}.body"

    def _record(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _write(self, key: str, record: SourceRecord) -> bool:
        with _logged("a source record could not be written"):
            descriptor, name = tempfile.mkstemp(prefix=PART, dir=self._folder)
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(written(record))
                Path(name).replace(self._record(key))
            except BaseException:
                self._remove(Path(name))
                raise
            return True
        return False

    def _remove(self, path: Path) -> None:
        with _logged("an original could not be removed"):
            path.unlink(missing_ok=True)

    # ---------------------------------------------------------------------------------------------- index

    def _enter(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._bytes += entry.record.bytes

    def _forget(self, key: str) -> SourceRecord | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._bytes -= entry.record.bytes
        return entry.record

    def _evict(self, limit_bytes: int, limit_entries: int) -> None:
        while self._entries and (self._bytes > limit_bytes or len(self._entries) > limit_entries):
            self.drop(next(iter(self._entries)))

    def _shrink(self) -> None:
        """Give back an eighth: the disk is full, whatever our own limit says."""
        self._evict(self._bytes - self._bytes // LARGEST_PART, self._limit_entries)


class _PurgeGenerations:
    """Which identities were purged when. A bounded list: what falls out of it counts for all."""

    LONGEST = 1024

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._prefixes: OrderedDict[str, int] = OrderedDict()
        self._last = 0
        self._floor = 0

    def add(self, prefix: str) -> None:
        # Time, not a count from 0: records outlive the process, and a generation must not come twice.
        self._last = max(self._last + 1, int(self._clock() * 1000))
        self._prefixes.pop(prefix, None)
        self._prefixes[prefix] = self._last
        if len(self._prefixes) > self.LONGEST:
            self._floor = self._prefixes.popitem(last=False)[1]

    def generation(self, identity: str) -> int:
        return max(
            (at for prefix, at in self._prefixes.items() if purge_matches(prefix, identity)), default=self._floor
        )


async def _whole(descriptor: int, entry: _Entry) -> bool:
    if os.fstat(descriptor).st_size != entry.record.bytes:
        return False
    if not entry.checked:
        # In a thread: 50 MiB take as long as a thousand hits.
        entry.checked = await asyncio.to_thread(_digest, descriptor) == entry.record.digest
    return entry.checked


def _digest(descriptor: int) -> str:
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(descriptor, 1 << 20, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _written_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.warning(what, why=error.strerror)
