"""What the renderers are doing, for /readyz, metrics and the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cropmark.renderers.group import ExitReason
from cropmark.renderers.tasks import Sandbox


@dataclass(frozen=True, slots=True)
class PoolState:
    """A moment of the pool."""

    renderers: int
    """How many may work at once."""
    alive: int
    """Of all trust classes and trades."""
    running: int
    queued: int
    queued_ms: float
    """Estimated work of all that wait, on one core."""
    refused: int
    dropped: int
    """Tasks that nobody waited for any more when their turn came."""
    restarts: Mapping[ExitReason, int]
    sandbox: Sandbox
    missing: tuple[str, ...]
    """The walls that this system has not; empty also where none was asked for."""
    trouble: str
    """Why no renderer can be started; empty where one can."""
    libraries: tuple[str, ...] = ()
    """Name and version of the native libraries that decode."""

    @property
    def sandboxed(self) -> bool:
        return self.sandbox is not Sandbox.OFF and not self.missing

    @property
    def ready(self) -> bool:
        """Whether tasks are carried out, if only as soon as a renderer that is being replaced has started."""
        return self.alive > 0 or not self.trouble

    def rows(self) -> Iterator[tuple[str, str, dict[str, str], float]]:
        """As metrics.Reading wants them: name, help, labels, value."""
        yield "cropmark_renderers", "Renderer processes ready or at work.", {}, self.alive
        yield "cropmark_renderers_running", "Tasks at work.", {}, self.running
        yield "cropmark_queue_tasks", "Tasks that wait for a renderer.", {}, self.queued
        yield "cropmark_queue_seconds", "Estimated work that waits, on one core.", {}, self.queued_ms / 1000
        yield "cropmark_queue_refused_total", "Tasks refused because the queue was full.", {}, self.refused
        yield "cropmark_queue_dropped_total", "Tasks dropped because nobody waited any more.", {}, self.dropped
        yield "cropmark_sandboxed", "1 where every wall of the sandbox stands.", {}, self.sandboxed
        about = "Renderers replaced, by cause."
        for cause in ExitReason:
            yield "cropmark_renderer_restarts_total", about, {"cause": cause.value}, self.restarts.get(cause, 0)
