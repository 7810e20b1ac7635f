"""Starts `cropmark` commands by forks, after it has imported their packages: `python -m tests.fork_server SOCKET`.

tests/command.py has the client.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from cropmark.renderers.fork_server import _fork_worker
from tests import fork_renderers

COMMAND = "cropmark.cli.main"
# Without cropmark.cli: its console reads the width of the terminal from the environment of the command.
PACKAGES = (
    "alembic.autogenerate",
    "alembic.command",
    "rich.progress",
    "rich.table",
    "rich.tree",
    "sqlalchemy.dialects.sqlite",
    "typer.rich_utils",
    "urllib.request",
    "uvloop",
    "cropmark.api",
    "cropmark.config.signing_keys",
    "cropmark.explanation",
    "cropmark.library.bulk_import",
    "cropmark.library.migrate",
    "cropmark.library.service",
    "cropmark.server.run",
    "cropmark.translation",
)


def main(number: int) -> None:
    """Forks for each message until the socket is closed, and runs the command or the renderer in the fork."""
    for name in PACKAGES:
        importlib.import_module(name)
    fork_renderers.preload()
    assert threading.active_count() == 1, "a fork has none of the other threads"
    gc.freeze()
    requests = socket.socket(fileno=number)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 2**20, 4)
        if not message:
            return
        given = json.loads(message)
        if "renderer" in given:
            _start_renderer(given["renderer"], *descriptors)
        elif os.fork() == 0:
            requests.detach()
            _become(given, descriptors)
            _run_and_exit(given["program"])
        for each in descriptors:
            os.close(each)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _start_renderer(kind: str, end: int, output: int, control: int) -> None:
    """Sends the id of a new renderer process. It is a child of the client, which must be a subreaper."""
    os.write(control, struct.pack("i", _fork_worker(lambda: fork_renderers.become(kind.encode()), end, output)))


def _become(given: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Returns in a child with the arguments, environment, folder and streams of the message."""
    *streams, control = descriptors
    if pid := os.fork():
        _report(pid, control)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["environment"])
    sys.argv[1:] = given["arguments"]
    fork_renderers.prepare()


def _run_and_exit(program: str) -> NoReturn:
    """Runs `cropmark`, or the lines of a program that calls parts of it. Ends as Python does, but frees no modules.

    That takes 0.08 s of CPU: each page of memory that the fork shares is copied first.
    """
    status = 0
    try:
        if program:
            sys.argv[0] = "-c"
            exec(program, {"__name__": "__main__"})
        else:
            runpy.run_module(COMMAND, run_name="__main__", alter_sys=True)
    except SystemExit as exit_:
        if not isinstance(exit_.code, int | None):
            print(exit_.code, file=sys.stderr)
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except Exception:  # noqa: BLE001 - Python reports any
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _report(pid: int, control: int) -> NoReturn:
    """Sends the id of the child, and its status when it has ended. Kills it if the client ends first."""
    for number in range(control):
        if number > 2:
            os.close(number)
    os.write(control, struct.pack("i", pid))
    ends = select.poll()
    ends.register(ended := os.pidfd_open(pid), select.POLLIN)
    ends.register(control, 0)  # reports only that the client has ended
    if all(descriptor != ended for descriptor, _ in ends.poll()):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        os.write(control, struct.pack("i", status))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
