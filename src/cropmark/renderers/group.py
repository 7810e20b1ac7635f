"""A group of workers for one trust class and one kind of task: starts, replaces and stops them."""

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

START_TIMEOUT_S = 20.0
"""A start takes 0.1 s; on a machine that swaps it can take 100 times as long."""
IDLE_TIMEOUT_S = 60.0
MAX_START_FAILURES = 3


class ExitReason(Enum):
    """The reason why a worker was replaced."""

    CRASH = "crash"
    TIMEOUT = "timeout"
    PROTOCOL_ERROR = "protocol_error"
    KILLED = "killed"
    """By an operator, or by the kernel because memory ran out."""
    RECYCLED = "recycled"
    """It decoded a corrupt source, or has served the one request that it was started for."""
    START_FAILED = "start_failed"


class WorkerStartError(Exception):
    """A worker could not be started. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The command, environment and setup of a group's workers."""

    command: Sequence[str]
    environment: Mapping[str, str]
    setup: Setup
    max_body_bytes: int


class WorkerGroup:
    """Up to `size` workers: `min_idle` from the start, the others on demand until they are idle for IDLE_TIMEOUT_S.

    `on_change` is called when a worker becomes available or a start fails.
    """

    def __init__(self, spec: WorkerSpec, *, size: int, min_idle: int, on_change: Callable[[], None]) -> None:
        self._spec = spec
        self._size = size
        self._min_idle = min_idle
        self._on_change = on_change
        self._idle: dict[WorkerProcess, float] = {}
        self._busy: set[WorkerProcess] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._reaping: set[asyncio.Task[ExitStatus]] = set()
        self._failures = 0
        self._closed = False
        self.start_error = ""
        """The error of the last failed start."""
        self.ready = Ready()
        """The report of the last worker that started."""
        self.exits: Counter[ExitReason] = Counter()

    @property
    def alive(self) -> int:
        return len(self._idle) + len(self._busy)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in (*self._idle, *self._busy))

    @property
    def is_broken(self) -> bool:
        """True if no worker runs and the last starts failed."""
        return not self.alive and self._failures >= MAX_START_FAILURES

    async def start(self) -> None:
        """Start `min_idle` workers. Raises WorkerStartError."""
        await asyncio.gather(*(self._track(self._start_worker()) for _ in range(self._min_idle)))

    def acquire(self) -> WorkerProcess | None:
        """An idle worker, now reserved for the caller; None if all are busy."""
        while self._idle:
            process, _ = self._idle.popitem()  # the most recent: its caches are warm, and the others can time out
            process.unwatch()
            if process.is_idle():
                self._busy.add(process)
                return process
            self.discard(process, ExitReason.KILLED)
        return None

    def start_for(self, count: int) -> None:
        """Start workers for `count` waiting tasks, up to `size`. Workers that are starting already count."""
        for _ in range(min(count, self._size - self.alive) - len(self._starting)):
            self._start_replacement()

    def release(self, process: WorkerProcess) -> None:
        """Return a worker that finished its task."""
        self._busy.discard(process)
        self._add_idle(process)
        self._on_change()

    def discard(
        self, process: WorkerProcess, reason: ExitReason | None, *, grace_s: float = 0
    ) -> asyncio.Task[ExitStatus]:
        """Kill and replace a worker; the returned task gives its exit status.

        `grace_s` gives a worker that seems to exit by itself the time to do so. With `reason` None, the reason depends
        on the exit status, and the caller counts it in `exits`.
        """
        self._idle.pop(process, None)
        self._busy.discard(process)
        if reason is not None:
            self.exits[reason] += 1
        if not self._closed:
            self._start_replacement()
        return self._reap(process, grace_s)

    async def close(self) -> None:
        """Kill all workers and wait until every process is gone."""
        self._closed = True
        for start in self._starting:
            start.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for process in (*self._idle, *self._busy):
            process.unwatch()
            self._reap(process, 0)
        self._idle.clear()
        self._busy.clear()
        await asyncio.gather(*self._reaping)

    # ---------------------------------------------------------------------------------------------- starts

    def _start_replacement(self) -> None:
        self._track(self._start_worker_with_backoff())

    def _track(self, starting: Coroutine[None, None, None]) -> asyncio.Task[None]:
        start = asyncio.ensure_future(starting)
        self._starting.add(start)
        start.add_done_callback(self._starting.discard)
        return start

    async def _start_worker_with_backoff(self) -> None:
        """Start a worker, with exponential backoff after failures."""
        if self._failures:
            await asyncio.sleep(min(0.05 * 2**self._failures, 5.0))
        try:
            await self._start_worker()
        except WorkerStartError as failure:
            log.error("a renderer did not start", error=str(failure))  # noqa: TRY400 - the traceback adds nothing to the text
            if not self._closed:
                self._start_replacement()
            self._on_change()

    async def _start_worker(self) -> None:
        """Start a worker and make it available. Raises WorkerStartError."""
        try:
            process = WorkerProcess(self._spec.command, self._spec.environment, self._spec.max_body_bytes)
        except OSError as error:
            raise self._start_failure(str(error)) from error
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                self.ready = await process.set_up(self._spec.setup)
        except (WorkerExited, ProtocolError, TimeoutError) as error:
            end = await self._reap(process, 0.2)
            raise self._start_failure(f"{_message_of(error)}; {end}: {end.stderr_tail[-1000:]}") from error
        except asyncio.CancelledError:
            self._reap(process, 0)
            raise
        if self.ready.missing_layers and self._spec.setup.sandbox is Sandbox.REQUIRE:
            self._reap(process, 0)
            missing = "; ".join(self.ready.missing_layers)
            raise self._start_failure(f"the sandbox is required, and this system lacks {missing}")
        if self.ready.vulnerable_libraries and not self._spec.setup.allow_vulnerable_libraries:
            self._reap(process, 0)
            vulnerable = "; ".join(self.ready.vulnerable_libraries)
            raise self._start_failure(f"{vulnerable}, and has published memory bugs")
        self._failures = 0
        self._add_idle(process)
        self._on_change()

    def _start_failure(self, message: str) -> WorkerStartError:
        self._failures += 1
        self.exits[ExitReason.START_FAILED] += 1
        self.start_error = message
        return WorkerStartError(message)

    # ---------------------------------------------------------------------------------------------- idle workers, exits

    def _add_idle(self, process: WorkerProcess) -> None:
        now = time.monotonic()
        self._idle[process] = now
        process.watch(lambda: self._on_idle_event(process))
        if self._min_idle < self._size:
            asyncio.get_running_loop().call_later(IDLE_TIMEOUT_S, self._stop_if_idle, process, now)

    def _on_idle_event(self, process: WorkerProcess) -> None:
        """Replace a worker that exited or sent data without a task."""
        process.unwatch()
        log.warning("a renderer exited while it was idle", pid=process.pid)
        self.discard(process, ExitReason.KILLED)

    def _stop_if_idle(self, process: WorkerProcess, since_s: float) -> None:
        if self._idle.get(process) == since_s and self.alive > self._min_idle:
            del self._idle[process]
            process.unwatch()
            self._reap(process, 0)

    def _reap(self, process: WorkerProcess, grace_s: float) -> asyncio.Task[ExitStatus]:
        reaping = asyncio.ensure_future(process.reap(grace_s))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)
        return reaping


def _message_of(error: WorkerExited | ProtocolError | TimeoutError) -> str:
    return str(error) or f"not ready within {START_TIMEOUT_S:g} s"
