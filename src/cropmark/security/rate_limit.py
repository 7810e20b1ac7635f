"""Rate limits: counts requests in windows of a fixed length. A window begins with the first request that it counts."""

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

_REDIS_TIMEOUTS: Final = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25}
"""The seconds that a request waits for Redis."""
_RETRY_REDIS_S: Final = 1.0
"""The pause after a failure of Redis."""
_LAST_LIMIT: Final = 10_000
"""The number of keys for which the last count stays in memory. For other keys, peek() returns an unused quota."""


class MemoryLimiter:
    """A Limiter that counts in this process, or in another async storage of the library `limits`.

    A window begins with its first request. Contentstack documents windows of one second ("Rate Limiting",
    https://www.contentstack.com/docs/developers/apis/image-delivery-api), but not the moment at which a window begins.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self._windows = FixedWindowRateLimiter(storage or MemoryStorage())
        self._last: LRUCache[tuple[str, int, int], tuple[int, float]] = LRUCache(_LAST_LIMIT)
        """The remaining requests after the last hit, and the Unix time of the end of the window.

        By key, limit and length of the window.
        """

    async def hit(self, key: str, limit: int, window_s: int) -> Quota:
        """Count one request; returns the new quota.

        Requests above the limit count too, and do not extend the window.
        """
        if limit <= 0:
            return Quota(0, 0)
        item = _item(limit, window_s)
        is_allowed = await self._windows.hit(item, key)
        window = await self._windows.get_window_stats(item, key)
        self._last[key, limit, window_s] = (window.remaining, window.reset_time)
        wait_s = max(1, min(window_s, ceil(window.reset_time - time.time())))
        return Quota(limit, window.remaining, retry_after_s=0 if is_allowed else wait_s)

    def peek(self, key: str, limit: int, window_s: int) -> Quota:
        """The quota after the last request that this process counted. Counts no request.

        The quota never says that the limit is exceeded.
        """
        if limit <= 0:
            return Quota(0, 0)
        remaining, ends_s = self._last.get((key, limit, window_s), (limit, 0.0))
        return Quota(limit, remaining if time.time() < ends_s else limit)


class RedisLimiter(MemoryLimiter):
    """A Limiter that counts in Redis. While Redis fails, each server counts its own requests."""

    def __init__(self, redis_url: str) -> None:
        from redis.exceptions import RedisError  # noqa: PLC0415 - of the extra `redis`

        self._redis_errors = (RedisError, OSError)
        storage = storage_from_string(f"async+{redis_url}", implementation="redispy", **_REDIS_TIMEOUTS)
        assert isinstance(storage, Storage)
        super().__init__(storage)
        self._local = MemoryLimiter()
        self._failed_until_s = 0.0
        self.errors = 0
        """Number of failures of Redis since the start."""

    @property
    def available(self) -> bool:
        """False for a short time after a failure of Redis. Then this server counts only its own requests."""
        return time.monotonic() >= self._failed_until_s

    async def hit(self, key: str, limit: int, window_s: int) -> Quota:
        if self.available:
            try:
                return await super().hit(key, limit, window_s)
            except self._redis_errors as error:
                self._failed_until_s = time.monotonic() + _RETRY_REDIS_S
                self.errors += 1
                log.warning("Redis failed; this server counts requests on its own", error=type(error).__name__)
        return await self._local.hit(key, limit, window_s)

    def peek(self, key: str, limit: int, window_s: int) -> Quota:
        return super().peek(key, limit, window_s) if self.available else self._local.peek(key, limit, window_s)


@lru_cache(maxsize=64)
def _item(limit: int, window_s: int) -> RateLimitItem:
    return RateLimitItemPerSecond(limit, window_s)


def new_limiter(redis_url: str = "") -> MemoryLimiter:
    """A Limiter that counts in Redis, together with other servers; without a `redis_url`, it counts in this process."""
    return RedisLimiter(redis_url) if redis_url else MemoryLimiter()
