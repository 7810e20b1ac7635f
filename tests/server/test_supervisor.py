"""The supervisor of the fronts: its exit status, and signals during a start. Its fronts here run a few lines each."""

from __future__ import annotations

import mmap
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.requests import Request
from starlette.responses import Response

from cropmark.config.settings import Settings
from cropmark.server import supervisor
from cropmark.server.pixlab import session_key
from cropmark.server.run import _supervise
from cropmark.server.supervisor import Supervisor
from cropmark.web.sessions import Sessions, session_seed
from tests.builders import make_images, wait_until
from tests.processes import kill_session

PROGRAM = """
import os, signal, socket, sys, time
from cropmark.server import supervisor
from cropmark.server.listening import listen
supervisor._START_S = float(sys.argv[2])
supervisor.CHECK_S, supervisor.HANG_CHECKS = 0.05, 40
parent = os.getpid()
def stop_server(): os.kill(parent, signal.SIGTERM)
def at_stop(handler): signal.signal(supervisor.STOP, lambda *_: handler())
def end_by_signal(): os.kill(os.getpid(), signal.SIGKILL)
def listener_is_closed():
    forked.front.listeners[0].close()
    for _ in range(1000):
        with socket.socket() as client:
            if client.connect_ex(address): sys.exit(0)
        time.sleep(0.01)
    sys.exit(9)
listener = listen("127.0.0.1", 0)
address = listener.getsockname()
server = supervisor.Supervisor(2, (listener,))
forked = server.run()
if forked is None:
    sys.exit(server.status)
is_last, ready = forked.front.number == 0, forked.report_ready
exec(sys.argv[1])
"""
"""Each of two fronts runs the lines that it is given, and then ends with status 0. The last one started is number 0."""

TOO_SLOW = "time.sleep(30)"
STOP = "at_stop({}); ready(); stop_server() if is_last else None; time.sleep(30)"


@pytest.mark.parametrize(
    ("lines", "status", "critical"),
    [
        (STOP.format("lambda: sys.exit(0)"), 0, False),
        (STOP.format("lambda: sys.exit(5)"), 5, False),
        (STOP.format("end_by_signal"), 128 + signal.SIGKILL, False),
        (STOP.format("listener_is_closed"), 0, False),  # no process is left that would not accept
        ("if is_last: end_by_signal()\n" + STOP.format("lambda: sys.exit(0)"), 128 + signal.SIGKILL, True),
        ("end_by_signal()", 128 + signal.SIGKILL, True),
        ("sys.exit(3)", 3, True),
        ("sys.exit(0)", 1, True),  # it has ended, but was never ready
        (TOO_SLOW, 1, True),
        ("stop_server(); time.sleep(30)", 0, False),  # stopped while it was starting
    ],
)
def test_the_exit_status_says_that_a_front_failed(lines: str, status: int, critical: bool) -> None:
    start_s = "0.5" if lines == TOO_SLOW else "60"
    command = [sys.executable, "-c", PROGRAM, lines, start_s]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert ("did not start, the server stops" in done.stdout + done.stderr) is critical
    assert "is started again" not in done.stdout + done.stderr


HANGS = """
at_stop(lambda: sys.exit(0))
ready()
if not is_last and forked.is_first_start:
    forked.alive[1] = 1
    {hang}
elif not is_last:
    at_stop(lambda: sys.exit(40 + forked.replaces_hung))
    stop_server()
while True:  # it reports at every third check
    forked.alive[forked.front.number] = 1
    time.sleep(0.15)
"""
"""The second front hangs after its first report. Its second process stops the server, with status 41 if it knows."""


@pytest.mark.parametrize("hang", ["os.kill(os.getpid(), signal.SIGSTOP)", "time.sleep(60)"])
def test_a_front_that_hangs_is_killed_and_started_again(hang: str) -> None:
    command = [sys.executable, "-c", PROGRAM, HANGS.format(hang=hang), "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            log, _ = process.communicate(timeout=60)
        finally:
            kill_session(process.pid)
    assert process.returncode == 41
    assert log.count("a front process hangs and is killed") == log.count("is started again") == 1
    assert f"status={-signal.SIGKILL}" in re.sub(r"\x1b\[[0-9;]*m", "", log)


def test_a_pause_of_the_supervisor_counts_as_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a container is paused with all its processes: no front could report."""
    now_s, killed = 0.0, list[int]()
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(supervisor, "os", SimpleNamespace(kill=lambda pid, _: killed.append(pid)))
    server = Supervisor(2, ())
    server._alive = mmap.mmap(-1, 2)
    server._slots = [supervisor._Slot(0, pid=10), supervisor._Slot(1, pid=11)]
    server._alive[0] = 1
    server._kill_hung()
    for pause_s in [10_000.0] + [supervisor.CHECK_S] * (supervisor.HANG_CHECKS - 2):
        now_s += pause_s
        server._kill_hung()
        server._kill_hung()
    assert killed == []
    now_s += supervisor.CHECK_S
    server._kill_hung()
    assert killed == [10]  # the other one has not started yet


def test_secrets_that_all_fronts_share_are_made_before_the_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that begins on one front is valid on the others."""
    made: list[object] = []
    monkeypatch.setattr(Supervisor, "run", lambda _: made.extend((session_key(), session_seed())))
    for secret in (session_key, session_seed):
        secret.cache_clear()
    _supervise(Settings(data_dir=tmp_path, port=0), 2)
    assert [secret.cache_info().hits for secret in (session_key, session_seed)] == [1, 1]
    response = Response()
    Sessions(None).begin(response, 0, secure=False)
    cookie = response.headers["set-cookie"].partition(";")[0]
    request = Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})
    assert Sessions(None).has(request, 1)


SERVER = """
import os, signal, sys
from cropmark.cli.main import main
from cropmark.server import run
start = run.tracing.start
def signal_and_start():
    os.kill(os.getpid(), signal.SIGHUP)
    return start()
run.tracing.start = signal_and_start
main()
"""
"""`cropmark` of which each front gets SIGHUP as soon as it begins to start."""


@contextmanager
def signaled(folder: Path, fronts: int) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "pictures").mkdir()
    command = [sys.executable, "-c", SERVER, "serve", str(make_images(folder / "pictures")), "--port", "0"]
    command += ["--fronts", str(fronts), "--renderers", str(fronts), "--cache", str(folder / "cache")]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("fronts", [1, 2])
def test_a_reload_is_carried_out_after_the_start(tmp_path: Path, fronts: int) -> None:
    log = tmp_path / "log"
    with signaled(tmp_path, fronts) as process:
        wait_until(lambda: log.read_text().count("reloaded") == fronts or process.poll() is not None, 30)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
