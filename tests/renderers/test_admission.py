"""The queue: who gets a place, who is turned away, and who has to give way."""

from __future__ import annotations

import asyncio

import pytest

from cropmark.ports import Opened, Stamp
from cropmark.problems import Overloaded
from cropmark.renderers.admission import Job, Queue
from cropmark.renderers.cost import Sort
from cropmark.renderers.tasks import Inspect


def job(source: str = "a", *, client: str | None = None, cost_ms: float = 10) -> Job:
    opened = Opened(0, 1, Stamp(source, "1"), lambda: None)
    answer = asyncio.get_running_loop().create_future()
    return Job(Inspect(), (opened,), False, Sort(source, "inspect"), cost_ms, client, answer)


def filled(queue: Queue, *jobs: Job) -> Queue:
    for each in jobs:
        queue.enter(each)
    return queue


async def test_jobs_stand_in_the_order_they_came() -> None:
    jobs = [job(str(i)) for i in range(5)]
    assert list(filled(Queue(8, 1), *jobs)) == jobs


async def test_full_by_count() -> None:
    queue = filled(Queue(2, 1), job("a"), job("b"))
    with pytest.raises(Overloaded, match="2 pictures are waiting"):
        queue.enter(job("c"))
    assert (len(queue), queue.refused) == (2, 1)


async def test_full_by_estimated_work() -> None:
    """Two seconds of it for each renderer, however few the tasks."""
    queue = filled(Queue(100, 2), job("a", cost_ms=2000), job("b", cost_ms=1900))
    with pytest.raises(Overloaded) as problem:
        queue.enter(job("c", cost_ms=200))
    assert problem.value.retry_after_s == 2  # 3.9 s of work for two
    queue.enter(job("d", cost_ms=100))


async def test_an_empty_queue_takes_whatever_it_costs() -> None:
    assert len(filled(Queue(1, 1), job(cost_ms=60_000))) == 1


async def test_half_full() -> None:
    assert [filled(Queue(4, 1), *(job(str(i)) for i in range(n))).half_full for n in range(4)] == [
        False,
        False,
        True,
        True,
    ]
    assert filled(Queue(100, 1), job(cost_ms=1000)).half_full


async def test_who_leaves_takes_its_cost_along() -> None:
    jobs = [job(str(i), cost_ms=0.1) for i in range(3)]
    queue = filled(Queue(8, 1), *jobs)
    for each in jobs:
        queue.leave(each)
        queue.leave(each)
    assert (len(queue), queue.work_ms) == (0, 0.0)


async def test_who_gives_up_waiting_is_dropped() -> None:
    waiting, other = job("a"), job("b")
    queue = filled(Queue(8, 1), waiting, other)
    waiting.answer.cancel()
    await asyncio.sleep(0)
    assert list(queue) == [other]
    assert queue.dropped == 1


# fmt: off
SHARES = [
    # a full queue of (source, client)                     meets                and this one gives way
    ([("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")],     ("e", "z"),          2),       # the latest of x
    ([("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")],     ("e", "y"),          3),
    ([("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")],     ("e", "x"),          None),    # x would have 3, y has 2
    ([("a", "x"), ("b", "x"), ("c", "y"), ("d", "z")],     ("e", "y"),          None),    # both would have 2
    ([("a", "w"), ("b", "x"), ("c", "y"), ("d", "z")],     ("e", "v"),          None),
    ([("a", None), ("a", None), ("a", None), ("b", None)], ("c", None),         2),       # no clients: by source
    ([("a", None), ("a", None), ("a", None), ("a", None)], ("a", None),         None),
    ([("a", "x"), ("a", "y"), ("a", "z"), ("b", "w")],     ("c", "v"),          2),       # one source, many clients
]
# fmt: on


@pytest.mark.parametrize(("standing", "comer", "gives_way"), SHARES)
async def test_nobody_fills_it_for_the_others(
    standing: list[tuple[str, str | None]], comer: tuple[str, str | None], gives_way: int | None
) -> None:
    """check_42."""
    jobs = [job(source, client=client) for source, client in standing]
    queue = filled(Queue(len(jobs), 1), *jobs)
    new = job(comer[0], client=comer[1])
    if gives_way is None:
        with pytest.raises(Overloaded):
            queue.enter(new)
        return
    queue.enter(new)
    assert list(queue) == [*(each for i, each in enumerate(jobs) if i != gives_way), new]
    with pytest.raises(Overloaded, match="are waiting"):
        jobs[gives_way].answer.result()
