"""The job of a free worker that has decoded a source before, and the sources that are never cached."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from cropmark.plan.plan import Plan
from cropmark.ports import OpenSource, SourceVersion
from cropmark.renderers import transport
from cropmark.renderers.affinity import MAX_PASSED, cached_name, count_passed, preferred
from cropmark.renderers.cost import CostKey, Estimate
from cropmark.renderers.queue import Job
from cropmark.renderers.tasks import Inspect, Render, Task


def job(source: str, task: Task | None = None, *, untrusted: bool = False) -> Job:
    opened = OpenSource(0, 1, SourceVersion(source, "1"), lambda: None)
    reply = asyncio.get_running_loop().create_future()
    estimate = Estimate(CostKey(source, "Render", 4), 10, 10)
    return Job(task or Render(Plan()), (opened,), untrusted, estimate, None, reply)


def order(jobs: list[Job], *names: str) -> str:
    wanted = {f"{name}\n1\n0" for name in names}
    return "".join(each.versions[0].identity for each in preferred(jobs, wanted))


# fmt: off
ORDERS = [
    # waiting  cached   order
    ("abc",    "",    "abc"),
    ("abc",    "x",   "abc"),
    ("abc",    "a",   "abc"),
    ("abcb",   "b",   "bacb"),       # one job goes first, the others stay in order
    ("abcb",   "cb",  "bacb"),       # the oldest of several
    ("",       "a",   ""),
]
# fmt: on


@pytest.mark.parametrize(("waiting", "cached", "expected"), ORDERS)
async def test_order(waiting: str, cached: str, expected: str) -> None:
    assert order([job(name) for name in waiting], *cached) == expected


async def test_a_job_is_passed_a_few_times_only() -> None:
    jobs = [job("a"), *(job("b") for _ in range(9))]
    first = []
    while jobs:
        for _ in range(MAX_PASSED):  # it does not start, for example for lack of memory
            started = preferred(jobs, {"b\n1\n0"})[0]
        count_passed(jobs, started)
        first.append(started.versions[0].identity)
        jobs.remove(started)
    assert "".join(first) == "b" * MAX_PASSED + "a" + "b" * (9 - MAX_PASSED)


async def test_names() -> None:
    assert cached_name(job("a")) == "a\n1\n0"
    assert cached_name(job("a", untrusted=True)) is None
    assert cached_name(job("a", Inspect())) is None
    trial = job("a")
    trial.is_trial = True
    assert cached_name(trial) is None
    purged = job("a")
    purged.sources = (replace(purged.present[0], version=SourceVersion("a", "1", generation=2)),)
    assert cached_name(purged) == "a\n1\n2"


def test_an_idle_worker_is_notified() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport.set_idle_time(theirs, 0.01)
        idle = []

        def on_idle() -> None:
            idle.append(1)
            if len(idle) == 2:
                ours.sendall(transport.serialize_request("task"))

        received = transport.receive(theirs, on_idle)
    assert received is not None
    assert transport.parse_request(received[0]) == "task"
    assert len(idle) == 2
