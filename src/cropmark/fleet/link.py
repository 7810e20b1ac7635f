"""The connection to Redis. While Redis does not respond, calls fail immediately, and one warning is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from cropmark.runtime.breaker import CircuitBreaker

T = TypeVar("T")

TIMEOUT_S: Final = 0.5
"""Seconds that a call waits for Redis."""
READ_S: Final = 2.0
"""Seconds that a read of the stream waits for new messages."""

_CALLS: Final = 16
"""Largest number of calls at the same time, each with its own connection. Further calls wait."""

ERRORS: Final = (RedisError, OSError, TimeoutError)


class RedisAway(Exception):
    """Redis does not respond, or responds with an error."""


class RedisLink:
    """A connection to Redis, with two clients: one for short commands, and one for reads that wait for messages."""

    def __init__(self, url: str) -> None:
        self._client = _client(url, TIMEOUT_S)
        self._reader = _client(url, READ_S + TIMEOUT_S)
        self._calls = asyncio.Semaphore(_CALLS)
        self._breaker = CircuitBreaker("Redis", longest_pause_s=2.0)
        self.errors = 0
        """Number of failed calls."""

    @property
    def available(self) -> bool:
        return not self._breaker.is_open

    async def call(self, command: Callable[[Any], Awaitable[T]], *, waits: bool = False) -> T:
        """Run a command on a client of Redis, and return its result. Raises RedisAway.

        `waits`: the command may wait up to READ_S.
        """
        async with self._calls:
            if not self._breaker.allows():  # after the wait: Redis may have failed in between
                raise RedisAway
            try:
                result = await command(self._reader if waits else self._client)
            except ERRORS as error:
                self.errors += 1
                self._breaker.failed(type(error).__name__)
                raise RedisAway from error
            self._breaker.succeeded()
            return result

    async def close(self) -> None:
        await self._client.aclose()
        await self._reader.aclose()


def _client(url: str, timeout_s: float) -> Any:
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
    )
