"""The queue: which jobs it accepts, rejects, and displaces."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from cropmark.model.problems import Overloaded
from cropmark.ports import OpenSource, SourceVersion
from cropmark.renderers.cost import CostKey
from cropmark.renderers.queue import BURST, HARD_FACTOR, Job, Queue
from cropmark.renderers.tasks import Inspect


def job(source: str = "a", *, client: str | None = None, cost_ms: float = 10) -> Job:
    open_source = OpenSource(0, 1, SourceVersion(source, "1"), lambda: None)
    reply = asyncio.get_running_loop().create_future()
    return Job(Inspect(), (open_source,), False, CostKey(source, "Inspect", 4), cost_ms, client, reply)


def filled(queue: Queue, *jobs: Job) -> Queue:
    for each in jobs:
        queue.put(each)
    return queue


async def test_jobs_are_in_order_of_arrival() -> None:
    jobs = [job(str(i)) for i in range(5)]
    assert list(filled(Queue(8, 1), *jobs)) == jobs


# fmt: off
FULL = [
    # limit  waiting: tasks, ms each    new job, ms  full
    (4,      4,              10,        10,          False),     # many small ones: 50 ms of work
    (4,      3,              900,       900,         False),     # few large ones
    (4,      4,              500,       1,           True),      # 2 s of work, and four of them
    (4,      4,              499,       4,           False),
    (4,      4,              499,       5,           True),
    (4,      3,              2000,      2000,        False),
    (4,      3,              2000,      2001,        True),      # above the absolute limit on work
    (4,      1,              8000,      1,           True),
    (4,      63,             0.01,      0.01,        False),
    (4,      64,             0.01,      0.01,        True),      # each holds a file open
]
# fmt: on


@pytest.mark.parametrize(("limit", "tasks", "each_ms", "new_ms", "full"), FULL)
async def test_full(limit: int, tasks: int, each_ms: float, new_ms: float, full: bool) -> None:
    """check_42: by tasks and work together, or by one of the absolute limits. Without a client no burst is allowed."""
    queue = Queue(limit, 1)
    for number in range(tasks):
        queue.put(job(str(number), cost_ms=each_ms))
    if not full:
        queue.put(job("new", cost_ms=new_ms))
        return
    with pytest.raises(Overloaded, match=f"{tasks} images are waiting"):
        queue.put(job("new", cost_ms=new_ms))
    assert (len(queue), queue.rejected) == (tasks, 1)


async def test_retry_after_is_the_time_of_the_waiting_work() -> None:
    queue = filled(Queue(2, 2), job("a", cost_ms=2000), job("b", cost_ms=1900))
    with pytest.raises(Overloaded) as problem:
        queue.put(job("c", cost_ms=200))
    assert problem.value.retry_after_s == 2  # 3.9 s of work for two


@pytest.mark.parametrize("renderers", [1, 2, 8])
async def test_a_page_with_one_image_in_24_sizes_is_accepted(renderers: int) -> None:
    """check_42: 24 MP in eight widths and three formats, by the estimates of cost.py 5 s of work."""
    queue = Queue(8 * renderers, renderers)
    jobs = [job("photo", client="x", cost_ms=90 + encode) for encode in (8, 30, 50, 120, 150, 180, 200, 250) * 3]
    assert list(filled(queue, *jobs)) == jobs
    assert queue.is_half_full_without(jobs[0]) == (renderers < 8)


async def test_more_than_a_burst_of_one_client_is_rejected() -> None:
    """check_42."""
    queue = filled(Queue(8, 1), *(job(str(i), client="x", cost_ms=100) for i in range(BURST)))
    with pytest.raises(Overloaded):
        queue.put(job("more", client="x", cost_ms=100))
    queue.put(job("other", client="y", cost_ms=100))
    assert len(queue) == BURST + 1


async def test_bursts_are_bounded_too() -> None:
    """For any number of clients."""
    queue = Queue(8, 1)
    for client in range(20):
        for number in range(4):
            with suppress(Overloaded):
                queue.put(job(f"{client}/{number}", client=str(client), cost_ms=500))
    assert queue.work_ms <= HARD_FACTOR * 2000
    assert queue.rejected > 0


async def test_an_empty_queue_accepts_any_cost() -> None:
    assert len(filled(Queue(1, 1), job(cost_ms=60_000))) == 1


async def test_half_full() -> None:
    """By work: a page of small images is rendered at full effort."""
    first = job(cost_ms=500)
    assert not filled(Queue(4, 1), first, *(job(str(i)) for i in range(12))).is_half_full_without(first)
    assert not filled(Queue(100, 1), first, job(cost_ms=999)).is_half_full_without(first)
    assert filled(Queue(100, 1), first, job(cost_ms=1000)).is_half_full_without(first)


async def test_an_expensive_job_alone_is_not_load() -> None:
    alone = job(cost_ms=60_000)
    assert not filled(Queue(4, 1), alone).is_half_full_without(alone)


async def test_removing_a_job_subtracts_its_cost() -> None:
    jobs = [job(str(i), cost_ms=0.1) for i in range(3)]
    queue = filled(Queue(8, 1), *jobs)
    for each in jobs:
        queue.remove(each)
        queue.remove(each)
    assert (len(queue), queue.work_ms) == (0, 0.0)


async def test_a_cancelled_job_is_dropped() -> None:
    waiting, other = job("a"), job("b")
    queue = filled(Queue(8, 1), waiting, other)
    waiting.reply.cancel()
    await asyncio.sleep(0)
    assert list(queue) == [other]
    assert queue.dropped == 1


# fmt: off
SHARES = [
    # a full queue of (source, client)                     new job              victim
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


@pytest.mark.parametrize(("waiting", "new", "victim"), SHARES)
async def test_no_client_fills_the_queue_for_others(
    waiting: list[tuple[str, str | None]], new: tuple[str, str | None], victim: int | None
) -> None:
    """check_42."""
    each_ms = HARD_FACTOR * 2000 / len(waiting)  # the absolute limit on work
    jobs = [job(source, client=client, cost_ms=each_ms) for source, client in waiting]
    queue = filled(Queue(len(jobs), 1), *jobs)
    newest = job(new[0], client=new[1], cost_ms=each_ms)
    if victim is None:
        with pytest.raises(Overloaded):
            queue.put(newest)
        return
    queue.put(newest)
    assert list(queue) == [*(each for i, each in enumerate(jobs) if i != victim), newest]
    with pytest.raises(Overloaded, match="are waiting"):
        jobs[victim].reply.result()
