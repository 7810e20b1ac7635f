"""What the limiter in memory does beyond the port: it does not grow with the callers it has seen."""

from __future__ import annotations

import asyncio
import time

import pytest
from limits.aio.storage import MemoryStorage

from cropmark.security.rate_limit import MemoryLimiter


async def test_callers_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    storage = MemoryStorage()
    limiter = MemoryLimiter(storage)
    for n in range(500):
        await limiter.hit(f"caller {n}", 5)
    now[0] += 2
    await limiter.hit("another", 5)
    await asyncio.sleep(0.05)  # the library tidies in a task of its own
    assert len(storage.storage) == 1


async def test_many_at_once_are_counted_once_each() -> None:
    limiter = MemoryLimiter()
    told = await asyncio.gather(*(limiter.hit("a", 30) for _ in range(50)))
    assert sum(not quota.exceeded for quota in told) == 30
