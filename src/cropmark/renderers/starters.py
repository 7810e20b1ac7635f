"""Starts worker processes, in one of two ways: a new Python, or a fork of a process that has imported everything."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from cropmark.renderers.fork_server import PROCESS_ID

FORK_SERVER = (sys.executable, "-I", "-m", "cropmark.renderers.fork_server")
_PR_SET_CHILD_SUBREAPER = 36
START_TIMEOUT_S = 20.0
"""A start takes 0.3 s at most. On a machine that swaps it can take 100 times as long."""


class Child(Protocol):
    """A started process, with a part of the interface of subprocess.Popen."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...


class Starter(Protocol):
    """Starts workers."""

    async def start(self, end: int, output: int) -> Child:
        """Start a worker with copies of the two descriptors. Raises OSError.

        The socket `end` becomes its descriptor 0, and its output goes to `output`.
        """
        ...

    async def close(self) -> None:
        """Stop all processes that start() left running, except the workers."""
        ...


class NewProcess:
    """Starts each worker as a new process with the command."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment

    async def start(self, end: int, output: int) -> Child:
        """Start a worker; see Starter.start(). Blocks for about a millisecond."""
        return _spawn(self._command, self._environment, end, output)

    async def close(self) -> None:
        """Do nothing: only workers are running."""


class ForkServer:
    """Starts workers as forks of one process (renderers/fork_server.py). Linux only.

    The fork server is started for the first worker. This process becomes a subreaper, so that the workers are its
    children and it can wait for them.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._one_at_a_time = asyncio.Lock()

    async def start(self, end: int, output: int) -> Child:
        """Start a worker by a fork, with copies of the two descriptors; see Starter.start()."""
        # A request that is cancelled must still receive its reply, or the next request would get it.
        request = asyncio.ensure_future(self._fork(os.dup(end), os.dup(output)))
        try:
            return await asyncio.shield(request)
        except asyncio.CancelledError:
            request.add_done_callback(_kill_unused)
            raise

    async def close(self) -> None:
        """Stop the fork server."""
        async with self._one_at_a_time:
            self._stop()

    async def _fork(self, *descriptors: int) -> Forked:
        """Request a worker with copies of the descriptors, and close the descriptors here. Raises OSError."""
        async with self._one_at_a_time:
            try:
                control = self._control or self._open(descriptors[1])
                socket.send_fds(control, [b"+"], descriptors)
                async with asyncio.timeout(START_TIMEOUT_S):
                    reply = await asyncio.get_running_loop().sock_recv(control, PROCESS_ID.size)
            except OSError:
                self._stop()
                raise
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            if len(reply) < PROCESS_ID.size:
                self._stop()
                raise ConnectionError("the process that forks renderers exited")
        (pid,) = PROCESS_ID.unpack(reply)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return Forked(pid)

    def _open(self, output: int) -> socket.socket:
        """Start the fork server; returns its control socket.

        Errors of its imports go to `output`, the pipe of the first worker.
        """
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.setblocking(False)
        with theirs:
            self._process = _spawn(self._command, self._environment, theirs.fileno(), output)
        return self._control

    def _stop(self) -> None:
        """Kill the fork server. The workers continue to run."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


class Forked:
    """A forked worker, with the part of subprocess.Popen that Child declares."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # other code has reaped it, so its status is unknown
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _spawn(command: Sequence[str], environment: Mapping[str, str], end: int, output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the command comes from our configuration
        command,
        stdin=end,
        # Not closed: the first source would become descriptor 1, and a library's output would go into it.
        stdout=output,
        stderr=output,
        env=dict(environment),
        cwd="/",
        start_new_session=True,  # Ctrl-C in a terminal signals the front only, which then closes workers
    )


def _kill_unused(request: asyncio.Future[Forked]) -> None:
    """Kill and reap the worker that was started for a cancelled request."""
    with suppress(OSError):
        child = request.result()
        child.kill()
        if child.returncode is None:
            os.waitpid(child.pid, 0)
