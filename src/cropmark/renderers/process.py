"""One worker process, as the front sees it: start, send tasks, receive replies, watch, kill and reap.

Uses no threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cropmark.renderers import reply_parser, transport
from cropmark.renderers.protocol import Ready, Reply
from cropmark.renderers.starters import Child, Starter
from cropmark.renderers.tasks import Message, Setup, Task
from cropmark.renderers.transport import CHUNK_BYTES, REPLY_PREFIX, ProtocolError, RawReply

COMMAND = (sys.executable, "-I", "-m", "cropmark.renderers.worker")

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",  # 20 % less peak memory at the same speed
    "VIPS_CONCURRENCY": "1",
    "VIPS_WARNING": "0",  # any value silences libvips' warnings about broken files on standard error
    "VIPS_DISC_THRESHOLD": str(64 * 2**30),  # never use temporary files: the sandbox allows no path
    "OPENBLAS_NUM_THREADS": "1",  # its threads would outlive the imports, outside Landlock
    "OMP_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # it opens a database in the home folder and calls Microsoft (decision 0043)
}
"""The complete environment of a worker."""

_TAIL_BYTES = 4096


class WorkerExited(Exception):
    """The worker exited, or closed its socket, before its reply was complete."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """The return code of an exited worker, as in subprocess, and the end of its output on standard error."""

    code: int
    by_pool: bool
    """True if the pool killed the process."""
    stderr_tail: str

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that killed the process; None if it exited by itself, or if the pool killed it."""
        return signal.Signals(-self.code) if self.code < 0 and not self.by_pool else None

    def __str__(self) -> str:
        if self.by_pool:
            return "killed by the pool"
        return f"killed by {self.signal.name}" if self.signal else f"exited with {self.code}"


class WorkerProcess:
    """A worker process. It executes one task after the other, and must be discarded after the first error."""

    def __init__(self, child: Child, end: socket.socket, stderr: int, max_body_bytes: int) -> None:
        self._process = child
        self._socket = end
        self._stderr = stderr
        self._stderr_tail = b""
        self._max_body_bytes = max_body_bytes
        self.has_models = False
        self.cached_name: str | None = None
        """The name of the source of the last task, if the worker may still have frames of this source in memory."""
        self.idle_bytes = 0
        """Memory that the process had before the task that it runs now."""

    @classmethod
    async def start(cls, starter: Starter, max_body_bytes: int) -> WorkerProcess:
        """Start a worker process. Raises OSError."""
        end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stderr, their_stderr = os.pipe()
        os.set_blocking(stderr, False)
        os.set_blocking(their_stderr, False)  # output that does not fit is dropped: a worker never waits for a reader
        end.setblocking(False)
        try:
            child = await starter.start(theirs.fileno(), their_stderr)
        except BaseException as error:
            end.close()
            with contextlib.suppress(OSError):
                error.add_note(os.read(stderr, 64 * 1024)[-_TAIL_BYTES:].decode("utf-8", "replace").strip())
            os.close(stderr)
            raise
        finally:
            theirs.close()
            os.close(their_stderr)
        return cls(child, end, stderr, max_body_bytes)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def set_up(self, setup: Setup) -> Ready:
        """Send the setup to the worker; returns its first reply. Raises WorkerExited, ProtocolError."""
        self.send(transport.serialize_request(setup), ())
        return reply_parser.parse_ready(await self.receive_message())

    # -------------------------------------------------------------------------------------------- tasks

    def send_task(self, message: Message, descriptors: Sequence[int], timeout_s: float) -> bytes:
        """Send a task and its descriptors; returns the bytes that the socket did not accept, for receive_reply().

        This is not a coroutine. The caller checks that its client still waits, and closes the descriptors when the
        client stops waiting. No other code may run between this check and the sending. Raises the exceptions of send().
        """
        self._extend_cpu_limit(timeout_s)
        return self.send(transport.serialize_request(message), descriptors)

    def send(self, data: bytes, descriptors: Sequence[int]) -> bytes:
        """Send the descriptors, and as much of the data as the socket accepts; returns the rest of the data.

        Raises WorkerExited. Raises OSError if a descriptor is invalid; then nothing was sent.
        """
        try:
            sent = socket.send_fds(self._socket, [data], list(descriptors))
        except ConnectionError as error:
            raise WorkerExited("it exited before the task was sent") from error
        return data[sent:]

    async def receive_reply(self, task: Task, rest: bytes) -> Reply:
        """Send the rest of a task, and return the worker's reply to the task. `rest` is from send_task().

        Raises WorkerExited, ProtocolError.
        """
        if rest:
            try:
                await asyncio.get_running_loop().sock_sendall(self._socket, rest)
            except OSError as error:
                raise WorkerExited("its socket is closed") from error
        return reply_parser.parse_reply(await self.receive_message(), task)

    async def receive_message(self) -> RawReply:
        """The worker's next message. Raises WorkerExited, ProtocolError."""
        head = await self._receive(b"", REPLY_PREFIX.size)
        kind, header_bytes, body_bytes = transport.parse_prefix(head[: REPLY_PREFIX.size], self._max_body_bytes)
        body_at = REPLY_PREFIX.size + header_bytes
        head = await self._receive(head, body_at)
        body = await self._receive(head[body_at:], body_bytes)
        if len(body) > body_bytes:
            raise ProtocolError("more than one reply")
        self._read_stderr()
        return RawReply(kind, head[REPLY_PREFIX.size : body_at], body)

    async def _receive(self, begun: bytes, count: int) -> bytes:
        """At least `count` bytes of a message. `begun` has its first bytes, which were received before.

        Memory is allocated only as data arrives, because a worker may announce more data than it sends.
        """
        loop = asyncio.get_running_loop()
        parts, length = [begun], len(begun)
        while length < count:
            try:
                part = await loop.sock_recv(self._socket, CHUNK_BYTES)
            except OSError as error:
                raise WorkerExited("its socket is closed") from error
            if not part:
                raise WorkerExited("it exited before its reply was complete")
            parts.append(part)
            length += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def is_idle(self) -> bool:
        """True if the worker runs and has sent no data, as expected while it has no task."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def watch(self, on_event: Callable[[], None]) -> None:
        """Call `on_event` if the worker exits, or sends data although it has no task. unwatch() ends this."""
        asyncio.get_running_loop().add_reader(self._socket, on_event)

    def unwatch(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)

    def _extend_cpu_limit(self, timeout_s: float) -> None:
        """Allow the worker `timeout_s` more CPU time than it has used already.

        Usually the front's timeout ends a slow worker earlier. The CPU limit works even if the front no longer exists.
        """
        if sys.platform != "linux":
            return
        import resource  # noqa: PLC0415 - prlimit() exists on Linux only

        # The CPU clock of another process: see clock_getcpuclockid(3).
        with contextlib.suppress(OSError):
            used_s = time.clock_gettime(~self.pid << 3 | 2)
            limit = math.ceil(used_s + timeout_s) + 1
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))

    # -------------------------------------------------------------------------------------------- exit

    async def reap(self, grace_s: float = 0) -> ExitStatus:
        """Wait until the worker has exited, and kill it after `grace_s`; returns its exit status."""
        killed = await self._wait_exit(grace_s) is False
        if killed:
            self._process.kill()
            await self._wait_exit(math.inf)
        self._read_stderr()
        self._close()
        assert self._process.returncode is not None
        return ExitStatus(self._process.returncode, killed, self._stderr_tail.decode("utf-8", "replace").strip())

    async def _wait_exit(self, within_s: float) -> bool:
        """True if the worker exits within `within_s`."""
        # Polled: without a thread, no way of waiting for a child works on both macOS and Linux.
        wait_s, until_s = 0.0005, time.monotonic() + within_s
        while self._process.poll() is None:
            if time.monotonic() >= until_s:
                return False
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.02)
        return True

    def _read_stderr(self) -> None:
        """Read the worker's standard error once, and retain the end of the output.

        It does not read until the pipe is empty, so a worker with much output does not delay the front.
        """
        with contextlib.suppress(OSError):
            self._stderr_tail = (self._stderr_tail + os.read(self._stderr, 64 * 1024))[-_TAIL_BYTES:]

    def _close(self) -> None:
        self._socket.close()
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1


__all__ = ["COMMAND", "ENVIRONMENT", "ExitStatus", "ProtocolError", "WorkerExited", "WorkerProcess"]
