"""Limits the pace of many requests, and repeats requests that an overloaded server rejects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol, TypeVar

ATTEMPTS: Final = 5
OVERLOADED: Final = frozenset({429, 503})
_MAX_PAUSE_S: Final = 30.0

T = TypeVar("T")


class _Response(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def retry_after(self) -> str:
        """The value of the header Retry-After; empty if the response does not have it."""


R = TypeVar("R", bound=_Response)


class RateLimiter:
    """Lets `rate` callers per second continue, evenly spaced. None: no limit."""

    def __init__(self, rate: float | None) -> None:
        self._interval_s = 1 / rate if rate else 0.0
        self._next_s = 0.0

    async def wait(self) -> None:
        """Wait until the caller may continue."""
        if not self._interval_s:
            return
        now_s = asyncio.get_running_loop().time()
        start_s = max(now_s, self._next_s)
        self._next_s = start_s + self._interval_s
        await asyncio.sleep(start_s - now_s)


async def for_each(items: Iterable[T], concurrency: int, work: Callable[[T], Awaitable[None]]) -> None:
    """Call `work` with each item. At most `concurrency` calls run at the same time; they begin in the items' order."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


async def send_until_accepted(send: Callable[[], Awaitable[R]]) -> R:
    """Call `send` until the server is not overloaded (429 or 503), at most ATTEMPTS times; return the last response.

    The pause between two attempts is the number of seconds in the header Retry-After. If the header is missing or has
    a date, the pauses are 1, 2, 4 and 8 seconds.
    """
    for attempt in range(ATTEMPTS - 1):
        response = await send()
        if response.status not in OVERLOADED:
            return response
        given = response.retry_after
        await asyncio.sleep(min(_MAX_PAUSE_S, float(given) if given.isascii() and given.isdigit() else 2.0**attempt))
    return await send()
