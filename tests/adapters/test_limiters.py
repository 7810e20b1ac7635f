"""The behavior of every Limiter."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cropmark.ports import Limiter, Quota
from cropmark.security.rate_limit import MemoryLimiter


@pytest.fixture(params=[MemoryLimiter])
def limiter(request: pytest.FixtureRequest) -> Limiter:
    make: Callable[[], Limiter] = request.param
    return make()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The result of time.time(), as the only item."""
    now = [1_800_000_000.75]  # not at the start of a second
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


async def test_requests_above_the_limit_exceed_the_quota(limiter: Limiter, clock: list[float]) -> None:
    assert [await limiter.hit("a", 3, window_s=1) for _ in range(5)] == [
        Quota(3, 2),
        Quota(3, 1),
        Quota(3, 0),
        Quota(3, 0, retry_after_s=1),
        Quota(3, 0, retry_after_s=1),
    ]


async def test_a_window_begins_with_its_first_request(limiter: Limiter, clock: list[float]) -> None:
    await limiter.hit("a", 1, window_s=1)
    clock[0] += 0.99  # in the next second of the clock
    assert (await limiter.hit("a", 1, window_s=1)).exceeded
    clock[0] += 0.02
    assert await limiter.hit("a", 1, window_s=1) == Quota(1, 0)


async def test_rejected_requests_do_not_extend_the_window(limiter: Limiter, clock: list[float]) -> None:
    for _ in range(10):
        await limiter.hit("a", 1, window_s=1)
        clock[0] += 0.1
    clock[0] += 0.01
    assert not (await limiter.hit("a", 1, window_s=1)).exceeded


async def test_keys_are_counted_separately(limiter: Limiter, clock: list[float]) -> None:
    await limiter.hit("a", 1, window_s=1)
    assert await limiter.hit("b", 1, window_s=1) == Quota(1, 0)


async def test_peek_does_not_count(limiter: Limiter, clock: list[float]) -> None:
    assert limiter.peek("a", 3, window_s=1) == Quota(3, 3)
    await limiter.hit("a", 3, window_s=1)
    assert [limiter.peek("a", 3, window_s=1) for _ in range(5)] == [Quota(3, 2)] * 5
    assert await limiter.hit("a", 3, window_s=1) == Quota(3, 1)


async def test_peek_is_full_after_the_window(limiter: Limiter, clock: list[float]) -> None:
    await limiter.hit("a", 3, window_s=1)
    clock[0] += 1.0
    assert limiter.peek("a", 3, window_s=1) == Quota(3, 3)


async def test_peek_is_never_exceeded(limiter: Limiter, clock: list[float]) -> None:
    for _ in range(3):
        await limiter.hit("a", 1, window_s=1)
    assert limiter.peek("a", 1, window_s=1) == Quota(1, 0)


async def test_a_limit_of_0_means_no_limit(limiter: Limiter, clock: list[float]) -> None:
    quotas = [await limiter.hit("a", 0, window_s=1) for _ in range(200)]
    assert quotas == [Quota(0, 0)] * 200
    assert limiter.peek("a", 0, window_s=1) == Quota(0, 0)
    assert not quotas[-1].exceeded
