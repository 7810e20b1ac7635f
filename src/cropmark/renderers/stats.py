"""The state of the renderer pool, for /readyz, metrics and the doctor command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cropmark.renderers.group import ExitReason
from cropmark.renderers.tasks import Sandbox
from cropmark.runtime.metrics import Sample


@dataclass(frozen=True, slots=True)
class PoolState:
    """The state of the pool at one moment. Counters are totals since the start of the server."""

    workers: int
    """The most tasks that run in parallel."""
    alive: int
    """The number of worker processes, idle and busy, of all groups."""
    running: int
    queued: int
    queued_ms: float
    """The estimated time of all waiting tasks on one core."""
    rejected: int
    dropped: int
    """The number of tasks that the caller cancelled while they waited."""
    restarts: Mapping[ExitReason, int]
    sandbox: Sandbox
    missing_layers: tuple[str, ...]
    """The layers of the sandbox that this system lacks; empty if the sandbox is off."""
    start_error: str
    """The reason why workers cannot be started; empty if they can."""
    libraries: tuple[str, ...] = ()
    """The name and version of each native library that decodes images."""

    @property
    def sandboxed(self) -> bool:
        return self.sandbox is not Sandbox.OFF and not self.missing_layers

    @property
    def ready(self) -> bool:
        """True if tasks are executed, immediately or as soon as a new worker has started."""
        return self.alive > 0 or not self.start_error

    def samples(self) -> Iterator[Sample]:
        """The values of the renderer and queue metrics."""
        yield "cropmark_renderer_processes", (), self.alive
        yield "cropmark_renderer_tasks_running", (), self.running
        yield "cropmark_queue_tasks", (), self.queued
        yield "cropmark_queue_estimated_work_seconds", (), self.queued_ms / 1000
        yield "cropmark_queue_rejected_total", (), self.rejected
        yield "cropmark_queue_dropped_total", (), self.dropped
        yield "cropmark_sandbox_active", (), self.sandboxed
        for reason in ExitReason:
            yield "cropmark_renderer_restarts_total", (reason.value,), self.restarts.get(reason, 0)
