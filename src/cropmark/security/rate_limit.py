"""How many requests a caller may make in a second or a minute: fixed windows that begin with the first one counted."""

from __future__ import annotations

import time
from functools import lru_cache
from math import ceil
from typing import Final

import structlog
from cachetools import LRUCache
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from cropmark.ports import Quota

log = structlog.get_logger("cropmark.security.rate_limit")

_PATIENCE: Final = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25}
"""Seconds that a request waits for Redis."""
_SILENCE_S: Final = 1.0
"""How long a Redis that did not answer is not asked again."""
_REMEMBERED: Final = 10_000
"""Callers whose last count is remembered for last(); a forgotten one is told that nothing is used up."""


class MemoryLimiter:
    """A Limiter that counts in this process, or in another async storage of the library `limits`.

    A limit of 0 switches it off. Windows: spec of Contentstack's delivery, "each second, from the first request";
    `window_s` is for those who count by longer ones.
    """

    def __init__(self, storage: Storage | None = None, *, window_s: int = 1) -> None:
        self._windows = FixedWindowRateLimiter(storage or MemoryStorage())
        self._window_s = window_s
        self._seen: LRUCache[tuple[str, int], tuple[int, float]] = LRUCache(_REMEMBERED)

    async def hit(self, key: str, limit_per_s: int) -> Quota:
        """Count one. Beyond the limit it is counted too, but the window ends no later for it."""
        if limit_per_s <= 0:
            return Quota(0, 0)
        item = _item(limit_per_s, self._window_s)
        is_allowed = await self._windows.hit(item, key)
        window = await self._windows.get_window_stats(item, key)
        self._seen[key, limit_per_s] = (window.remaining, window.reset_time)
        wait_s = max(1, min(self._window_s, ceil(window.reset_time - time.time())))
        return Quota(limit_per_s, window.remaining, retry_after_s=0 if is_allowed else wait_s)

    def peek(self, key: str, limit_per_s: int) -> Quota:
        """Where the caller stands, as far as this process knows. Never exceeded: nothing was asked for."""
        if limit_per_s <= 0:
            return Quota(0, 0)
        remaining, ends_s = self._seen.get((key, limit_per_s), (limit_per_s, 0.0))
        return Quota(limit_per_s, remaining if time.time() < ends_s else limit_per_s)


class RedisLimiter(MemoryLimiter):
    """Counts in a Redis. While that does not answer, each server counts alone: requests are not turned away for it."""

    def __init__(self, redis_url: str, *, window_s: int = 1) -> None:
        from redis.exceptions import RedisError  # noqa: PLC0415 - of the extra `redis`

        self._troubles = (RedisError, OSError)
        storage = storage_from_string(f"async+{redis_url}", implementation="redispy", **_PATIENCE)
        assert isinstance(storage, Storage)
        super().__init__(storage, window_s=window_s)
        self._alone = MemoryLimiter(window_s=window_s)
        self._silent_until_s = 0.0

    async def hit(self, key: str, limit_per_s: int) -> Quota:
        if time.monotonic() >= self._silent_until_s:
            try:
                return await super().hit(key, limit_per_s)
            except self._troubles as error:
                self._silent_until_s = time.monotonic() + _SILENCE_S
                log.warning("Redis does not answer, this server counts alone", why=type(error).__name__)
        return await self._alone.hit(key, limit_per_s)

    def peek(self, key: str, limit_per_s: int) -> Quota:
        is_alone = time.monotonic() < self._silent_until_s
        return self._alone.peek(key, limit_per_s) if is_alone else super().peek(key, limit_per_s)


@lru_cache(maxsize=64)
def _item(limit: int, window_s: int) -> RateLimitItem:
    return RateLimitItemPerSecond(limit, window_s)


def limiter(redis_url: str = "", *, window_s: int = 1) -> MemoryLimiter:
    """A Limiter that counts in this process alone, or with all servers of one Redis."""
    if not redis_url:
        return MemoryLimiter(window_s=window_s)
    return RedisLimiter(redis_url, window_s=window_s)
