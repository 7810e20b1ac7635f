"""The parts of a server that outlive a reload: metrics, known purges, and the memory cache if its size is unchanged."""

from __future__ import annotations

from cropmark.caches.memory import MemoryCache
from cropmark.fleet.siblings import Siblings
from cropmark.ports import RenderLocks
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_log import PurgeHistory
from cropmark.server.exposition import HostMetrics


class Kept:
    """The parts of a server that a reload passes on to the next server of this process."""

    def __init__(self, siblings: Siblings | None = None, locks: RenderLocks | None = None) -> None:
        """`siblings` sends messages to the other fronts of this host, if any; all of them share `locks`."""
        self.siblings = siblings
        self.locks = locks
        self.metrics = Metrics()
        self.host_metrics = None if siblings is None else HostMetrics(self.metrics, siblings)
        self.history = PurgeHistory()
        self._memory_cache: MemoryCache | None = None

    def memory_cache(self, limit_bytes: int) -> MemoryCache:
        """The memory cache of the replaced server; a new one if the configured size has changed."""
        if self._memory_cache is None or self._memory_cache.stats().limit_bytes != limit_bytes:
            self._memory_cache = MemoryCache(limit_bytes)
        return self._memory_cache
