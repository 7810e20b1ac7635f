"""A server with two front processes on one port, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.builders import make_images, wait_until
from tests.processes import children, is_running, renderers
from tests.server.test_shared_cache import cache_status, metric
from tests.web.server_process import Running, running

RENDERS = 'cropmark_render_stage_duration_seconds_count{stage="render"}'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "pictures").mkdir()
    images = make_images(tmp_path / "pictures")
    with running(str(images), cache=tmp_path / "cache", renderers=2, fronts=2) as found:
        yield found


def front_of(response: httpx.Response) -> str:
    """The part of the request id that is the same for all requests of a process."""
    return response.headers["x-request-id"].partition("-")[0]


def statuses(server: Running, path: str) -> list[set[str]]:
    """The cache statuses of the responses of each of the two fronts. Every request has a connection of its own."""
    found: defaultdict[str, set[str]] = defaultdict(set)

    def ask(_: int) -> None:
        response = server.get(path)
        found[front_of(response)].add(cache_status(response))

    with ThreadPoolExecutor(8) as pool:
        wait_until(lambda: [*pool.map(ask, range(16))] and len(found) == 2, 30)
    return list(found.values())


def test_two_fronts_are_one_server(server: Running) -> None:
    supervisor = server.process.pid
    fronts = children(supervisor)
    assert len(fronts) == 2
    assert sum(len(renderers(front)) for front in fronts) == 2  # renderers are split
    statuses(server, "/fastly/wide.jpg?width=20")
    before = metric(server, RENDERS)
    with ThreadPoolExecutor(8) as pool:  # new connections, so both fronts get some
        responses = list(pool.map(lambda _: server.get("/fastly/wide.jpg?width=300&format=png"), range(24)))
    assert len({response.content for response in responses}) == 1
    assert metric(server, RENDERS) == before + 1
    assert statuses(server, "/fastly/wide.jpg?width=20") == [{"hit-memory"}] * 2
    assert server.purge(url="/fastly/wide.jpg?width=20").json() == {"purged": 1}
    assert all(each - {"hit-memory"} for each in statuses(server, "/fastly/wide.jpg?width=20"))
    assert _a_killed_front_is_replaced(server, fronts)
    os.kill(supervisor, signal.SIGHUP)
    wait_until(lambda: server.log.read_text().count("reloaded") == 2, 30)
    assert statuses(server, "/fastly/wide.jpg?width=20")
    assert server.purge(url="/fastly/wide.jpg?width=20").json() == {"purged": 1}  # by the servers that replaced others
    assert all(each - {"hit-memory"} for each in statuses(server, "/fastly/wide.jpg?width=20"))
    fronts = children(supervisor)
    folder = re.search(r"\S+cropmark-fronts-\w+", " ".join(_paths(fronts)))
    assert folder is not None
    os.kill(supervisor, signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert not any(map(is_running, fronts))
    assert not Path(folder[0]).exists()
    log = server.log.read_text()
    assert log.count("stopped") == 2
    assert log.count("a front process ended and is started again") == 1
    assert "Traceback" not in log


def _a_killed_front_is_replaced(server: Running, fronts: set[int]) -> bool:
    """Kill a front: the other one serves, its counts stay, its renderers end, and a new one is started.

    The new one has none of its originals, since purges may have been missed.
    """
    requests = re.compile(r"^cropmark_requests_total\{.*\} (\S+)$", re.MULTILINE)
    before = sum(map(float, requests.findall(server.get("/metrics").text)))
    killed = min(fronts)  # the second one, which is started first
    original = server.log.with_suffix("") / "originals" / "front-1" / "missed.body"
    original.touch()
    ended = children(killed)
    os.kill(killed, signal.SIGKILL)
    assert server.get("/fastly/wide.jpg?width=20").status_code == 200
    wait_until(lambda: len(children(server.process.pid) - {killed}) == 2, 30)
    wait_until(lambda: not any(map(is_running, ended)))
    assert statuses(server, "/fastly/wide.jpg?width=20")
    assert not original.exists()
    return sum(map(float, requests.findall(server.get("/metrics").text))) > before


HURRIED = """
import sys
from cropmark.cli.main import main
from cropmark.server import supervisor
supervisor.CHECK_S, supervisor.HANG_CHECKS = 0.25, 12
main()
"""
"""`cropmark`, for which a front hangs after three seconds without a report."""


def test_a_front_that_hangs_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    images = str(make_images(tmp_path / "pictures"))
    with running(images, cache=tmp_path / "cache", renderers=2, fronts=2, program=HURRIED) as server:
        hanging = min(children(server.process.pid))  # the second one, which is started first
        renderers = children(hanging)
        os.kill(hanging, signal.SIGSTOP)
        try:
            wait_until(lambda: len(children(server.process.pid) - {hanging}) == 2, 60)
        except AssertionError:
            os.kill(hanging, signal.SIGKILL)  # it would outlive the server
            raise
        wait_until(lambda: not any(map(is_running, renderers)))
        assert statuses(server, "/fastly/wide.jpg?width=20")
        assert [metric(server, f'cropmark_front_hangs_total{{front="{n}"}}') for n in range(2)] == [0, 1]
        assert server.log.read_text().count("a front process hangs and is killed") == 1
        assert server.process.poll() is None


def _paths(pids: set[int]) -> Iterator[str]:
    """The paths of the Unix sockets of this machine's processes."""
    assert pids
    for line in Path("/proc/net/unix").read_text().splitlines():
        yield line.rpartition(" ")[2]


def test_fronts_end_with_their_supervisor(server: Running) -> None:
    fronts = children(server.process.pid)
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, fronts)), 30)


def test_a_front_that_cannot_start_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    command = [sys.executable, "-m", "cropmark.cli.main", "serve", str(tmp_path), "--fronts", "2", "--renderers", "2"]
    command += ["--port", "0", "--cache", str(tmp_path / "cache"), "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("give another folder with --cache") == 1


def test_a_front_that_is_started_again_keeps_operator_paths_off_the_public_port(tmp_path: Path) -> None:
    """The file no longer has the port of operators, but the server still listens on it."""
    (tmp_path / "pictures").mkdir()
    config = tmp_path / "cropmark.toml"
    config.write_text("admin_port = 0\n")
    arguments = [str(make_images(tmp_path / "pictures")), "--config", str(config), "--fronts", "2"]
    with running(*arguments, cache=tmp_path / "cache", renderers=2) as server:
        config.write_text("")
        fronts = children(server.process.pid)
        os.kill(min(fronts), signal.SIGKILL)
        wait_until(lambda: len(children(server.process.pid) - {min(fronts)}) == 2, 30)
        assert statuses(server, "/fastly/wide.jpg?width=20")
        with ThreadPoolExecutor(8) as pool:
            found = [*pool.map(lambda _: server.get("/readyz"), range(32))]
        assert {response.status_code for response in found} == {404}
