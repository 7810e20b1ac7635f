"""The queue: which jobs it accepts, rejects, and displaces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from fractions import Fraction
from itertools import product

import pytest

from cropmark.config.settings import Settings
from cropmark.model.formats import Format, Info
from cropmark.model.problems import Overloaded
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import OpenSource, SourceVersion
from cropmark.renderers.cost import CostKey, CostModel, CostSource, Estimate
from cropmark.renderers.queue import Job, Queue
from cropmark.renderers.tasks import Inspect, Render


def job(source: str = "a", *, client: str | None = None, cost_ms: float = 10, deadline_s: float = 10) -> Job:
    open_source = OpenSource(0, 1, SourceVersion(source, "1"), lambda: None)
    reply = asyncio.get_running_loop().create_future()
    estimate = Estimate(CostKey(source, "Inspect", 4), cost_ms, cost_ms)
    return Job(Inspect(), (open_source,), False, estimate, client, reply, deadline_s)


def filled(queue: Queue, *jobs: Job) -> Queue:
    for each in jobs:
        queue.put(each)
    return queue


async def test_jobs_are_in_order_of_arrival() -> None:
    jobs = [job(str(i)) for i in range(5)]
    assert list(filled(Queue(8, 1), *jobs)) == jobs


# fmt: off
FULL = [
    # renderers  waiting: tasks, ms each  running, ms  new job: ms, deadline in s  full
    (1,          64,             45,      45,          45,          10,            False),   # 64 clients, small images
    (1,          220,            45,      0,           45,          10,            False),
    (1,          222,            45,      0,           45,          10,            True),    # 10 s of work
    (2,          222,            45,      0,           45,          10,            False),   # shared by two
    (1,          1,              9000,    0,           900,         10,            False),
    (1,          1,              9000,    0,           1100,        10,            True),    # by its own time
    (1,          1,              5000,    4900,        50,          10,            False),
    (1,          1,              5000,    4960,        50,          10,            True),    # by the running work
    (1,          10,             45,      0,           45,          0.4,           True),    # its own deadline counts
    (1,          511,            0.1,     0,           0.1,         10,            False),
    (1,          512,            0.1,     0,           0.1,         10,            True),    # each holds a file open
]
# fmt: on


@pytest.mark.parametrize(("workers", "tasks", "each_ms", "running_ms", "new_ms", "deadline_s", "full"), FULL)
async def test_check_42_full(
    workers: int, tasks: int, each_ms: float, running_ms: float, new_ms: float, deadline_s: float, full: bool
) -> None:
    """By the time until the new job is done, or by the number of jobs."""
    queue = filled(Queue(512, workers), *(job(str(number), cost_ms=each_ms) for number in range(tasks)))
    new = job("new", cost_ms=new_ms, deadline_s=deadline_s)
    if not full:
        queue.put(new, running_ms)
        return
    with pytest.raises(Overloaded, match=f"{tasks} images are waiting"):
        queue.put(new, running_ms)
    assert (len(queue), queue.rejected) == (tasks, 1)


async def test_retry_after_is_the_time_until_there_is_room() -> None:
    queue = filled(Queue(100, 2), *(job(str(number), cost_ms=1500) for number in range(10)))
    with pytest.raises(Overloaded) as problem:
        queue.put(job("c", cost_ms=3000), running_ms=6000)
    assert problem.value.retry_after_s == 4  # 10.5 s of waiting and 3 s of its own, within 10 s


@pytest.mark.parametrize("renderers", [1, 2, 8])
async def test_a_page_with_one_image_in_24_sizes_is_accepted(renderers: int) -> None:
    """check_42: 24 MP in eight widths and three formats, by the estimates of cost.py 5 s of work."""
    queue = Queue(512, renderers)
    jobs = [job("photo", client="x", cost_ms=90 + encode) for encode in (8, 30, 50, 120, 150, 180, 200, 250) * 3]
    assert list(filled(queue, *jobs)) == jobs
    assert queue.is_long_without(jobs[0]) == (renderers < 8)


SMALL = Info(Format.JPEG, Size(800, 536), 150_000)
PHOTO = Info(Format.JPEG, Size(6000, 4000), 9_000_000)
# fmt: off
MISSES = [
    # source  clients  widths               formats                                    pace of the machine
    (SMALL,   64,      range(300, 364),     (Format.WEBP,),                            10),
    (PHOTO,   1,       range(160, 721, 80), (Format.JPEG, Format.WEBP, Format.AVIF),   3),    # a page
]
# fmt: on


@pytest.mark.parametrize(("info", "clients", "widths", "formats", "pace"), MISSES)
async def test_check_42_misses_are_accepted_by_the_default_settings_and_estimates(
    info: Info, clients: int, widths: Iterable[int], formats: Iterable[Format], pace: float
) -> None:
    """For one renderer, also on a machine that is several times slower than the model's.

    The servers of other tests are more patient than the default settings, and cannot show this.
    """
    limit, deadline_s = (Settings.model_fields[name].default for name in ("queue_limit", "request_deadline_s"))
    costs, source, queue = CostModel(), CostSource("a 1", info.bytes, info.format), Queue(limit, 1)
    costs.record_header(source.name, info)
    costs.pace = pace
    for number, (width, kind) in enumerate(product(widths, formats)):
        plan = Plan((Resize(Pixels(Fraction(width)), None),), Output((EncodingChoice(kind),)))
        new = job(client=str(number % clients), deadline_s=deadline_s)
        new.estimate = costs.estimate(Render(plan), [source])
        queue.put(new)
    assert (len(queue), queue.rejected) == (len(list(product(widths, formats))), 0)


async def test_an_empty_queue_accepts_any_cost() -> None:
    assert len(filled(Queue(1, 1), job(cost_ms=60_000))) == 1


async def test_a_long_queue_lowers_the_effort() -> None:
    """By work: a page of small images is rendered at full effort."""
    first = job(cost_ms=500)
    assert not filled(Queue(100, 1), first, *(job(str(i)) for i in range(12))).is_long_without(first)
    assert not filled(Queue(100, 1), first, job(cost_ms=999)).is_long_without(first)
    assert filled(Queue(100, 1), first, job(cost_ms=1000)).is_long_without(first)
    assert not filled(Queue(100, 2), first, job(cost_ms=1000)).is_long_without(first)


async def test_an_expensive_job_alone_is_not_load() -> None:
    alone = job(cost_ms=60_000)
    assert not filled(Queue(4, 1), alone).is_long_without(alone)


async def test_removing_a_job_subtracts_its_cost() -> None:
    jobs = [job(str(i), cost_ms=0.1) for i in range(3)]
    queue = filled(Queue(8, 1), *jobs)
    for each in jobs:
        queue.remove(each)
        queue.remove(each)
    assert (len(queue), queue.work_ms) == (0, 0.0)


async def test_a_job_that_starts_too_late_is_rejected() -> None:
    """At the last moment at which it could be done in time; one that takes longer than that may wait for half of it."""
    queue = Queue(8, 1)
    quick, slow = job("quick", cost_ms=20, deadline_s=0.2), job("slow", cost_ms=90_000, deadline_s=0.2)
    began_s = time.perf_counter()
    filled(queue, slow)
    queue.put(quick, running_ms=-90_000)
    with pytest.raises(Overloaded, match=r"waited 0\.1 s for a renderer, too long to be ready within 0\.2 s"):
        await slow.reply
    with pytest.raises(Overloaded, match=r"waited 0\.2 s"):
        await quick.reply
    assert 0.15 < time.perf_counter() - began_s < 10
    assert (len(queue), queue.rejected, queue.work_ms) == (0, 2, 0)


async def test_a_job_that_is_put_back_is_the_oldest() -> None:
    first, second = job("first", deadline_s=0.05), job("second")
    queue = filled(Queue(8, 1), first, second)
    queue.remove(first)
    queue.put_back(first)
    assert (list(queue), queue.work_ms) == ([first, second], 20)
    with pytest.raises(Overloaded, match="waited"):
        await first.reply
    assert list(queue) == [second]


async def test_a_cancelled_job_is_dropped() -> None:
    waiting, other = job("a"), job("b")
    queue = filled(Queue(8, 1), waiting, other)
    waiting.reply.cancel()
    await asyncio.sleep(0)
    assert list(queue) == [other]
    assert queue.dropped == 1


# fmt: off
SHARES = [
    # waiting: source, client                              new               the displaced one, by position
    ([("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")],     ("e", "y"),          3),
    ([("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")],     ("e", "x"),          None),    # its own jobs are in the way
    ([("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")],     ("e", "y"),          2),
    ([("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")],     ("e", "z"),          1),
    ([("a", "x"), ("b", "y"), ("c", "z"), ("d", "w")],     ("e", "v"),          None),    # all have one
    ([("a", "x"), ("b", "x"), ("c", "y"), ("d", "z")],     ("e", "y"),          None),    # it would have two as well
    ([("a", None), ("a", None), ("a", None), ("b", None)], ("c", None),         2),       # no clients: by source
    ([("a", None), ("a", None), ("a", None), ("a", None)], ("a", None),         None),
    ([("a", "x"), ("a", "y"), ("a", "z"), ("b", "w")],     ("c", "v"),          2),       # one source, many clients
]
# fmt: on


@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize(("waiting", "new", "victim"), SHARES)
async def test_no_client_fills_the_queue_for_others(
    waiting: list[tuple[str, str | None]], new: tuple[str, str | None], victim: int | None, by_time: bool
) -> None:
    """check_42."""
    each_ms = 10_000 / len(waiting) if by_time else 1.0
    jobs = [job(source, client=client, cost_ms=each_ms) for source, client in waiting]
    queue = filled(Queue(512 if by_time else len(jobs), 1), *jobs)
    newest = job(new[0], client=new[1], cost_ms=each_ms)
    if victim is None:
        with pytest.raises(Overloaded):
            queue.put(newest)
        return
    queue.put(newest)
    assert list(queue) == [*(each for i, each in enumerate(jobs) if i != victim), newest]
    with pytest.raises(Overloaded, match="are waiting"):
        jobs[victim].reply.result()


async def test_no_job_is_displaced_in_vain() -> None:
    """The new job is rejected although it could displace one: it would still be too late."""
    jobs = [job("a", client="x", cost_ms=4000), job("b", client="x", cost_ms=100), job("c", client="y", cost_ms=4900)]
    queue = filled(Queue(512, 1), *jobs)
    with pytest.raises(Overloaded):
        queue.put(job("d", client="z", cost_ms=2000))
    assert list(queue) == jobs
