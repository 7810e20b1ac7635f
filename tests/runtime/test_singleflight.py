"""Concurrent callers with one key share one execution."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from cropmark.model.problems import InternalError, SourceFailed
from cropmark.runtime.singleflight import SingleFlight
from tests.builders import until


class Work:
    """A coroutine function that waits for `go`, and counts its starts and cancellations."""

    def __init__(self) -> None:
        self.starts = 0
        self.cancellations = 0
        self.go = asyncio.Event()
        self.fails: BaseException | None = None

    async def make(self) -> str:
        self.starts += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancellations += 1
            raise
        if self.fails:
            raise self.fails
        return f"result {self.starts}"


async def waiters(count: int, flights: SingleFlight[str, str], work: Work) -> list[asyncio.Task[tuple[str, bool]]]:
    """`count` tasks that wait for the key `a`."""
    tasks = [asyncio.create_task(flights.run("a", work.make)) for _ in range(count)]
    await until(lambda: work.starts)  # each has called run() by then
    return tasks


async def test_500_callers_share_one_execution_check_41() -> None:
    flights, work = SingleFlight[str, str](), Work()
    tasks = await waiters(500, flights, work)
    work.go.set()
    results = await asyncio.gather(*tasks)
    assert work.starts == 1
    assert results == [("result 1", False)] + [("result 1", True)] * 499
    assert len(flights) == 0


async def test_other_keys_are_executed_separately() -> None:
    flights, work = SingleFlight[str, str](), Work()
    work.go.set()
    await asyncio.gather(flights.run("a", work.make), flights.run("b", work.make))
    assert work.starts == 2


async def test_a_result_is_not_stored() -> None:
    flights, work = SingleFlight[str, str](), Work()
    work.go.set()
    assert await flights.run("a", work.make) == ("result 1", False)
    assert await flights.run("a", work.make) == ("result 2", False)


async def test_a_failure_is_raised_to_the_current_callers_only_check_41() -> None:
    flights, work = SingleFlight[str, str](), Work()
    work.fails = SourceFailed("the origin answered 500")
    tasks = await waiters(3, flights, work)
    work.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [work.fails] * 3
    work.fails = None
    assert await flights.run("a", work.make) == ("result 2", False)


async def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    flights, work = SingleFlight[str, str](), Work()
    first, second, third = await waiters(3, flights, work)
    first.cancel()
    third.cancel()
    await asyncio.wait([first, third])
    work.go.set()
    assert await second == ("result 1", True)
    assert first.cancelled()
    assert third.cancelled()
    assert work.cancellations == 0


async def test_the_last_cancelled_caller_cancels_the_execution() -> None:
    flights, work = SingleFlight[str, str](), Work()
    tasks = await waiters(3, flights, work)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(flights) == 0
    await until(lambda: work.cancellations == 1)


async def test_a_caller_during_a_cancellation_starts_a_new_execution() -> None:
    flights, work = SingleFlight[str, str](), Work()
    started, ending, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def end_slowly() -> str:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            ending.set()
            await end.wait()
        return "never"

    only = asyncio.create_task(flights.run("a", end_slowly))
    await started.wait()
    only.cancel()
    await ending.wait()
    work.go.set()
    assert await flights.run("a", work.make) == ("result 1", False)
    end.set()


async def test_a_cancellation_inside_the_execution_raises_a_problem() -> None:
    async def cancelled() -> str:
        raise asyncio.CancelledError

    with pytest.raises(InternalError, match="was cancelled"):
        await SingleFlight[str, str]().run("a", cancelled)


async def test_a_failure_without_callers_is_not_logged_by_asyncio() -> None:
    flights = SingleFlight[str, str]()
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))

    started, ended = asyncio.Event(), asyncio.Event()

    async def fails_when_cancelled() -> str:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise SourceFailed("too late") from None
        return "never"

    task = asyncio.create_task(flights.run("a", fails_when_cancelled))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ended.wait()
    await asyncio.sleep(0)  # the callbacks of the task
    del task  # its traceback refers to the flight
    gc.collect()
    assert reports == []


async def test_close_cancels_executions_in_progress() -> None:
    flights, work = SingleFlight[str, str](), Work()
    tasks = await waiters(2, flights, work)
    await flights.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [InternalError, InternalError]
    assert work.cancellations == 1
