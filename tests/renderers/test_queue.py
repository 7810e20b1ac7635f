"""The queue: who gets a place, who is turned away, and who has to give way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from cropmark.model.problems import Overloaded
from cropmark.ports import OpenSource, SourceVersion
from cropmark.renderers.cost import CostKey
from cropmark.renderers.queue import A_PAGE, HARD, Job, Queue
from cropmark.renderers.tasks import Inspect


def job(source: str = "a", *, client: str | None = None, cost_ms: float = 10) -> Job:
    opened = OpenSource(0, 1, SourceVersion(source, "1"), lambda: None)
    answer = asyncio.get_running_loop().create_future()
    return Job(Inspect(), (opened,), False, CostKey(source, "inspect"), cost_ms, client, answer)


def filled(queue: Queue, *jobs: Job) -> Queue:
    for each in jobs:
        queue.enter(each)
    return queue


async def test_jobs_stand_in_the_order_they_came() -> None:
    jobs = [job(str(i)) for i in range(5)]
    assert list(filled(Queue(8, 1), *jobs)) == jobs


# fmt: off
FULL = [
    # limit  waiting: tasks, ms each    comer, ms    full
    (4,      4,              10,        10,          False),     # many small ones: 50 ms of work
    (4,      3,              900,       900,         False),     # few large ones
    (4,      4,              500,       1,           True),      # 2 s of work, and four of them
    (4,      4,              499,       4,           False),
    (4,      4,              499,       5,           True),
    (4,      3,              2000,      2000,        False),
    (4,      3,              2000,      2001,        True),      # more work than may ever wait
    (4,      1,              8000,      1,           True),
    (4,      63,             0.01,      0.01,        False),
    (4,      64,             0.01,      0.01,        True),      # each holds a file open
]
# fmt: on


@pytest.mark.parametrize(("limit", "tasks", "each_ms", "comer_ms", "full"), FULL)
async def test_full(limit: int, tasks: int, each_ms: float, comer_ms: float, full: bool) -> None:
    """check_42: by tasks and work together, and by either far beyond; nobody is known, so nobody has a page."""
    queue = Queue(limit, 1)
    for number in range(tasks):
        queue.enter(job(str(number), cost_ms=each_ms))
    if not full:
        queue.enter(job("comer", cost_ms=comer_ms))
        return
    with pytest.raises(Overloaded, match=f"{tasks} pictures are waiting"):
        queue.enter(job("comer", cost_ms=comer_ms))
    assert (len(queue), queue.refused) == (tasks, 1)


async def test_retry_after_is_how_long_the_work_takes() -> None:
    queue = filled(Queue(2, 2), job("a", cost_ms=2000), job("b", cost_ms=1900))
    with pytest.raises(Overloaded) as problem:
        queue.enter(job("c", cost_ms=200))
    assert problem.value.retry_after_s == 2  # 3.9 s of work for two


@pytest.mark.parametrize("renderers", [1, 2, 8])
async def test_a_page_of_one_picture_in_24_sizes_gets_in(renderers: int) -> None:
    """check_42: 24 MP in eight widths and three formats, by the estimates of cost.py: 5 s of work at once."""
    queue = Queue(8 * renderers, renderers)
    jobs = [job("photo", client="x", cost_ms=90 + encode) for encode in (8, 30, 50, 120, 150, 180, 200, 250) * 3]
    assert list(filled(queue, *jobs)) == jobs
    assert queue.half_full_besides(jobs[0]) == (renderers < 8)


async def test_a_client_that_asks_for_more_than_a_page_is_refused() -> None:
    """check_42."""
    queue = filled(Queue(8, 1), *(job(str(i), client="x", cost_ms=100) for i in range(A_PAGE)))
    with pytest.raises(Overloaded):
        queue.enter(job("more", client="x", cost_ms=100))
    queue.enter(job("other", client="y", cost_ms=100))
    assert len(queue) == A_PAGE + 1


async def test_pages_are_bounded_too() -> None:
    """However many clients bring one."""
    queue = Queue(8, 1)
    for client in range(20):
        for number in range(4):
            with suppress(Overloaded):
                queue.enter(job(f"{client}/{number}", client=str(client), cost_ms=500))
    assert queue.work_ms <= HARD * 2000
    assert queue.refused > 0


async def test_an_empty_queue_takes_whatever_it_costs() -> None:
    assert len(filled(Queue(1, 1), job(cost_ms=60_000))) == 1


async def test_half_full() -> None:
    """By work: a page of small pictures is made as well as any."""
    first = job(cost_ms=500)
    assert not filled(Queue(4, 1), first, *(job(str(i)) for i in range(12))).half_full_besides(first)
    assert not filled(Queue(100, 1), first, job(cost_ms=999)).half_full_besides(first)
    assert filled(Queue(100, 1), first, job(cost_ms=1000)).half_full_besides(first)


async def test_a_dear_one_alone_is_no_crowd() -> None:
    alone = job(cost_ms=60_000)
    assert not filled(Queue(4, 1), alone).half_full_besides(alone)


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
    each_ms = HARD * 2000 / len(standing)  # as much work as may ever wait
    jobs = [job(source, client=client, cost_ms=each_ms) for source, client in standing]
    queue = filled(Queue(len(jobs), 1), *jobs)
    new = job(comer[0], client=comer[1], cost_ms=each_ms)
    if gives_way is None:
        with pytest.raises(Overloaded):
            queue.enter(new)
        return
    queue.enter(new)
    assert list(queue) == [*(each for i, each in enumerate(jobs) if i != gives_way), new]
    with pytest.raises(Overloaded, match="are waiting"):
        jobs[gives_way].answer.result()
