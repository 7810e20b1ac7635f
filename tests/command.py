"""The `cropmark` command as a process of its own that starts in milliseconds: tests/fork_server.py forks it.

A start of Python with the packages takes half a second of CPU, and the tests start the command over 200 times. Tests of
the start itself run `python -m cropmark.cli.main`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

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


def start(arguments: Sequence[str], errors: IO[str], *, environment: Mapping[str, str]) -> Command:
    """A running command, with a pipe as its standard output and a file for its errors."""
    reader, writer = os.pipe()
    with Path(os.devnull).open("rb") as nothing, open(writer, "wb") as output:
        streams = [nothing.fileno(), output.fileno(), errors.fileno()]
        return Command(_fork(arguments, streams, environment, Path.cwd()), open(reader, "rb"))


def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path | None = None, words: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command that has ended. `words` are its standard input."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(words.encode())
        given.seek(0)
        streams = [file.fileno() for file in (given, output, errors)]
        command = Command(_fork(arguments, streams, environment, cwd or Path.cwd()))
        try:
            status = command.wait(300)
        finally:
            command.kill()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(list(arguments), status, output.read().decode(), errors.read().decode())


def _fork(arguments: Sequence[str], streams: Sequence[int], environment: Mapping[str, str], cwd: Path) -> socket.socket:
    """The connection that reports the id of the new process, and later its status."""
    control, theirs = socket.socketpair()
    message = {"arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd)}
    with theirs:
        socket.send_fds(_fork_server(), [json.dumps(message).encode()], [*streams, theirs.fileno()])
    return control


@cache
def _fork_server() -> socket.socket:
    """The connection to the fork server."""
    connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, "-u", "-m", "tests.fork_server", str(number)]
        server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[number])
    atexit.register(server.wait, 10)
    atexit.register(connection.close)  # runs before the wait, and ends the server
    return connection
