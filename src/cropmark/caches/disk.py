"""Caches renditions in a folder, up to a limit in bytes.

- The cache survives restarts. Several processes may share the folder.
- A file in the operating system's page cache is read on the event loop, four times faster than in a thread.
- Other reads run in two reader threads. find() only opens a large file and checks it, so that it takes no memory.
- Every change runs on one writer thread, in the order of the calls, so a purge removes all renditions put before it.
- A purge takes effect when it is called. A purge of many entries returns before all of them are removed.
- store() does not wait: renditions are written in batches, and are found in memory until they are written.
- A storage failure switches the tier off for BACKOFF_S. It never fails a request.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from cropmark.caches.entry_format import CorruptEntry
from cropmark.caches.entry_store import INLINE_READ_BYTES, EntryStore, Usage
from cropmark.caches.evictor import FULL, Evictor
from cropmark.caches.pending_purges import PendingPurge, PendingPurges
from cropmark.caches.stats import MAX_ENTRY_DIVISOR, TierCounters, TierStats
from cropmark.caches.tag_index import SHARDS
from cropmark.caches.write_behind import WriteBehind
from cropmark.model.problems import InternalError
from cropmark.ports import Digest, Rendition, StoredRendition
from cropmark.runtime.file_io import FileCalls
from cropmark.runtime.purge_log import PurgeHistory

T = TypeVar("T")
Found = TypeVar("Found", bound=Rendition | StoredRendition)

GIB: Final = 2**30
BACKOFF_S: Final = 5.0
"""Time for which the cache is not used after a failure of the storage."""
LOG_EVERY_S: Final = 60.0
MAX_ENTRIES: Final = 500_000
REMOVE_WAIT_S: Final = 0.3
"""Longest time for which a purge waits until its entries are removed.

After that time, the purge only counts the entries, and they are removed in the background.
"""

_MAX_PENDING_BYTES: Final = 32 * 2**20
_WRITTEN_POLL_S: Final = 0.005

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Written:
    """The outcome of writing a batch of renditions."""

    skipped: int
    """Number of renditions in the batch that were not stored."""
    error: OSError | None = None


class DiskCache:
    """A Cache that stores renditions in a folder."""

    name: Final = "disk"

    def __init__(
        self,
        folder: Path,
        limit_bytes: int = 2 * GIB,
        max_entries: int = MAX_ENTRIES,
        *,
        now: Callable[[], float] = time.time,
        file_calls: FileCalls | None = None,
        read_bytes: int = INLINE_READ_BYTES,
        history: PurgeHistory | None = None,
    ) -> None:
        """`file_calls` replaces the system calls of this platform, for tests.

        find() reads entries of up to `read_bytes`, and opens larger ones. If several processes share the folder,
        `history` has the purges of all servers. An entry from a process that did not know one of these purges is then
        not used.
        """
        self._read_bytes = read_bytes
        self._history = history
        self._entries = EntryStore(folder, file_calls)
        self._read_cached = partial(self._entries.read, without_waiting=True)
        self._purges = PendingPurges(folder / "pending-purges", folder / "unfinished")
        self._writer = ThreadPoolExecutor(1, "cache-writer")
        limit = Usage(max_entries, limit_bytes)
        self._evictor = Evictor(self._entries, limit, self._purges, self._writer.submit)
        self._limit_bytes = limit_bytes
        self._now = now
        self._counts = TierCounters()
        self._backoff = _StorageBackoff()
        self._pending_bytes = 0
        self._is_closed = False
        self._readers = ThreadPoolExecutor(2, "cache-reader")
        self._counter = ThreadPoolExecutor(1, "cache-counter")
        self._behind = WriteBehind(self._writer, self._write_batch, self._count_written)

    @classmethod
    async def open(
        cls,
        folder: Path,
        limit_bytes: int = 2 * GIB,
        max_entries: int = MAX_ENTRIES,
        *,
        file_calls: FileCalls | None = None,
        read_bytes: int = INLINE_READ_BYTES,
        history: PurgeHistory | None = None,
    ) -> DiskCache:
        """Open the cache in a folder, which is created if it is missing. Its entries are counted in the background.

        Raises OSError if the folder cannot be written: PermissionError, NotADirectoryError, FileExistsError, or a plain
        OSError for a read-only file system. A full disk raises no error.
        """
        cache = cls(folder, limit_bytes, max_entries, file_calls=file_calls, read_bytes=read_bytes, history=history)
        try:
            await cache._run_in(cache._writer, cache._prepare)
        except OSError as error:
            if error.errno not in FULL:
                await cache.close()
                raise
            cache._record_error("opening", error)
        cache._writer.submit(cache._evictor.scan)
        return cache

    def peek(self, key: Digest) -> Rendition | None:
        """The rendition under a key if it can be read without waiting, else None.

        Counts only hits. After a miss, the caller calls get() or find(), which counts the hit or miss.
        """
        if self._is_off:
            return None
        try:
            rendition = self._behind.get(key) or self._unpurged(key, self._read_cached)
        except (OSError, CorruptEntry):
            return None  # get() meets the error again and handles it
        if rendition is None or self._is_expired(rendition):
            return None
        self._counts.hits += 1
        return rendition

    async def get(self, key: Digest) -> Rendition | None:
        return await self._found(key, self._entries.read)

    def has(self, key: Digest) -> bool:
        """True if the folder has an entry under this key. get() may still reject the entry as purged or corrupt."""
        return self._entries.has(key)

    async def find(self, key: Digest) -> Rendition | StoredRendition | None:
        """The rendition as get() returns it. A large rendition is an open file instead, which the caller closes."""
        return await self._found(key, partial(self._entries.find, read_bytes=self._read_bytes))

    async def find_stale(self, order_key: Digest, *, streams: bool) -> Rendition | StoredRendition | None:
        """The rendition of an order that a soft purge has purged in the last STALE_S, else None.

        With `streams`, a large rendition is an open file, which the caller closes.
        """
        is_renewed = self._purges.is_renewed(order_key, self._purges.last_before(order_key))
        if self._is_off or is_renewed or not self._entries.has(order_key):
            return None
        read = partial(self._entries.find_stale, read_bytes=self._read_bytes if streams else sys.maxsize)
        try:
            found = await self._run_in(self._readers, partial(self._unpurged, order_key, read, stale=True))
        except CorruptEntry:
            self._counts.damaged += 1
            found = None
        except OSError as error:
            self._record_error("reading", error)
            return None
        if found is None:
            self._discard(order_key)
        return found

    async def drop_stale(self, order_key: Digest) -> None:
        """Remove the order's stale rendition, because its new rendition is ready.

        Until the next soft purge, find_stale() finds nothing for this order.
        """
        self._purges.note_new(order_key)
        if self._entries.has(order_key) and not self._is_closed:
            await self._run_in(self._writer, self._evictor.discard, order_key)

    async def _found(self, key: Digest, read: Callable[[Digest], Found | None]) -> Rendition | Found | None:
        """The rendition under a key, from the waiting writes or from the disk. Counts the hit or miss.

        `read` reads an entry on a reader's thread.
        """
        found = None if self._is_off else self._behind.get(key) or await self._read(key, read)
        if found is not None and self._is_expired(found):
            if isinstance(found, StoredRendition):
                found.close()
            self._discard(key)
            found = None
        if found is None:
            self._counts.misses += 1
        else:
            self._counts.hits += 1
        return found

    def store(self, key: Digest, rendition: Rendition) -> None:
        """Write the rendition soon, at the latest before close() returns. Lookups find the rendition immediately.

        It is skipped if too many bytes wait to be written, or while the tier is off.
        """
        if self._has_room(rendition):
            self._behind.add(key, rendition)

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Write the rendition to the disk. When this returns, the rendition is stored or was skipped."""
        if not self._has_room(rendition):
            return
        self._behind.flush()  # it may hold an older rendition under this key
        size = len(rendition.body)
        self._pending_bytes += size
        try:
            self._count_written(await self._run_in(self._writer, self._write_batch, ((key, rendition),)))
        finally:
            self._pending_bytes -= size

    async def purge(self, tag_prefix: str, *, soft: bool = False) -> int:
        """Delete all entries with a tag that begins with `tag_prefix`. Returns the number of these entries.

        With `soft`, find_stale() still finds them. No other lookup returns these entries from the moment of the call.
        Entries that cannot be removed within REMOVE_WAIT_S are counted, and removed later, even after a restart.

        Raises InternalError if an entry could not be removed. Also raises InternalError if the unfinished purge could
        not be stored on the disk: its entries would be served again after a restart.
        """
        self._behind.flush()
        self._behind.forget(tag_prefix)
        try:
            purge = self._purges.add(tag_prefix, soft=soft)
        except ValueError:  # no entry can have such a tag
            return 0
        kept = self._counter.submit(self._purges.keep, purge)
        self._writer.submit(self._evictor.begin_purge, purge)
        removal = asyncio.wrap_future(purge.done)
        try:
            if not (await asyncio.wait({removal}, timeout=REMOVE_WAIT_S))[0]:
                await asyncio.wrap_future(kept)
                await self._run_in(self._counter, self._count, purge)
            elif (failure := removal.result()) is not None:
                raise failure
        except OSError as error:
            self._record_error("purging", error)
            raise InternalError(
                "the disk cache could not be purged completely",
                fix="find the reason in the log, fix it and purge again, or empty the cache folder",
            ) from error
        return sum(purge.counts.values())

    async def forget(self, tag_prefix: str) -> None:
        """Finish pending writes. Lookups no longer find purged renditions that wait to be written.

        All processes that share the folder call this before one of them calls purge().
        """
        self._behind.flush()
        self._behind.forget(tag_prefix)
        await self._run_in(self._writer, _nothing)

    async def written(self, key: Digest) -> None:
        """Wait until the rendition that was stored under this key is on the disk or was dropped."""
        while self._behind.get(key) is not None:  # noqa: ASYNC110 - an event per entry costs more
            await asyncio.sleep(_WRITTEN_POLL_S)

    async def close(self) -> None:
        """Finish pending writes and stop the threads."""
        self._is_closed = True
        self._behind.flush()
        for pool in (self._writer, self._readers, self._counter):
            await asyncio.to_thread(pool.shutdown)

    def stats(self) -> TierStats:
        """The statistics of this tier. Until the entries have been counted, `entries` and `bytes` are 0."""
        evictor = self._evictor
        usage = evictor.usage or Usage()
        return TierStats(
            self.name,
            entries=usage.entries,
            bytes=usage.bytes,
            limit_bytes=self._limit_bytes,
            evictions=evictor.evictions,
            available=not self._backoff.is_active,
            **asdict(self._counts),
        )

    def _prepare(self) -> None:
        self._entries.prepare()
        for purge in self._purges.load():
            self._evictor.begin_purge(purge)

    def _count(self, purge: PendingPurge) -> None:
        """Count the entries that a purge covers, in the shards that the removal has not reached yet."""
        self._purges.may_remove.clear()
        try:
            earlier = [other for other in self._purges.all if other.number <= purge.number]
            if purge in earlier:  # else it is complete
                for shard in SHARDS:
                    if shard not in purge.counts:
                        purge.counts.setdefault(shard, len(self._entries.tagged(shard, earlier, self._purges)[-1]))
        finally:
            self._purges.may_remove.set()

    def _unpurged(self, key: Digest, read: Callable[[Digest], Found | None], *, stale: bool = False) -> Found | None:
        """The rendition that `read` returns, unless a pending purge covers it."""
        last_before, pending = self._purges.last_before(key), self._purges.all
        found = read(key)
        if found is None or not self._purges.covers(found.record, last_before, pending, stale=stale):
            return found
        if isinstance(found, StoredRendition):
            found.close()
        return None

    def _has_room(self, rendition: Rendition) -> bool:
        """True if the rendition may be stored now. If not, counts it as skipped."""
        pending = self._pending_bytes + self._behind.bytes + len(rendition.body)
        has_room = not self._is_off and pending <= _MAX_PENDING_BYTES + self._limit_bytes // MAX_ENTRY_DIVISOR
        self._counts.skipped += not has_room
        return has_room

    def _write_batch(self, batch: Sequence[tuple[Digest, Rendition]]) -> _Written:
        """Write renditions, on the writer thread. After an error, the remaining renditions are skipped."""
        skipped = 0
        for number, (key, rendition) in enumerate(batch):
            try:
                skipped += not self._evictor.store(key, rendition)
            except OSError as error:
                return _Written(skipped + len(batch) - number, error)
        return _Written(skipped)

    def _count_written(self, written: _Written) -> None:
        self._counts.skipped += written.skipped
        if written.error is not None:
            self._record_error("writing", written.error)

    @property
    def _is_off(self) -> bool:
        return self._is_closed or self._backoff.is_active

    async def _read(self, key: Digest, read: Callable[[Digest], Found | None]) -> Rendition | Found | None:
        try:
            try:
                return self._unpurged(key, self._read_cached)
            except BlockingIOError:
                return await self._run_in(self._readers, self._unpurged, key, read)
        except CorruptEntry as corrupt:
            self._counts.damaged += 1
            _log.warning("disk cache: entry %s is corrupt (%s) and is removed", key, corrupt)
        except OSError as error:
            self._record_error("reading", error)
        self._discard(key)
        return None

    def _discard(self, key: Digest) -> None:
        """Remove the entry under a key, in the background."""
        if not self._is_closed:
            self._writer.submit(self._evictor.discard, key)

    def _is_expired(self, rendition: Rendition | StoredRendition) -> bool:
        """True if the rendition has expired, or if its render began before a purge that covers it was known."""
        expires_s = rendition.record.expires_s
        if expires_s is not None and expires_s <= self._now():
            return True
        return self._history is not None and self._history.is_older_than_a_purge(rendition.record)

    def _record_error(self, action: str, error: OSError) -> None:
        self._counts.errors += 1
        self._backoff.record(action, error)

    async def _run_in(self, pool: Executor, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


def _nothing() -> None:
    """Do nothing. When this job of the writer thread ends, all earlier jobs have ended."""


class _StorageBackoff:
    """Switches the storage off for BACKOFF_S after an error. Logs errors at most once a minute."""

    def __init__(self) -> None:
        self._until_s = self._logged_s = float("-inf")

    @property
    def is_active(self) -> bool:
        return time.monotonic() < self._until_s

    def record(self, action: str, error: OSError) -> None:
        now = time.monotonic()
        self._until_s = now + BACKOFF_S
        if now - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now
            _log.warning("disk cache: %s failed: %s; not used for %.0f s", action, error, BACKOFF_S)
