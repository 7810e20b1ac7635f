"""Caches renditions in the memory of this process, limited by bytes. The least recently used are evicted first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from cachetools import LRUCache

from cropmark.caches.stats import MAX_ENTRY_DIVISOR, TierCounters, TierStats
from cropmark.ports import Digest, Rendition

MIB: Final = 2**20

_RECORD_BYTES: Final = 1_536
"""Estimated memory of a record without its texts. tracemalloc measured 1.3 kB for one source version and two tags."""


class MemoryCache:
    """A Cache in memory, for one event loop only: lookups are plain calls without a lock."""

    name: Final = "memory"

    def __init__(self, limit_bytes: int = 64 * MIB, *, now: Callable[[], float] = time.time) -> None:
        self._entries = _ByteLru(limit_bytes)
        self._counts = TierCounters()
        self._now = now

    def peek(self, key: Digest) -> Rendition | None:
        """The rendition under a key, without waiting.

        Counts only hits. After a miss, the caller calls get(), which counts the miss.
        """
        rendition = self._entries.get(key)
        if rendition is None:
            return None
        expires_s = rendition.record.expires_s
        if expires_s is not None and expires_s <= self._now():
            del self._entries[key]
            return None
        self._counts.hits += 1
        return rendition

    async def get(self, key: Digest) -> Rendition | None:
        rendition = self.peek(key)
        if rendition is None:
            self._counts.misses += 1
        return rendition

    def store(self, key: Digest, rendition: Rendition) -> None:
        """Store the rendition as put() does, without waiting."""
        max_bytes = self._entries.maxsize // MAX_ENTRY_DIVISOR
        if len(rendition.body) > max_bytes or weight(rendition) > max_bytes:
            self._counts.skipped += 1
            self._entries.pop(key, None)  # the older rendition under this key is out of date
        else:
            self._entries[key] = rendition

    async def put(self, key: Digest, rendition: Rendition) -> None:
        self.store(key, rendition)

    async def purge(self, tag_prefix: str) -> int:
        purged = self.tagged(tag_prefix)
        for key in purged:
            del self._entries[key]
        return len(purged)

    def tagged(self, tag_prefix: str) -> dict[Digest, Rendition]:
        """The renditions with a tag that begins with `tag_prefix`."""
        return {key: found for key, found in self._entries.items() if found.record.has_tag(tag_prefix)}

    async def close(self) -> None:
        """Do nothing: after a reload of the configuration, the next server uses this cache and its entries."""

    def stats(self) -> TierStats:
        entries = self._entries
        return TierStats(
            self.name,
            entries=len(entries),
            bytes=int(entries.currsize),
            limit_bytes=int(entries.maxsize),
            evictions=entries.evictions,
            **asdict(self._counts),
        )


class _ByteLru(LRUCache[Digest, Rendition]):
    """An LRU cache bounded by bytes that counts its evictions."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, getsizeof=weight)
        self.evictions = 0

    def popitem(self) -> tuple[Digest, Rendition]:
        self.evictions += 1
        return super().popitem()


def weight(rendition: Rendition) -> int:
    """The memory for a cached rendition in bytes: its body, plus an estimate for its record."""
    record = rendition.record
    text = (
        sum(map(len, record.tags))
        + sum(len(s.identity) + len(s.version) for s in record.versions)
        + sum(len(w.parameter) + len(w.text) for w in record.warnings)
    )
    return len(rendition.body) + text + _RECORD_BYTES
