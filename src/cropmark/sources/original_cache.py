"""Stores originals from web origins and buckets on disk, each with a record. An entry is complete or absent.

FOLDER/<key>-<digest>.body   the bytes
FOLDER/<key>.json            the record
FOLDER/part-…                a file being written
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from cropmark.ports import purge_matches
from cropmark.runtime.atomic_file import write_atomically
from cropmark.runtime.metrics import Sample
from cropmark.runtime.purge_generations import PurgeGenerations
from cropmark.runtime.purge_log import LatestPurges
from cropmark.runtime.reads import sha256_of
from cropmark.sources.original_record import SourceRecord, encode_record, read_record
from cropmark.sources.spool import PART_PREFIX, Spool

log = structlog.get_logger("cropmark.sources")

GIB = 1024**3
MAX_ENTRY_DIVISOR = 8
"""One original takes at most 1/8 of the limit in bytes, so that it cannot evict all other originals."""
_LABELS = ("originals",)
"""The labels of this cache in the metrics of caches."""
_STALE_PART_S = 60
"""Unfinished files and bodies without a record are removed after this time: no fetch takes longer."""


@dataclass(slots=True)
class _Entry:
    record: SourceRecord
    verified: bool
    """True if this process wrote the body or has compared its digest."""


class OriginalCache:
    """Stores originals on the disk by key (64 hex digits). The least recently used originals are evicted first.

    Only the constructor raises OSError, if the folder cannot be used. Later disk errors are logged. The constructor
    reads the records into an index in memory, so find() and generation() do not access the disk. After a restart,
    originals that have not been used are evicted in the order in which their records were written.
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
        self.hits = 0
        """Number of times that a stored original was opened without a fetch."""
        self.misses = 0
        """Number of times that an original had to be fetched or revalidated first."""
        self._evictions = self._errors = self._damaged = 0
        # Records outlive the process, and no generation may occur twice: they begin at the start time in ms.
        self._purges = PurgeGenerations(start=int(clock() * 1000))
        self.key_purges = 0
        """Number of purges of keys since the start."""
        self._purged_keys: LatestPurges[int] = LatestPurges(0)
        self._load()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Total size of the stored bodies."""
        return self._bytes

    def samples(self) -> Iterator[Sample]:
        """The cache's values for the metrics."""
        yield "cropmark_cache_entries", _LABELS, len(self._entries)
        yield "cropmark_cache_bytes", _LABELS, self._bytes
        yield "cropmark_cache_hits_total", _LABELS, self.hits
        yield "cropmark_cache_misses_total", _LABELS, self.misses
        yield "cropmark_cache_evictions_total", _LABELS, self._evictions
        yield "cropmark_cache_errors_total", _LABELS, self._errors
        yield "cropmark_cache_damaged_total", _LABELS, self._damaged

    def find(self, key: str) -> SourceRecord | None:
        """The record of an original, or None. The original then counts as used."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.record

    async def read(self, key: str) -> tuple[int, SourceRecord] | None:
        """Open an original. Returns a read-only descriptor, which the caller closes, and the record; or None.

        Checks the length every time, and the digest once per process. A corrupt original is removed.
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
            if await _is_intact(descriptor, entry):
                return descriptor, entry.record
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        self._damaged += 1
        log.warning("a corrupt original was removed", source=key[:16])
        if self._entries.get(key) is entry:
            self.drop(key)
        return None

    def spool(self) -> Spool:
        """A new temporary file for the body of an original."""
        return Spool(self._folder, self._shrink)

    def store(self, key: str, spool: Spool, record: SourceRecord) -> bool:
        """Store a complete body with its record.

        Returns False if the body is too large, if the original was purged after the fetch began, or if the disk fails.
        """
        if record.bytes * MAX_ENTRY_DIVISOR > self._limit_bytes or record.generation != self.generation(
            record.identity
        ):
            return False
        if not (spool.rename(self._body(key, record)) and self._write_record(key, record)):
            self._remove(self._body(key, record))
            return False
        before = self._unindex(key)
        if before is not None and before.digest != record.digest:
            self._remove(self._body(key, before))
        self._index(key, _Entry(record, verified=True))
        self._evict(self._limit_bytes, self._limit_entries)
        return True

    def update(self, key: str, record: SourceRecord) -> None:
        """Replace the record of a stored original, for example after a 304 response.

        Does nothing if the original was evicted or purged, or if its bytes have changed.
        """
        entry = self._entries.get(key)
        if entry is None or entry.record.digest != record.digest or entry.record.generation != record.generation:
            return
        self._write_record(key, record)
        entry.record = record  # even if the disk fails: otherwise every request would revalidate at the origin

    def drop(self, key: str) -> None:
        """Remove an original."""
        record = self._unindex(key)
        if record is not None:
            self._remove(self._record(key))
            self._remove(self._body(key, record))

    def purge(self, prefix: str) -> None:
        """Remove the originals that `prefix` covers. Later fetches of these originals have a new generation."""
        self._purges.add(prefix)
        for key in [k for k, e in self._entries.items() if purge_matches(prefix, e.record.identity)]:
            self.drop(key)

    def purge_key(self, key: str) -> None:
        """Remove the originals that have this key for purges. The origin sends such keys with its responses.

        A fetch in progress is not stored if its response has the key.
        """
        self.key_purges += 1
        self._purged_keys.note(f"{key}\n", self.key_purges)
        for name in [name for name, entry in self._entries.items() if key in entry.record.keys.split()]:
            self.drop(name)

    def has_purged_key(self, record: SourceRecord, since: int) -> bool:
        """True if one of the record's keys for purges was purged after `key_purges` had the value `since`.

        Also true if the cache has forgotten the purges of that time.
        """
        if since == self.key_purges:
            return False
        latest = self._purged_keys.latest(f"{key}\n" for key in record.keys.split())
        return since < self._purged_keys.forgotten or (latest is not None and since < latest)

    def generation(self, identity: str) -> int:
        """The generation for a fetch that begins now: 0 at first, larger after each purge that covers `identity`."""
        return self._purges.of(identity)

    # ---------------------------------------------------------------------------------------------- disk

    def _load(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._folder))
        with self._log_errors("reading the folder of originals failed"):
            for path in sorted(self._folder.glob("*.json"), key=_mtime_s):
                self._load_record(path)
            self._sweep()
        self._evict(self._limit_bytes, self._limit_entries)

    def _load_record(self, path: Path) -> None:
        record = read_record(path)
        key = path.stem
        if record is not None and _length(self._body(key, record)) == record.bytes:
            self._index(key, _Entry(record, verified=False))
        else:
            self._remove(path)

    def _sweep(self) -> None:
        """Remove bodies without a record, and unfinished files.

        Files younger than _STALE_PART_S are left, since another process may be writing them.
        """
        recorded = {self._body(key, entry.record).name for key, entry in self._entries.items()}
        for path in self._folder.iterdir():
            stray = path.name.startswith(PART_PREFIX) or (path.suffix == ".body" and path.name not in recorded)
            if stray and time.time() - _mtime_s(path) > _STALE_PART_S:
                self._remove(path)

    def _body(self, key: str, record: SourceRecord) -> Path:
        # The digest is in the name, so that a record is never combined with the bytes of another fetch.
        return self._folder / f"{key}-{record.digest[:16]}.body"

    def _record(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _write_record(self, key: str, record: SourceRecord) -> bool:
        with self._log_errors("the record of an original could not be written"):
            write_atomically(self._record(key), [encode_record(record).encode()], prefix=PART_PREFIX)
            return True
        return False

    def _remove(self, path: Path) -> None:
        with self._log_errors("an original could not be removed"):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _log_errors(self, event: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._errors += 1
            log.warning(event, error=error.strerror)

    # ---------------------------------------------------------------------------------------------- index

    def _index(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._bytes += entry.record.bytes

    def _unindex(self, key: str) -> SourceRecord | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._bytes -= entry.record.bytes
        return entry.record

    def _evict(self, limit_bytes: int, limit_entries: int) -> None:
        while self._entries and (self._bytes > limit_bytes or len(self._entries) > limit_entries):
            self._evictions += 1
            self.drop(next(iter(self._entries)))

    def _shrink(self) -> None:
        """Evict an eighth of the stored bytes. Called if the disk is full before the limit is reached."""
        self._evict(self._bytes - self._bytes // MAX_ENTRY_DIVISOR, self._limit_entries)


async def _is_intact(descriptor: int, entry: _Entry) -> bool:
    if os.fstat(descriptor).st_size != entry.record.bytes:
        return False
    if not entry.verified:
        # In a thread: hashing 50 MiB takes as long as a thousand cache hits.
        entry.verified = await asyncio.to_thread(sha256_of, descriptor, entry.record.bytes) == entry.record.digest
    return entry.verified


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _mtime_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
