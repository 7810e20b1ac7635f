"""Workers that are forks of one process: as those that are started one by one, and sooner."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from cropmark.model.problems import Overloaded, SourceUnusable
from cropmark.renderers.pool import Pool, PoolConfig, WorkerStartError
from cropmark.renderers.process import ENVIRONMENT, WorkerProcess
from cropmark.renderers.starters import ForkServer
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import Isolation, Sandbox
from tests.builders import until
from tests.processes import children, exists, is_running, renderers
from tests.renderers.conftest import Says, Started
from tests.renderers.test_pool import PLAN, at_work, echo_of, settled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks need a subreaper, which only Linux has")

FORKS = (sys.executable, "-I", str(Path(__file__).with_name("forks.py")))


async def forked(started: Started, workers: int = 1, **config: object) -> Pool:
    return await started(workers, forks=True, command=FORKS, **config)


def fork_server() -> int:
    """The process id of the process that forks workers."""
    (found,) = (pid for pid in children(os.getpid()) if name_of(pid) == "cropmark-forks")
    return found


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


async def test_workers_are_children_of_the_front_in_sessions_of_their_own(started: Started, says: Says) -> None:
    pool = await forked(started, 2)
    assert set(pool.pids()) == renderers(os.getpid())
    assert {os.getsid(pid) for pid in pool.pids()} == set(pool.pids())
    assert os.getsid(fork_server()) == fork_server()
    assert echo_of(await pool.render([says("echo")], PLAN))["pid"] in pool.pids()


async def test_a_worker_has_only_the_descriptors_of_a_worker(started: Started) -> None:
    pool = await forked(started)
    assert sorted(os.listdir(f"/proc/{pool.pids()[0]}/fd")) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        ("segv", SourceUnusable, "decoded safely"),
        ("exit 3", SourceUnusable, "decoded safely"),
        ("die", Overloaded, "killed by another process"),
    ],
)
async def test_the_status_of_a_fork_is_known(
    started: Started, says: Says, action: str, error: type[Exception], message: str
) -> None:
    """And it is reaped, and replaced."""
    pool = await forked(started)
    (first,) = pool.pids()
    with pytest.raises(error, match=message):
        await pool.render([says(action)], PLAN)
    assert echo_of(await pool.render([says("echo")], PLAN))["pid"] != first
    await until(lambda: not exists(first))


async def test_the_output_of_a_crash_is_logged(
    started: Started, says: Says, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = await forked(started)
    with pytest.raises(SourceUnusable):
        await pool.render([says("segv")], PLAN)
    assert "SIGSEGV: about to fall" in capsys.readouterr().out


async def test_a_fork_for_each_untrusted_request(started: Started, says: Says) -> None:
    pool = await forked(started, isolation=Isolation.REQUEST)
    used = [echo_of(await pool.render([says("echo")], PLAN, untrusted=True))["pid"] for _ in range(5)]
    assert len(set(used)) == 5


async def test_many_starts_at_once(started: Started, says: Says) -> None:
    pool = await forked(started, 8)
    results = await asyncio.gather(*(pool.render([says("sleep 0.2", name=str(n))], PLAN) for n in range(8)))
    assert len({echo_of(result)["pid"] for result in results}) == 8


async def test_a_killed_fork_server_is_replaced(started: Started, says: Says) -> None:
    """Its workers go on. The first start without it fails and is repeated."""
    pool = await forked(started)
    (worker,), forks = pool.pids(), fork_server()
    os.kill(forks, signal.SIGKILL)
    assert echo_of(await pool.render([says("echo")], PLAN))["pid"] == worker
    os.kill(worker, signal.SIGKILL)
    await until(lambda: not exists(worker))
    await settled(pool, 1)
    assert fork_server() != forks
    assert echo_of(await pool.render([says("echo")], PLAN))["pid"] != worker


@pytest.mark.parametrize(
    ("argument", "message"),
    [("broken", "no libvips here"), ("threads", "an import started a thread")],
)
async def test_a_fork_server_that_cannot_start_is_reported(argument: str, message: str) -> None:
    pool = Pool(PoolConfig(1, forks=True, command=(*FORKS, argument)))
    with pytest.raises(WorkerStartError, match=message):
        await pool.start()
    assert children_named("cropmark-forks") == children_named("cropmark-render") == set()


def children_named(name: str) -> set[int]:
    return {pid for pid in children(os.getpid()) if name_of(pid) == name}


async def test_close_leaves_no_process(started: Started, says: Says) -> None:
    pool = await forked(started, 2)
    task = asyncio.create_task(pool.render([says("loop")], PLAN))
    await at_work(pool)
    pids = {*pool.pids(), fork_server()}
    assert len(pids) == 3
    await pool.close()
    assert not any(map(exists, pids))
    with pytest.raises(Overloaded, match="stopping"):
        await task


async def test_a_cancelled_start_leaves_no_process() -> None:
    starter = ForkServer(FORKS, ENVIRONMENT)
    try:
        start = asyncio.create_task(WorkerProcess.start(starter, 2**20))
        await until(lambda: bool(children_named("cropmark-forks") or children_named("python")))
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        process = await WorkerProcess.start(starter, 2**20)  # which gets the second process, not the first
        await until(lambda: children_named("cropmark-render") == {process.pid})
        assert (await process.reap()).by_pool
    finally:
        await starter.close()


async def test_all_exit_with_their_front() -> None:
    """As after kill -9 of the server: their sockets are closed."""
    script = (
        "import asyncio, sys\n"
        "from cropmark.renderers.pool import Pool, PoolConfig, Sandbox\n"
        "async def main():\n"
        f"    pool = Pool(PoolConfig(2, forks=True, command={FORKS!r}, sandbox=Sandbox.OFF))\n"
        "    await pool.start()\n"
        "    print(flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    front = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert front.stdout is not None
    await front.stdout.readline()
    pids = children(front.pid)
    assert len(pids) == 3
    front.kill()
    await front.wait()
    await until(lambda: not any(map(is_running, pids)))


async def test_cropmarks_own_fork_server_starts_no_thread_and_enters_the_sandbox() -> None:
    """With the codecs that are installed: an import of a thread would fail the start."""
    pool = Pool(PoolConfig(1, forks=True, sandbox=Sandbox.REQUIRE))
    try:
        await pool.start()
        state: PoolState = pool.state()
        assert state.missing_layers == ()
        assert state.libraries
    finally:
        await pool.close()
