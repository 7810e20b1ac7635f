"""Renderers of one trust class and one trade: kept at their number, replaced when one is lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from cropmark.renderers.process import ExitStatus, ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Ready
from cropmark.renderers.tasks import Sandbox, Setup

log = structlog.get_logger("cropmark.renderers")

READY_WITHIN_S = 20.0
"""A start takes a tenth of a second; on a machine that swaps it may take a hundred times that."""
RETIRES_AFTER_S = 60.0
FAILURES_UNTIL_BROKEN = 3


class ExitReason(Enum):
    """Why a renderer was replaced."""

    CRASH = "crash"
    DEADLINE = "deadline"
    OUT_OF_FORM = "out_of_form"
    KILLED = "killed"
    """From outside: by an operator, or by the kernel for want of memory."""
    SPENT = "spent"
    """It met a corrupt source, or served the one request it was for."""
    UNSTARTED = "unstarted"


class WorkerStartError(Exception):
    """No renderer gets ready; its text is for the operator."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How the renderers of a crew are started."""

    command: Sequence[str]
    environment: Mapping[str, str]
    setup: Setup
    most_body_bytes: int


class WorkerGroup:
    """Up to `size` renderers; `staying` of them from the start, the others while there is need of them."""

    def __init__(self, terms: WorkerSpec, *, size: int, min_idle: int, changed: Callable[[], None]) -> None:
        self._terms = terms
        self._size = size
        self._staying = min_idle
        self._changed = changed
        self._idle: dict[WorkerProcess, float] = {}
        self._busy: set[WorkerProcess] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._burials: set[asyncio.Task[ExitStatus]] = set()
        self._failures = 0
        self._closed = False
        self.trouble = ""
        """Why the last one did not start."""
        self.ready = Ready()
        """What the last one that started said of itself."""
        self.losses: Counter[ExitReason] = Counter()

    @property
    def alive(self) -> int:
        return len(self._idle) + len(self._busy)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in (*self._idle, *self._busy))

    @property
    def broken(self) -> bool:
        """Whether nobody is there and none could be started for a while."""
        return not self.alive and self._failures >= FAILURES_UNTIL_BROKEN

    async def start(self) -> None:
        """Have those ready that stay. Raises CannotStart."""
        await asyncio.gather(*(self._begin(self._one_more()) for _ in range(self._staying)))

    def acquire(self) -> WorkerProcess | None:
        """One that is ready for a task, if there is."""
        while self._idle:
            process, _ = self._idle.popitem()  # the latest: its caches are warm, and the others may retire
            process.unwatch()
            if process.quiet():
                self._busy.add(process)
                return process
            self.discard(process, ExitReason.KILLED)
        return None

    def want(self, count: int) -> None:
        """So many tasks wait: start as many, if there may be more and they are not on their way."""
        for _ in range(min(count, self._size - self.alive) - len(self._starting)):
            self._replace()

    def release(self, process: WorkerProcess) -> None:
        """It is ready for the next task."""
        self._busy.discard(process)
        self._rest(process)
        self._changed()

    def discard(
        self, process: WorkerProcess, cause: ExitReason | None, *, grace_s: float = 0
    ) -> asyncio.Task[ExitStatus]:
        """Have another one in its place; the task tells how it ended.

        It is killed at once, or after `grace_s` for one that seems to be ending by itself; without a cause, which only
        its end tells, it is for the caller to count it.
        """
        self._idle.pop(process, None)
        self._busy.discard(process)
        if cause is not None:
            self.losses[cause] += 1
        if not self._closed:
            self._replace()
        return self._reap(process, grace_s)

    async def close(self) -> None:
        """Kill them all and wait until nothing is left of them."""
        self._closed = True
        for start in self._starting:
            start.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for process in (*self._idle, *self._busy):
            process.unwatch()
            self._reap(process, 0)
        self._idle.clear()
        self._busy.clear()
        await asyncio.gather(*self._burials)

    # ---------------------------------------------------------------------------------------------- started

    def _replace(self) -> None:
        self._begin(self._one_more_in_time())

    def _begin(self, starting: Coroutine[None, None, None]) -> asyncio.Task[None]:
        start = asyncio.ensure_future(starting)
        self._starting.add(start)
        start.add_done_callback(self._starting.discard)
        return start

    async def _one_more_in_time(self) -> None:
        """Another one; after failures only after a pause: what fails at once would fail a hundred times a second."""
        if self._failures:
            await asyncio.sleep(min(0.05 * 2**self._failures, 5.0))
        try:
            await self._one_more()
        except WorkerStartError as failure:
            log.error("a renderer did not start", why=str(failure))  # noqa: TRY400 - its text says it all, and a trace of ours nothing
            if not self._closed:
                self._replace()
            self._changed()

    async def _one_more(self) -> None:
        """Start one and have it wait for tasks. Raises CannotStart."""
        try:
            process = WorkerProcess(self._terms.command, self._terms.environment, self._terms.most_body_bytes)
        except OSError as error:
            raise self._failed(str(error)) from error
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                self.ready = await process.set_up(self._terms.setup)
        except (WorkerExited, ProtocolError, TimeoutError) as error:
            end = await self._reap(process, 0.2)
            raise self._failed(f"{_why(error)}; {end}: {end.stderr_tail[-1000:]}") from error
        except asyncio.CancelledError:
            self._reap(process, 0)
            raise
        if self.ready.missing and self._terms.setup.sandbox is Sandbox.REQUIRE:
            self._reap(process, 0)
            raise self._failed(f"the sandbox is required, and this system lacks {'; '.join(self.ready.missing)}")
        if self.ready.outdated and self._terms.setup.floor:
            self._reap(process, 0)
            raise self._failed(f"{'; '.join(self.ready.outdated)}: its memory bugs are published")
        self._failures = 0
        self._rest(process)
        self._changed()

    def _failed(self, why: str) -> WorkerStartError:
        self._failures += 1
        self.losses[ExitReason.UNSTARTED] += 1
        self.trouble = why
        return WorkerStartError(why)

    # ---------------------------------------------------------------------------------------------- idle, gone

    def _rest(self, process: WorkerProcess) -> None:
        now = time.monotonic()
        self._idle[process] = now
        process.watch(lambda: self._stirred(process))
        if self._staying < self._size:
            asyncio.get_running_loop().call_later(RETIRES_AFTER_S, self._retire, process, now)

    def _stirred(self, process: WorkerProcess) -> None:
        """One without a task ended, or spoke."""
        process.unwatch()
        log.warning("a renderer ended while it had nothing to do", pid=process.pid)
        self.discard(process, ExitReason.KILLED)

    def _retire(self, process: WorkerProcess, since_s: float) -> None:
        if self._idle.get(process) == since_s and self.alive > self._staying:
            del self._idle[process]
            process.unwatch()
            self._reap(process, 0)

    def _reap(self, process: WorkerProcess, grace_s: float) -> asyncio.Task[ExitStatus]:
        burial = asyncio.ensure_future(process.reap(grace_s))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        return burial


def _why(error: WorkerExited | ProtocolError | TimeoutError) -> str:
    return str(error) or f"not ready within {READY_WITHIN_S:g} s"
