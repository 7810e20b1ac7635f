"""A group of workers, which starts, replaces and stops them.

It serves trusted or untrusted sources, and one kind of task.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum

import structlog

from cropmark.renderers.process import ExitStatus, ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Ready
from cropmark.renderers.starters import START_TIMEOUT_S, Starter
from cropmark.renderers.tasks import Sandbox, Setup
from cropmark.runtime import cgroups

log = structlog.get_logger("cropmark.renderers")

IDLE_TIMEOUT_S = 60.0
MAX_START_FAILURES = 3
START_BYTES, ANALYSIS_START_BYTES = 25_000_000, 62_000_000
"""The memory of a new worker without the pages that it shares with other processes.

A higher measured value replaces it.
"""


class ExitReason(Enum):
    """The reason why a worker was replaced."""

    CRASH = "crash"
    TIMEOUT = "timeout"
    PROTOCOL_ERROR = "protocol_error"
    KILLED = "killed"
    """An operator killed the worker, or the worker exited while it was idle."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed the worker, because memory ran out."""
    RECYCLED = "recycled"
    """The worker decoded a corrupt source, or has served the only request that it was started for."""
    START_FAILED = "start_failed"


class WorkerStartError(Exception):
    """A worker could not be started. The text is meant for the operator."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The properties that all workers of a group share."""

    starter: Starter
    setup: Setup
    max_body_bytes: int


class WorkerGroup:
    """Starts, replaces and stops up to `size` workers.

    start() starts `min_idle` workers; others are started on demand. While more than `min_idle` run, a worker stops
    after IDLE_TIMEOUT_S without a task.

    `on_change` is called when a worker becomes available or a start fails. `measures_memory` must be True if
    `idle_bytes` is used.
    """

    def __init__(
        self, spec: WorkerSpec, *, size: int, min_idle: int, on_change: Callable[[], None], measures_memory: bool
    ) -> None:
        self._spec = spec
        self._size = size
        self._min_idle = min_idle
        self._on_change = on_change
        self._measures_memory = measures_memory
        self._idle: dict[WorkerProcess, float] = {}
        self._busy: set[WorkerProcess] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._reaping: set[asyncio.Task[ExitStatus]] = set()
        self._failures = 0
        self._closed = False
        self.start_error = ""
        """The error of the last failed start."""
        self.ready = Ready()
        """The first reply of the worker that started last."""
        self.exits: Counter[ExitReason] = Counter()

    @property
    def alive(self) -> int:
        return len(self._idle) + len(self._busy)

    @property
    def has_idle(self) -> bool:
        return bool(self._idle)

    @property
    def start_bytes(self) -> int:
        """The memory that one more idle worker takes, if its cache of frames is full."""
        setup = self._spec.setup
        return setup.frame_cache_bytes + (ANALYSIS_START_BYTES if setup.with_analysis else START_BYTES)

    @property
    def idle_bytes(self) -> int:
        """The memory that all workers of the group take without the memory of their tasks."""
        measured = (cgroups.own_memory(process.pid) for process in self._idle)
        known = (process.idle_bytes for process in self._busy)
        workers = sum(max(each, self.start_bytes) for each in (*measured, *known))
        return workers + len(self._starting) * self.start_bytes

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in (*self._idle, *self._busy))

    @property
    def is_broken(self) -> bool:
        """True if no worker runs, and the last MAX_START_FAILURES starts failed."""
        return not self.alive and self._failures >= MAX_START_FAILURES

    async def start(self) -> None:
        """Start `min_idle` workers. Raises WorkerStartError."""
        await asyncio.gather(*(self._track(self._start_worker()) for _ in range(self._min_idle)))

    @property
    def idle_names(self) -> frozenset[str]:
        """The names of the sources of which idle workers may have cached frames."""
        return frozenset(process.cached_name for process in self._idle if process.cached_name is not None)

    def acquire(self, cached_name: str | None = None) -> WorkerProcess | None:
        """An idle worker, reserved for the caller; None if all workers are busy.

        A worker that may have cached frames of the source `cached_name` is preferred.
        """
        while self._idle:
            # Or the most recently used worker: its caches are warm, and the others can stop after IDLE_TIMEOUT_S.
            recent = tuple(reversed(self._idle))
            process = next((each for each in recent if cached_name and each.cached_name == cached_name), recent[0])
            del self._idle[process]
            process.unwatch()
            if process.is_idle():
                if self._measures_memory:
                    process.idle_bytes = cgroups.own_memory(process.pid)
                self._busy.add(process)
                return process
            self.discard(process, ExitReason.KILLED)
        return None

    def stop_idle(self, keep: int = 0) -> None:
        """Stop the idle workers to free memory, except `keep` of them. New workers are started on demand."""
        for process in tuple(self._idle)[: len(self._idle) - keep]:
            del self._idle[process]
            process.unwatch()
            self._reap(process, 0)

    def start_for(self, count: int) -> None:
        """Start workers until `count` are starting, one for each waiting task, but at most `size` in all."""
        for _ in range(min(count, self._size - self.alive) - len(self._starting)):
            self._start_replacement()

    def release(self, process: WorkerProcess) -> None:
        """Make a worker idle again after its task; no effect after close()."""
        if process in self._busy:
            self._busy.remove(process)
            self._add_idle(process)
            self._on_change()

    def discard(
        self, process: WorkerProcess, reason: ExitReason | None, *, grace_s: float = 0
    ) -> asyncio.Task[ExitStatus]:
        """Kill and replace a worker; the returned task gives its exit status.

        The worker is killed only if it has not exited by itself within `grace_s`. `reason` is counted in `exits`. If
        `reason` is missing, the caller finds the reason in the exit status and counts it.
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
        """Start a worker, after a delay that grows with each failed start."""
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
            process = await WorkerProcess.start(self._spec.starter, self._spec.max_body_bytes)
        except OSError as error:
            raise self._start_failure(": ".join((str(error), *getattr(error, "__notes__", ())))[-1000:]) from error
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
        """Replace an idle worker that has exited, or has sent data although it has no task."""
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
