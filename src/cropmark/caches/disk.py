"""Renditions in a folder: bounded by bytes, preserved across restarts, shareable by several processes.

- A hit in the page cache is read on the event loop, which is four times faster than in a thread.
- Other reads run in two reader threads.
- Every change runs on one writer thread, in the order of the calls: a purge sees every put before it.
- A storage failure switches the tier off for BACKOFF_S. It never fails a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from cropmark.caches.entry_format import CorruptEntry
from cropmark.caches.entry_store import EntryStore, Usage
from cropmark.caches.evictor import FULL, Evictor
from cropmark.caches.stats import MAX_ENTRY_DIVISOR, TierCounters, TierStats
from cropmark.model.problems import InternalError
from cropmark.ports import Digest, Rendition
from cropmark.runtime.file_io import FileCalls

T = TypeVar("T")

GIB: Final = 2**30
BACKOFF_S: Final = 5.0
"""Pause after a failure of the storage."""
LOG_EVERY_S: Final = 60.0

_MAX_PENDING_BYTES: Final = 32 * 2**20

_log = logging.getLogger(__name__)


class DiskCache:
    """A Cache in a folder."""

    name: Final = "disk"

    def __init__(
        self,
        folder: Path,
        limit_bytes: int = 2 * GIB,
        *,
        now: Callable[[], float] = time.time,
        file_calls: FileCalls | None = None,
    ) -> None:
        """`file_calls` None: the system calls of this platform."""
        self._entries = EntryStore(folder, file_calls)
        self._evictor = Evictor(self._entries, limit_bytes)
        self._limit_bytes = limit_bytes
        self._now = now
        self._counts = TierCounters()
        self._backoff = _StorageBackoff()
        self._pending_bytes = 0
        self._is_closed = False
        self._readers = ThreadPoolExecutor(2, "cache-reader")
        self._writer = ThreadPoolExecutor(1, "cache-writer")

    @classmethod
    async def open(cls, folder: Path, limit_bytes: int = 2 * GIB, *, file_calls: FileCalls | None = None) -> DiskCache:
        """The cache in a folder, which is created if it is missing. Its entries are counted in the background.

        Raises OSError if the folder cannot be written: PermissionError, NotADirectoryError, FileExistsError, or another
        one for a read-only file system. A full disk raises no error.
        """
        cache = cls(folder, limit_bytes, file_calls=file_calls)
        try:
            await cache._run_in(cache._writer, cache._entries.prepare)
        except OSError as error:
            if error.errno not in FULL:
                await cache.close()
                raise
            cache._record_error("opening", error)
        cache._writer.submit(cache._evictor.scan)
        return cache

    def peek(self, key: Digest) -> Rendition | None:
        """The rendition, without waiting. Counts hits only; the get() that follows a miss counts everything else."""
        if self._is_off:
            return None
        try:
            rendition = self._entries.read(key, without_waiting=True)
        except (OSError, CorruptEntry):
            return None  # get() meets the error again and handles it
        if rendition is None or self._is_expired(rendition):
            return None
        self._counts.hits += 1
        return rendition

    async def get(self, key: Digest) -> Rendition | None:
        rendition = None if self._is_off else await self._read(key)
        if rendition is not None and self._is_expired(rendition):
            self._discard(key)
            rendition = None
        if rendition is None:
            self._counts.misses += 1
        else:
            self._counts.hits += 1
        return rendition

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Write it to the disk; when this returns, it is stored or was skipped."""
        size = len(rendition.body)
        if self._is_off or self._pending_bytes + size > _MAX_PENDING_BYTES + self._limit_bytes // MAX_ENTRY_DIVISOR:
            self._counts.skipped += 1
            return
        self._pending_bytes += size
        try:
            is_stored = await self._run_in(self._writer, self._evictor.store, key, rendition)
            self._counts.skipped += not is_stored
        except OSError as error:
            self._counts.skipped += 1
            self._record_error("writing", error)
        finally:
            self._pending_bytes -= size

    async def purge(self, tag_prefix: str) -> int:
        """Delete all entries with a tag that begins with `tag_prefix`; returns their number.

        Raises InternalError if a file could not be removed, since a purged entry would stay in use.
        """
        try:
            purged = self._evictor.request_purge(tag_prefix)
            self._writer.submit(self._evictor.run_purges)
            return await asyncio.wrap_future(purged)
        except OSError as error:
            self._record_error("purging", error)
            raise InternalError(
                "the disk cache could not be purged completely",
                fix="find the reason in the log, fix it and purge again, or empty the cache folder",
            ) from error

    async def close(self) -> None:
        """Finish pending writes and stop the threads."""
        self._is_closed = True
        for pool in (self._writer, self._readers):
            await asyncio.to_thread(pool.shutdown)

    def stats(self) -> TierStats:
        """The statistics of this tier. Entries and bytes are 0 until they have been counted."""
        evictor, counts = self._evictor, self._counts
        usage = evictor.usage or Usage()
        return TierStats(
            self.name,
            entries=usage.entries,
            bytes=usage.bytes,
            limit_bytes=self._limit_bytes,
            hits=counts.hits,
            misses=counts.misses,
            evictions=evictor.evictions,
            errors=counts.errors,
            damaged=counts.damaged,
            skipped=counts.skipped,
        )

    @property
    def _is_off(self) -> bool:
        return self._is_closed or self._backoff.is_active

    async def _read(self, key: Digest) -> Rendition | None:
        try:
            try:
                return self._entries.read(key, without_waiting=True)
            except BlockingIOError:
                return await self._run_in(self._readers, self._entries.read, key)
        except CorruptEntry as corrupt:
            self._counts.damaged += 1
            _log.warning("disk cache: entry %s is corrupt (%s) and is removed", key, corrupt)
        except OSError as error:
            self._record_error("reading", error)
        self._discard(key)
        return None

    def _discard(self, key: Digest) -> None:
        """Remove an entry in the background."""
        if not self._is_closed:
            self._writer.submit(self._evictor.discard, key)

    def _is_expired(self, rendition: Rendition) -> bool:
        expires_s = rendition.record.expires_s
        return expires_s is not None and expires_s <= self._now()

    def _record_error(self, action: str, error: OSError) -> None:
        self._counts.errors += 1
        self._backoff.record(action, error)

    async def _run_in(self, pool: Executor, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


class _StorageBackoff:
    """Pauses the use of the storage after an error, and logs errors at most once a minute."""

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
