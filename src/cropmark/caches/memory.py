"""Renditions in this process' memory: the least recently used go first, bounded by bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cachetools import LRUCache

from cropmark.caches.stats import SHARE, TierCounters, TierStats, tagged
from cropmark.ports import Digest, Rendition

MIB: Final = 2**20

_FIXED_BYTES: Final = 1_536
"""What a record and its place in the tables take besides text: 1.3 kB by tracemalloc, with one stamp and two tags."""


class MemoryCache:
    """A Cache whose lookups are plain calls: no lock, no await. For one event loop only."""

    name: Final = "memory"

    def __init__(self, limit_bytes: int = 64 * MIB, *, now: Callable[[], float] = time.time) -> None:
        self._kept = _ByteLru(limit_bytes)
        self._counts = TierCounters()
        self._now = now

    def peek(self, key: Digest) -> Rendition | None:
        """The rendition, at once. Counts a hit; a miss is counted by get(), which follows it."""
        found = self._kept.get(key)
        if found is None:
            return None
        expires_s = found.record.expires_s
        if expires_s is not None and expires_s <= self._now():
            del self._kept[key]
            return None
        self._counts.hits += 1
        return found

    async def get(self, key: Digest) -> Rendition | None:
        found = self.peek(key)
        if found is None:
            self._counts.misses += 1
        return found

    def store(self, key: Digest, rendition: Rendition) -> None:
        """As put(), at once."""
        most = self._kept.maxsize // SHARE
        if len(rendition.body) > most or weight(rendition) > most:
            self._counts.skipped += 1
            self._kept.pop(key, None)  # the older one under this key is no longer right
        else:
            self._kept[key] = rendition

    async def put(self, key: Digest, rendition: Rendition) -> None:
        self.store(key, rendition)

    async def purge(self, tag_prefix: str) -> int:
        gone = [k for k, kept in self._kept.items() if tagged(kept.record, tag_prefix)]
        for key in gone:
            del self._kept[key]
        return len(gone)

    async def close(self) -> None:
        self._kept.clear()

    def stats(self) -> TierStats:
        """What is held now, and what happened so far."""
        kept, counts = self._kept, self._counts
        return TierStats(
            self.name,
            entries=len(kept),
            bytes=int(kept.currsize),
            limit_bytes=int(kept.maxsize),
            hits=counts.hits,
            misses=counts.misses,
            evictions=kept.evictions,
            skipped=counts.skipped,
        )


class _ByteLru(LRUCache[Digest, Rendition]):
    """cachetools' LRU, weighed by bytes and counting what it throws out."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, getsizeof=weight)
        self.evictions = 0

    def popitem(self) -> tuple[Digest, Rendition]:
        self.evictions += 1
        return super().popitem()


def weight(rendition: Rendition) -> int:
    """Bytes of memory that keeping it takes: the body, and about what its record does."""
    record = rendition.record
    text = (
        sum(map(len, record.tags))
        + sum(len(s.identity) + len(s.version) for s in record.versions)
        + sum(len(w.parameter) + len(w.text) for w in record.warnings)
    )
    return len(rendition.body) + text + _FIXED_BYTES
