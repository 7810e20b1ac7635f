"""The limiter in memory: bounded memory and concurrent requests."""

from __future__ import annotations

import asyncio
import time

import pytest
from limits.aio.storage import MemoryStorage

from cropmark.security.rate_limit import MemoryLimiter
from tests.builders import until


async def test_expired_windows_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    storage = MemoryStorage()
    limiter = MemoryLimiter(storage)
    for n in range(500):
        await limiter.hit(f"caller {n}", 5, window_s=1)
    now[0] += 2
    await limiter.hit("another", 5, window_s=1)
    await until(lambda: len(storage.storage) == 1)  # the library removes them in a task of its own


async def test_concurrent_requests_are_counted_once_each() -> None:
    limiter = MemoryLimiter()
    quotas = await asyncio.gather(*(limiter.hit("a", 30, window_s=1) for _ in range(50)))
    assert sum(not quota.exceeded for quota in quotas) == 30
