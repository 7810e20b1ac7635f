"""The memory of running tasks: its limit, and the detection of renderers that the kernel killed for lack of memory.

    limit of the server  =  the front  +  idle renderers  +  running tasks  +  a reserve

The memory of the front and of idle renderers is measured. Their caches count as full. The memory of a task is estimated
(geometry/memory.py). The renderer checks the estimate with the headers of the sources before it decodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cropmark.model.problems import Overloaded, Problem, SourceTooLarge
from cropmark.renderers.tasks import UNLIMITED
from cropmark.runtime import cgroups

MIN_GRANT_BYTES = 16 * 2**20
"""The least memory that a task gets, even if the estimate or the free memory is lower."""
_RESERVE_BYTES = 8 * 2**20
_RESERVE_SHARE = 20
"""1/20 of the limit stays free too, for the libraries' files, the kernel, and bodies in the front."""


class MemoryBudget:
    """Divides the memory among the tasks. Without a limit, every task gets the memory that it needs."""

    def __init__(
        self, limit_bytes: int | None, cache_bytes: int = 0, front_bytes: Callable[[], int] = cgroups.own_memory
    ) -> None:
        """`cache_bytes` is the memory that the front's cache takes when it is full."""
        self._limit_bytes = limit_bytes
        self._cache_bytes = cache_bytes
        self._measure = front_bytes
        self._full_front_bytes = 0
        self.granted_bytes = 0
        """The memory granted to all running tasks together."""

    @property
    def is_limited(self) -> bool:
        return self._limit_bytes is not None

    def for_tasks(self, idle_bytes: Callable[[], int]) -> int:
        """The memory that all tasks together may take while the front's cache is full.

        `idle_bytes` returns the memory that the renderers take without their tasks.
        """
        if self._limit_bytes is None:
            return UNLIMITED
        if not self._full_front_bytes:
            self._full_front_bytes = self._measure() + self._cache_bytes
        return self._left(self._limit_bytes, self._full_front_bytes + idle_bytes())

    def has(self, needed: int, idle_bytes: Callable[[], int]) -> bool:
        """True if a task that needs `needed` bytes can start now. It always can if no task runs, or without a limit.

        `idle_bytes` returns the memory that the renderers take without their tasks.
        """
        if not self.granted_bytes or self._limit_bytes is None:
            return True
        front_bytes = max(self._measure(), self._full_front_bytes)
        return self.granted_bytes + needed <= self._left(self._limit_bytes, front_bytes + idle_bytes())

    @staticmethod
    def _left(limit_bytes: int, taken_bytes: int) -> int:
        return max(MIN_GRANT_BYTES, limit_bytes - limit_bytes // _RESERVE_SHARE - _RESERVE_BYTES - taken_bytes)


class OomKills:
    """Finds out if the kernel killed a renderer (SIGKILL) for lack of memory, from counters of the kernel."""

    def __init__(self, counters: Callable[[], Sequence[int]] = cgroups.oom_kills) -> None:
        self._counters = counters
        self._seen = counters()
        self._unexplained = 0

    def explain_kill(self) -> bool:
        """True if a killed renderer can be explained by an out-of-memory kill that the kernel has counted.

        Each counted kill explains one renderer only.
        """
        before, self._seen = self._seen, self._counters()
        self._unexplained += max(now - then for now, then in zip(self._seen, before, strict=True))
        if self._unexplained <= 0:
            return False
        self._unexplained -= 1
        return True


def never_fits(needed: int, available: int) -> Problem:
    """The Problem of a task that needs more memory than all tasks together may take."""
    return SourceTooLarge(
        f"this rendition takes about {_mb(needed)} MB of memory, at most {_mb(available)} MB are available",
        fix="use a smaller image or request a smaller rendition, or give the server more memory (memory_limit_bytes)",
    )


def out_of_memory() -> Problem:
    return Overloaded("the memory of the server ran out", fix="try again a little later", retry_after_s=5)


def _mb(count: int) -> int:
    return -(-count // 10**6)
