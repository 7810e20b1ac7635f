"""The parts of a server that a reload does not replace: metrics, known purges, and usually the memory cache."""

from __future__ import annotations

from cropmark.caches.memory import MemoryCache
from cropmark.fleet.siblings import Siblings
from cropmark.ports import RenderLocks
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_log import PurgeHistory
from cropmark.server.exposition import HostMetrics


class Kept:
    """The parts that a reload passes on from the old server of this process to the new one."""

    def __init__(self, siblings: Siblings | None = None, locks: RenderLocks | None = None) -> None:
        """`siblings` sends messages to the other fronts of this host, and all fronts share `locks`.

        Both have the value None on a host with a single front.
        """
        self.siblings = siblings
        self.locks = locks
        self.metrics = Metrics()
        self.host_metrics = None if siblings is None else HostMetrics(self.metrics, siblings)
        self.history = PurgeHistory()
        self._memory_cache: MemoryCache | None = None

    def memory_cache(self, limit_bytes: int) -> MemoryCache:
        """The memory cache of the old server if its limit is `limit_bytes`, else a new one."""
        if self._memory_cache is None or self._memory_cache.stats().limit_bytes != limit_bytes:
            self._memory_cache = MemoryCache(limit_bytes)
        return self._memory_cache
