"""Memory of tasks: each starts only if it fits, asks for more, and may be killed by the kernel."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cropmark.model.problems import Overloaded, SourceTooLarge
from cropmark.plan.plan import Plan
from cropmark.ports import Rendered
from cropmark.renderers import dispatcher
from cropmark.renderers.group import ExitReason
from cropmark.renderers.memory import MIN_GRANT_BYTES, MemoryBudget, OomKills
from cropmark.renderers.pool import Pool
from cropmark.renderers.tasks import UNLIMITED
from cropmark.runtime import cgroups
from tests.builders import until
from tests.renderers.conftest import Says, Started

MIB = 2**20
PLAN = Plan()


def limit_for(tasks_mb: int) -> int:
    """The limit of a server with one renderer and `tasks_mb` for tasks, by the arithmetic of the decision."""
    taken = cgroups.own_memory() + 25_000_000 + 8 * MIB
    return (taken + (tasks_mb + 5) * 10**6) * 20 // 19


# fmt: off
SHARES = [
    # limit, cache, front, idle in MiB    for tasks
    (320,    20,    49,    24,            320 - 16 - 8 - 49 - 20 - 24),
    (1000,   64,    100,   200,           1000 - 50 - 8 - 100 - 64 - 200),
    (64,     0,     60,    24,            MIN_GRANT_BYTES // MIB),                # one task is tried in any case
]
# fmt: on


@pytest.mark.parametrize(("limit", "cache", "front", "idle", "tasks"), SHARES)
def test_what_is_left_for_tasks(limit: int, cache: int, front: int, idle: int, tasks: int) -> None:
    budget = MemoryBudget(limit * MIB, cache * MIB, lambda: front * MIB)
    assert budget.for_tasks(lambda: idle * MIB) == tasks * MIB


def no_renderers() -> int:
    return 0


def test_tasks_share_it_and_one_alone_may_always_start() -> None:
    front = [50 * MIB]
    budget = MemoryBudget(320 * MIB, 20 * MIB, lambda: front[0])
    available = budget.for_tasks(lambda: 0)
    assert budget.has(10 * available, no_renderers)
    budget.granted_bytes = available // 2
    assert budget.has(available // 2, no_renderers)
    assert not budget.has(available // 2 + 1, no_renderers)
    assert not budget.has(available // 2, lambda: 24 * MIB)
    front[0] += 100 * MIB  # bodies on their way to slow clients
    assert not budget.has(available // 2, no_renderers)
    assert budget.for_tasks(lambda: 0) == available  # what never fits does not depend on the moment


def test_no_limit() -> None:
    budget = MemoryBudget(None)
    budget.granted_bytes = 2**50
    assert budget.has(2**50, lambda: 2**50)
    assert budget.for_tasks(lambda: 2**50) == UNLIMITED


def test_a_kill_is_explained_once() -> None:
    """The counters of a group and of those around it count the same kill."""
    counters = [3, 7, 7]
    kills = OomKills(lambda: tuple(counters))
    assert not kills.explain_kill()
    counters[1:] = [9, 9]
    assert [kills.explain_kill() for _ in range(3)] == [True, True, False]


async def test_check_68_a_task_asks_for_more_memory(started: Started, says: Says) -> None:
    pool = await started(total_memory_bytes=limit_for(200), frame_cache_bytes=0)
    assert isinstance(await pool.render([says("needs 150")], PLAN), Rendered)
    assert pool.state().restarts == {}


async def test_check_68_tasks_that_do_not_fit_together_run_one_after_the_other(started: Started, says: Says) -> None:
    pool = await started(3, total_memory_bytes=limit_for(200), frame_cache_bytes=0)
    tasks = [asyncio.create_task(pool.render([says("needs 150", name=str(at))], PLAN)) for at in range(4)]
    together: set[int] = set()
    budget = pool._dispatcher._memory
    while not all(task.done() for task in tasks):
        together.add(budget.granted_bytes)
        await asyncio.sleep(0.001)
    assert all(isinstance(task.result(), Rendered) for task in tasks)
    assert 150_000_000 in together
    assert max(together) < 2 * 150_000_000
    assert budget.granted_bytes == 0


async def test_check_68_small_tasks_run_beside_each_other(started: Started, says: Says) -> None:
    pool = await started(2, total_memory_bytes=limit_for(200), frame_cache_bytes=0)
    tasks = [asyncio.create_task(pool.render([says("needs 40", name=str(at))], PLAN)) for at in range(4)]
    await until(lambda: pool.state().running == 2 and pool._dispatcher._memory.granted_bytes == 80_000_000)
    assert all(isinstance(result, Rendered) for result in await asyncio.gather(*tasks))


async def test_check_68_what_never_fits_is_too_large(started: Started, says: Says) -> None:
    """Every time, and the next task is not affected. It is not counted against the source."""
    pool = await started(total_memory_bytes=limit_for(100), frame_cache_bytes=0)
    for _ in range(4):
        with pytest.raises(
            SourceTooLarge, match=r"takes about 900 MB of memory, at most \d+ MB are available"
        ) as problem:
            await pool.render([says("needs 900", name="large")], PLAN)
        assert "memory_limit_bytes" in problem.value.fix
    assert isinstance(await pool.render([says("echo")], PLAN), Rendered)
    assert pool.state().restarts == {}


async def test_check_68_idle_renderers_give_way(started: Started, says: Says) -> None:
    """Those of another trust class, and those beyond the one that is needed."""
    pool = await started(3, total_memory_bytes=limit_for(200), frame_cache_bytes=0)
    await pool.render([says("echo")], PLAN, untrusted=True)
    assert pool.state().alive == 4
    free = pool._dispatcher._memory.for_tasks(pool._dispatcher._idle_bytes) - MIN_GRANT_BYTES
    first = asyncio.create_task(pool.render([says("sleep 0.2", name="small")], PLAN))
    large = asyncio.create_task(pool.render([says(f"needs {free // 10**6 + 3}", name="large")], PLAN))
    await until(lambda: pool.state().running == 2 and pool.state().alive == 2)
    assert all(isinstance(result, Rendered) for result in await asyncio.gather(first, large))
    many = [asyncio.create_task(pool.render([says("sleep 0.1", name=str(at))], PLAN)) for at in range(3)]
    assert all(isinstance(result, Rendered) for result in await asyncio.gather(*many))
    await until(lambda: pool.state().alive == 3)  # one was started again, because a task waited for it


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The kernel's counter of kills, as the pools of this test read it, and the number that each reading adds to it."""
    counter = [0, 0]

    def read() -> tuple[int, ...]:
        counter[0] += counter[1]
        return (counter[0],)

    monkeypatch.setattr(dispatcher, "OomKills", lambda: OomKills(read))
    return counter


async def test_check_69_a_kill_by_the_kernel_is_named_counted_and_tried_again(
    started: Started, says: Says, counted: list[int]
) -> None:
    pool = await started()
    counted[1] = 1
    with capture_logs() as logs, pytest.raises(Overloaded, match="the memory of the server ran out"):
        await pool.render([says("die")], PLAN)
    lines = [line for line in logs if line["event"] == "a renderer was killed: out of memory"]
    assert len(lines) == 2
    assert all("memory_limit_bytes" in line["fix"] and line["log_level"] == "error" for line in lines)
    assert lines[1]["granted_mb"] > lines[0]["granted_mb"]
    assert pool.state().restarts == {ExitReason.OUT_OF_MEMORY: 2}
    await _still_works(pool, says)


async def test_check_69_a_kill_by_an_operator_is_not(started: Started, says: Says, counted: list[int]) -> None:
    pool = await started()
    with pytest.raises(Overloaded, match="killed by another process"):
        await pool.render([says("die")], PLAN)
    assert pool.state().restarts == {ExitReason.KILLED: 1}
    await _still_works(pool, says)


async def test_check_69_kills_block_nothing(started: Started, says: Says, counted: list[int]) -> None:
    """Neither the source nor the server: it answers as before, however often the kernel killed."""
    pool = await started(2, timeout_s=5.0)
    counted[1] = 1
    for _ in range(6):
        with pytest.raises(Overloaded, match="memory of the server ran out"):
            await pool.render([says("die", name="large")], PLAN)
    await _still_works(pool, says)
    assert isinstance(await pool.render([says("echo", name="large")], PLAN), Rendered)


async def _still_works(pool: Pool, says: Says) -> None:
    for _ in range(3):
        assert isinstance(await pool.render([says("echo")], PLAN), Rendered)


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="only Linux has it")
async def test_check_69_the_kernel_kills_a_renderer_before_the_front(started: Started) -> None:
    pool = await started(2)
    assert [Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in pool.pids()] == ["1000\n"] * 2
    assert int(Path(f"/proc/{os.getpid()}/oom_score_adj").read_text()) < 1000
