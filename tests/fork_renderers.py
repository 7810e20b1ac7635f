"""Starts the first renderer process of another process by a fork, which saves the half second of CPU of its imports."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Mapping, Sequence
from typing import NoReturn

from cropmark.renderers import fork_server, handlers, sandbox, starters, worker
from cropmark.renderers.process import COMMAND, ENVIRONMENT
from cropmark.renderers.starters import FORK_SERVER
from cropmark.server.supervisor import Forked, Supervisor
from tests.command import Started

_M_ARENA_MAX = -8


def preload() -> None:
    """Import all that a renderer needs, without a thread."""
    handlers.preload()
    sandbox.preload()


def prepare() -> None:
    """Prepare the first renderer process of this process, or of each front that it starts.

    Called before any thread starts.
    """
    first = _FirstProcess()
    run = Supervisor.run

    def run_and_prepare(supervisor: Supervisor) -> Forked | None:
        first.cancel()
        forked = run(supervisor)
        if forked is not None:
            _FirstProcess()
        return forked

    Supervisor.run = run_and_prepare  # type: ignore[method-assign, assignment]  # its self has another name


class _FirstProcess:
    """A fork of this process that becomes the first process which starters.py starts.

    It is a child of this process, as one that subprocess.Popen starts. If it is not needed, it ends with this process.
    """

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._control.close()
            _wait(theirs)
        theirs.close()
        self._spawn = starters._spawn
        starters._spawn = self._start  # type: ignore[assignment]  # Started is like Popen

    def cancel(self) -> None:
        starters._spawn = self._spawn
        self._control.close()
        os.waitpid(self._pid, 0)

    def _start(self, command: Sequence[str], environment: Mapping[str, str], end: int, output: int) -> object:
        if command not in (FORK_SERVER, COMMAND) or environment != ENVIRONMENT:
            self.cancel()
            return self._spawn(command, environment, end, output)
        starters._spawn = self._spawn
        with self._control:
            socket.send_fds(self._control, [b"f" if command == FORK_SERVER else b"w"], [end, output])
        return Started(self._pid)


def _wait(control: socket.socket) -> NoReturn:
    """Become the process that the message names: `f`, the one that forks renderers, or `w`, a renderer."""
    os.setsid()
    message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
    if not message:
        os._exit(0)
    end, output = descriptors
    for number, descriptor in enumerate((end, output, output)):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    become(message)


def become(message: bytes) -> NoReturn:
    """Run a renderer process with the environment of one. Its streams are those of this process."""
    os.chdir("/")
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(ENVIRONMENT["MALLOC_ARENA_MAX"]))  # libc has read its environment
    if message == b"f":
        fork_server.main(_work)
    else:
        _work()
    os._exit(0)


def _work() -> None:
    worker.main(handlers.load_handler, handlers.library_versions, handlers.drop_frames)
