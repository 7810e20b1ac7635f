"""Every Limiter keeps these promises."""

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
    """What time.time() tells, as the only item."""
    now = [1_800_000_000.75]  # not at the beginning of a second
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


async def test_so_many_in_a_second_and_no_more(limiter: Limiter, clock: list[float]) -> None:
    assert [await limiter.hit("a", 3) for _ in range(5)] == [
        Quota(3, 2),
        Quota(3, 1),
        Quota(3, 0),
        Quota(3, 0, retry_after_s=1),
        Quota(3, 0, retry_after_s=1),
    ]


async def test_the_window_begins_with_the_first_request_not_with_the_second_hand(
    limiter: Limiter, clock: list[float]
) -> None:
    await limiter.hit("a", 1)
    clock[0] += 0.99  # in the clock's next second
    assert (await limiter.hit("a", 1)).exceeded
    clock[0] += 0.02
    assert await limiter.hit("a", 1) == Quota(1, 0)


async def test_refused_requests_do_not_lengthen_the_window(limiter: Limiter, clock: list[float]) -> None:
    for _ in range(10):
        await limiter.hit("a", 1)
        clock[0] += 0.1
    clock[0] += 0.01
    assert not (await limiter.hit("a", 1)).exceeded


async def test_keys_are_counted_apart(limiter: Limiter, clock: list[float]) -> None:
    await limiter.hit("a", 1)
    assert await limiter.hit("b", 1) == Quota(1, 0)


async def test_last_tells_without_counting(limiter: Limiter, clock: list[float]) -> None:
    assert limiter.peek("a", 3) == Quota(3, 3)
    await limiter.hit("a", 3)
    assert [limiter.peek("a", 3) for _ in range(5)] == [Quota(3, 2)] * 5
    assert await limiter.hit("a", 3) == Quota(3, 1)


async def test_last_is_full_again_when_the_window_has_ended(limiter: Limiter, clock: list[float]) -> None:
    await limiter.hit("a", 3)
    clock[0] += 1.0
    assert limiter.peek("a", 3) == Quota(3, 3)


async def test_last_is_never_exceeded_for_it_asks_for_nothing(limiter: Limiter, clock: list[float]) -> None:
    for _ in range(3):
        await limiter.hit("a", 1)
    assert limiter.peek("a", 1) == Quota(1, 0)


async def test_a_limit_of_0_is_off(limiter: Limiter, clock: list[float]) -> None:
    told = [await limiter.hit("a", 0) for _ in range(200)]
    assert told == [Quota(0, 0)] * 200
    assert limiter.peek("a", 0) == Quota(0, 0)
    assert not told[-1].exceeded
