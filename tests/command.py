"""The `cropmark` command as a process of its own that starts in milliseconds: tests/fork_server.py forks it.

A start of Python with the packages takes half a second of CPU, and so does its first renderer; the tests start the
command over 200 times. Tests of the start itself run `python -m cropmark.cli.main`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO
from unittest.mock import patch

from cropmark.renderers import starters
from cropmark.renderers.process import COMMAND, ENVIRONMENT
from cropmark.renderers.starters import FORK_SERVER

ROOT = Path(__file__).parents[1]


class Command:
    """A running command, with the methods of subprocess.Popen that tests call."""

    def __init__(self, control: socket.socket, stdout: IO[bytes] | None = None) -> None:
        self._control = control
        (self.pid,) = struct.unpack("i", control.recv(4))
        self.stdout = stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            self._control.settimeout(timeout)
            try:
                (status,) = struct.unpack("i", self._control.recv(4))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("cropmark", timeout or 0) from None
            self._control.close()
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Started(starters.Forked):
    """A forked renderer process, with the part of subprocess.Popen that starters.py uses."""

    def wait(self) -> None:
        if self.poll() is None:
            os.waitpid(self.pid, 0)


def start(arguments: Sequence[str], errors: IO[str], *, environment: Mapping[str, str], program: str = "") -> Command:
    """A running command, with a pipe as its standard output and a file for its errors.

    `program` has the lines of Python that run instead of `cropmark`, as with `python -c`.
    """
    reader, writer = os.pipe()
    with Path(os.devnull).open("rb") as nothing, open(writer, "wb") as output:
        streams = [nothing.fileno(), output.fileno(), errors.fileno()]
        return Command(_fork(arguments, streams, environment, Path.cwd(), program), open(reader, "rb"))


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    words: str = "",
    program: str = "",
) -> subprocess.CompletedProcess[str]:
    """A command that has ended. `words` are its standard input, `program` is that of start()."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(words.encode())
        given.seek(0)
        streams = [file.fileno() for file in (given, output, errors)]
        command = Command(_fork(arguments, streams, environment, cwd or Path.cwd(), program))
        try:
            status = command.wait(300)
        finally:
            command.kill()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(list(arguments), status, output.read().decode(), errors.read().decode())


SCRIPT = """#!{python} -ISE
import json, os, signal, socket, struct, sys
control, theirs = socket.socketpair()
given = dict(arguments=sys.argv[1:], environment=dict(os.environ), cwd=os.getcwd(), program="")
socket.send_fds(socket.socket(fileno={number}), [json.dumps(given).encode()], [0, 1, 2, theirs.fileno()])
theirs.close()
(pid,) = struct.unpack("i", control.recv(4))
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
(status,) = struct.unpack("i", control.recv(4))
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""
"""`cropmark` for a shell. It passes signals on to the command, which ends with it."""


def script(folder: Path) -> int:
    """Writes a `cropmark` for shells into the folder. They must inherit the returned descriptor."""
    number = _fork_server().fileno()
    (folder / "cropmark").write_text(SCRIPT.format(python=sys.executable, number=number))
    (folder / "cropmark").chmod(0o755)
    return number


@contextmanager
def forked_renderers() -> Iterator[None]:
    """Pools of this process start their renderers by forks too."""
    ctypes.CDLL(None).prctl(starters._PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    spawn = starters._spawn

    def start_renderer(command: Sequence[str], environment: Mapping[str, str], end: int, output: int) -> object:
        if command not in (FORK_SERVER, COMMAND) or environment != ENVIRONMENT:
            return spawn(command, environment, end, output)
        with _sent({"renderer": "f" if command == FORK_SERVER else "w"}, [end, output]) as control:
            return Started(*struct.unpack("i", control.recv(4)))

    with patch.object(starters, "_spawn", start_renderer):
        yield


def _fork(
    arguments: Sequence[str], streams: Sequence[int], environment: Mapping[str, str], cwd: Path, program: str
) -> socket.socket:
    """The connection that reports the id of the new process, and later its status."""
    given = {"arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd), "program": program}
    return _sent(given, streams)


def _sent(given: Mapping[str, object], streams: Sequence[int]) -> socket.socket:
    """The connection for the replies to a message."""
    control, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_fork_server(), [json.dumps(given).encode()], [*streams, theirs.fileno()])
    return control


@cache
def _fork_server() -> socket.socket:
    """The connection to the fork server."""
    connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, "-u", "-m", "tests.fork_server", str(number)]
        # The libraries of renderers read their environment when they are loaded.
        environment = {**os.environ, **{name: ENVIRONMENT[name] for name in ENVIRONMENT if name != "MALLOC_ARENA_MAX"}}
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=[number])
    atexit.register(server.wait, 10)
    atexit.register(connection.close)  # runs before the wait, and ends the server
    return connection
