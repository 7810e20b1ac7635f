"""Those who want the same thing at the same moment share the work of making it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from cropmark.model.problems import InternalError, SourceFailed
from cropmark.runtime.singleflight import SingleFlight


class Works:
    """A make that waits for a word, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.cut_off = 0
        self.go = asyncio.Event()
        self.fails: BaseException | None = None

    async def make(self) -> str:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        if self.fails:
            raise self.fails
        return f"made {self.begun}"


async def waiters(count: int, flights: SingleFlight[str, str], works: Works) -> list[asyncio.Task[tuple[str, bool]]]:
    """So many tasks, all waiting for the key `a`."""
    tasks = [asyncio.create_task(flights.run("a", works.make)) for _ in range(count)]
    await asyncio.sleep(0.01)
    return tasks


async def test_500_at_once_make_it_once_check_41() -> None:
    flights, works = SingleFlight[str, str](), Works()
    tasks = await waiters(500, flights, works)
    works.go.set()
    answers = await asyncio.gather(*tasks)
    assert works.begun == 1
    assert answers == [("made 1", False)] + [("made 1", True)] * 499
    assert len(flights) == 0


async def test_other_keys_are_made_apart() -> None:
    flights, works = SingleFlight[str, str](), Works()
    works.go.set()
    await asyncio.gather(flights.run("a", works.make), flights.run("b", works.make))
    assert works.begun == 2


async def test_a_result_is_not_kept() -> None:
    flights, works = SingleFlight[str, str](), Works()
    works.go.set()
    assert await flights.run("a", works.make) == ("made 1", False)
    assert await flights.run("a", works.make) == ("made 2", False)


async def test_a_failure_is_told_to_those_who_wait_and_to_nobody_later_check_41() -> None:
    flights, works = SingleFlight[str, str](), Works()
    works.fails = SourceFailed("the origin answered 500")
    tasks = await waiters(3, flights, works)
    works.go.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert told == [works.fails] * 3
    works.fails = None
    assert await flights.run("a", works.make) == ("made 2", False)


async def test_who_is_cancelled_hurts_no_other_not_even_as_the_first() -> None:
    flights, works = SingleFlight[str, str](), Works()
    first, second, third = await waiters(3, flights, works)
    first.cancel()
    third.cancel()
    await asyncio.sleep(0.01)
    works.go.set()
    assert await second == ("made 1", True)
    assert first.cancelled()
    assert third.cancelled()
    assert works.cut_off == 0


async def test_with_the_last_waiter_the_make_is_cancelled() -> None:
    flights, works = SingleFlight[str, str](), Works()
    tasks = await waiters(3, flights, works)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(flights) == 0
    await asyncio.sleep(0.01)
    assert works.cut_off == 1


async def test_who_comes_while_a_make_is_dying_gets_a_new_one() -> None:
    flights, works = SingleFlight[str, str](), Works()
    dying = asyncio.Event()

    async def dies_slowly() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            dying.set()
            await asyncio.sleep(0.05)
        return "never"

    only = asyncio.create_task(flights.run("a", dies_slowly))
    await asyncio.sleep(0.01)
    only.cancel()
    await dying.wait()
    works.go.set()
    assert await flights.run("a", works.make) == ("made 1", False)


async def test_a_make_that_is_cut_off_from_within_is_a_problem_not_a_cancellation() -> None:
    async def cut_off() -> str:
        raise asyncio.CancelledError

    with pytest.raises(InternalError, match="cut off"):
        await SingleFlight[str, str]().run("a", cut_off)


async def test_a_failure_that_nobody_waits_for_is_not_reported_by_asyncio() -> None:
    flights = SingleFlight[str, str]()
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))

    async def fails_when_cancelled() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise SourceFailed("too late") from None
        return "never"

    task = asyncio.create_task(flights.run("a", fails_when_cancelled))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.01)
    del task  # its traceback holds the flight
    gc.collect()
    assert reports == []


async def test_closing_cuts_off_what_is_in_the_air() -> None:
    flights, works = SingleFlight[str, str](), Works()
    tasks = await waiters(2, flights, works)
    await flights.close()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in told] == [InternalError, InternalError]
    assert works.cut_off == 1
