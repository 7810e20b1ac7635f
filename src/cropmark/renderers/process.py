"""One renderer process, seen from the front: started, asked, watched, killed, buried. No threads."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cropmark.renderers import protocol, transport
from cropmark.renderers.tasks import Message, Setup, Task
from cropmark.renderers.transport import CHUNK_BYTES, TOLD, ProtocolError, RawReply

COMMAND = (sys.executable, "-I", "-m", "cropmark.renderers.worker")

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",  # a fifth less peak memory at the same speed
    "VIPS_CONCURRENCY": "1",
    "VIPS_WARNING": "0",  # set at all, it keeps libvips' warnings about each broken file off the standard error
    "VIPS_DISC_THRESHOLD": str(64 * 2**30),  # never a temporary file: there is no path left to put it
    "OPENBLAS_NUM_THREADS": "1",  # its threads would outlive the imports, outside Landlock
    "OMP_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # since 1.29 it opens a database in the home folder and calls Microsoft; 0043
}
"""All that a renderer has of an environment."""

_TAIL_BYTES = 4096


class WorkerExited(Exception):
    """The process ended, or closed its socket, before it had answered."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: its return code as subprocess tells it, and the last it wrote to its standard error."""

    code: int
    by_us: bool
    stderr_tail: str

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that ended it, unless it was ours."""
        return signal.Signals(-self.code) if self.code < 0 and not self.by_us else None

    def __str__(self) -> str:
        if self.by_us:
            return "killed by us"
        return f"killed by {self.signal.name}" if self.signal else f"exited with {self.code}"


class WorkerProcess:
    """A renderer. Answers one task at a time; unusable for good after the first thing that went wrong."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], most_body_bytes: int) -> None:
        """Start it; blocks for about a millisecond. Raises OSError."""
        self._most_body_bytes = most_body_bytes
        self.knows_models = False
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._words, their_words = os.pipe()
        self._tail = b""
        os.set_blocking(self._words, False)
        os.set_blocking(their_words, False)  # words that find no room are lost, rather than wait for a reader
        self._end.setblocking(False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                command,
                stdin=theirs.fileno(),
                # Not closed: the first source would become descriptor 1, and what a library prints would go into it.
                stdout=their_words,
                stderr=their_words,
                env=dict(environment),
                cwd="/",
                start_new_session=True,  # Ctrl-C at a terminal is the front's, which then closes us in order
            )
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            os.close(their_words)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def set_up(self, setup: Setup) -> protocol.Ready:
        """Wait until it is ready; what it says of itself. Raises Died, OutOfForm."""
        self.send(transport.asked(setup), ())
        return protocol.read_ready(await self.reply())

    # -------------------------------------------------------------------------------------------- asked

    def ask(self, message: Message, descriptors: Sequence[int], deadline_s: float) -> bytes:
        """Send a task and its descriptors at once; what did not fit is for told(). Raises as send() does.

        Not a coroutine: between the question whether somebody waits for the task and the sending of the descriptors,
        which whoever waits may close, nothing may come.
        """
        self._grant(deadline_s)
        return self.send(transport.asked(message), descriptors)

    def send(self, data: bytes, descriptors: Sequence[int]) -> bytes:
        """Send as much as the socket takes, the descriptors with it; returns the rest.

        Raises Died; OSError where a descriptor is none, and then nothing was sent.
        """
        try:
            sent = socket.send_fds(self._end, [data], list(descriptors))
        except ConnectionError as error:
            raise WorkerExited("it ended before it was asked") from error
        return data[sent:]

    async def told(self, task: Task, rest: bytes) -> protocol.Reply:
        """What it answers to the task, once the `rest` of it is sent. Raises Died, OutOfForm."""
        if rest:
            try:
                await asyncio.get_running_loop().sock_sendall(self._end, rest)
            except OSError as error:
                raise WorkerExited("its socket is closed") from error
        return protocol.read(await self.reply(), task)

    async def reply(self) -> RawReply:
        """Its next message. Raises Died, OutOfForm."""
        prefix = await self._received(TOLD.size)
        kind, header_bytes, body_bytes = transport.read_lengths(prefix, self._most_body_bytes)
        header = await self._received(header_bytes)
        body = await self._received(body_bytes) if body_bytes else b""
        self._drain()
        return RawReply(kind, header, body)

    async def _received(self, count: int) -> bytes:
        """So many bytes. Memory is taken as they come, not as they were announced."""
        loop = asyncio.get_running_loop()
        parts: list[bytes] = []
        while count:
            try:
                part = await loop.sock_recv(self._end, min(count, CHUNK_BYTES))
            except OSError as error:
                raise WorkerExited("its socket is closed") from error
            if not part:
                raise WorkerExited("it ended before it had answered")
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def quiet(self) -> bool:
        """Whether it lives and says nothing, as one does that has no task."""
        try:
            self._end.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def watch(self, stirred: Callable[[], None]) -> None:
        """Call back once it ends or speaks unasked, until unwatch()."""
        asyncio.get_running_loop().add_reader(self._end, stirred)

    def unwatch(self) -> None:
        if self._end.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._end)

    def _grant(self, deadline_s: float) -> None:
        """Let it use as much CPU time as the deadline allows, beyond what it has used in its life.

        The wall-clock deadline comes first; this is for when there is no front any more to look at it.
        """
        if sys.platform != "linux":
            return
        import resource  # noqa: PLC0415 - the name is there only where prlimit() is

        # The CPU clock of another process: see clock_getcpuclockid(3).
        with contextlib.suppress(OSError):
            used_s = time.clock_gettime(~self.pid << 3 | 2)
            limit = math.ceil(used_s + deadline_s) + 1
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))

    # -------------------------------------------------------------------------------------------- ended

    async def reap(self, grace_s: float = 0) -> ExitStatus:
        """Kill it, unless it ends by itself within `grace_s`; how it ended, once nothing of it is left."""
        killed = await self._ended(grace_s) is False
        if killed:
            self._process.kill()
            await self._ended(math.inf)
        self._drain()
        self._close()
        code = self._process.returncode
        last_words = self._tail.decode("utf-8", "replace").strip()
        return ExitStatus(code, killed, last_words)

    async def _ended(self, within_s: float) -> bool:
        """Whether it ended in that time."""
        # Polled: without a thread there is no waiting for a child that works on macOS and on Linux both.
        wait_s, until_s = 0.0005, time.monotonic() + within_s
        while self._process.poll() is None:
            if time.monotonic() >= until_s:
                return False
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.02)
        return True

    def _drain(self) -> None:
        """Keep the last it said on standard error; one read, so that a talkative one costs no more than that."""
        with contextlib.suppress(OSError):
            self._tail = (self._tail + os.read(self._words, 64 * 1024))[-_TAIL_BYTES:]

    def _close(self) -> None:
        self._end.close()
        if self._words >= 0:
            os.close(self._words)
            self._words = -1


__all__ = ["COMMAND", "ENVIRONMENT", "ExitStatus", "ProtocolError", "WorkerExited", "WorkerProcess"]
