"""Renditions in a folder: bounded by bytes, still there after a restart, shared by several processes if need be.

A hit that lies in the page cache is read on the event loop, which is four times quicker than by a thread; everything
else by threads of the cache's own: two that read, and one that writes, counts and removes, so that what changes the
folder happens in the order it was asked for, and a purge sees every put before it.
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
from cropmark.caches.stats import SHARE, TierCounters, TierStats
from cropmark.model.problems import InternalError
from cropmark.ports import Digest, Rendition

T = TypeVar("T")

GIB: Final = 2**30
PAUSE_S: Final = 5.0
"""For so long after a failure of the storage it is left alone."""
LOG_EVERY_S: Final = 60.0

_WAITING_LIMIT_BYTES: Final = 32 * 2**20

_log = logging.getLogger(__name__)


class DiskCache:
    """A Cache in a folder. Trouble with the storage costs caching for a moment, and never an answer."""

    name: Final = "disk"

    def __init__(self, folder: Path, limit_bytes: int = 2 * GIB, *, now: Callable[[], float] = time.time) -> None:
        self._entries = EntryStore(folder)
        self._keeper = Evictor(self._entries, limit_bytes)
        self._limit_bytes = limit_bytes
        self._now = now
        self._counts = TierCounters()
        self._trouble = _StorageBackoff()
        self._waiting_bytes = 0
        self._is_closed = False
        self._readers = ThreadPoolExecutor(2, "cache-reader")
        self._writer = ThreadPoolExecutor(1, "cache-writer")

    @classmethod
    async def open(cls, folder: Path, limit_bytes: int = 2 * GIB) -> DiskCache:
        """The cache of a folder, which is made where it is missing; its entries are counted meanwhile.

        Raises OSError where it cannot be written: PermissionError, NotADirectoryError, FileExistsError, or another of
        them for a read-only file system. A full disk is no such error.
        """
        cache = cls(folder, limit_bytes)
        try:
            await cache._by(cache._writer, cache._entries.prepare)
        except OSError as error:
            if error.errno not in FULL:
                await cache.close()
                raise
            cache._troubled("opening", error)
        cache._writer.submit(cache._keeper.scan)
        return cache

    def peek(self, key: Digest) -> Rendition | None:
        """The rendition, if it can be had without waiting. Counts hits only; get(), which follows, counts the rest."""
        if self._is_off:
            return None
        try:
            found = self._entries.read(key, at_once=True)
        except (OSError, CorruptEntry):
            return None  # get() meets it again, and deals with it
        if found is None or self._is_expired(found):
            return None
        self._counts.hits += 1
        return found

    async def get(self, key: Digest) -> Rendition | None:
        found = None if self._is_off else await self._read(key)
        if found is not None and self._is_expired(found):
            self._discard(key)
            found = None
        if found is None:
            self._counts.misses += 1
        else:
            self._counts.hits += 1
        return found

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Keep it on the disk; it is there, or was skipped, when this returns."""
        size = len(rendition.body)
        if self._is_off or self._waiting_bytes + size > _WAITING_LIMIT_BYTES + self._limit_bytes // SHARE:
            self._counts.skipped += 1
            return
        self._waiting_bytes += size
        try:
            kept = await self._by(self._writer, self._keeper.store, key, rendition)
            self._counts.skipped += not kept
        except OSError as error:
            self._counts.skipped += 1
            self._troubled("writing", error)
        finally:
            self._waiting_bytes -= size

    async def purge(self, tag_prefix: str) -> int:
        """Forget all with a tag that begins with this; how many there were.

        Raises Breakdown where files could not be removed: to say nothing would leave what was purged in use.
        """
        try:
            purged = self._keeper.touch(tag_prefix)
            self._writer.submit(self._keeper.purge)
            return await asyncio.wrap_future(purged)
        except OSError as error:
            self._troubled("purging", error)
            raise InternalError(
                "the disk cache could not be purged whole",
                fix="see the log for the reason, mend it and purge again, or empty the cache folder",
            ) from error

    async def close(self) -> None:
        """Finish what is being written, and stop the threads."""
        self._is_closed = True
        for pool in (self._writer, self._readers):
            await asyncio.to_thread(pool.shutdown)

    def stats(self) -> TierStats:
        """What is held now, and what happened so far. The entries are 0 until they have been counted."""
        keeper, counts = self._keeper, self._counts
        held = keeper.held or Usage()
        return TierStats(
            self.name,
            entries=held.entries,
            bytes=held.bytes,
            limit_bytes=self._limit_bytes,
            hits=counts.hits,
            misses=counts.misses,
            evictions=keeper.evictions,
            errors=counts.errors,
            damaged=counts.damaged,
            skipped=counts.skipped,
        )

    @property
    def _is_off(self) -> bool:
        return self._is_closed or self._trouble.paused

    async def _read(self, key: Digest) -> Rendition | None:
        try:
            try:
                return self._entries.read(key, at_once=True)
            except BlockingIOError:
                return await self._by(self._readers, self._entries.read, key)
        except CorruptEntry as damage:
            self._counts.damaged += 1
            _log.warning("disk cache: entry %s is damaged (%s), and removed", key, damage)
        except OSError as error:
            self._troubled("reading", error)
        self._discard(key)
        return None

    def _discard(self, key: Digest) -> None:
        """Have an entry removed that nobody may get; nobody waits for it either."""
        if not self._is_closed:
            self._writer.submit(self._keeper.discard, key)

    def _is_expired(self, found: Rendition) -> bool:
        return found.record.expires_s is not None and found.record.expires_s <= self._now()

    def _troubled(self, doing: str, error: OSError) -> None:
        self._counts.errors += 1
        self._trouble.met(doing, error)

    async def _by(self, pool: Executor, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


class _StorageBackoff:
    """Failures of the storage: told once a minute, and a reason to leave it alone for a moment."""

    def __init__(self) -> None:
        self._until_s = self._told_s = float("-inf")

    @property
    def paused(self) -> bool:
        return time.monotonic() < self._until_s

    def met(self, doing: str, error: OSError) -> None:
        now = time.monotonic()
        self._until_s = now + PAUSE_S
        if now - self._told_s >= LOG_EVERY_S:
            self._told_s = now
            _log.warning("disk cache: %s failed: %s; off for %.0f s at a time", doing, error, PAUSE_S)
