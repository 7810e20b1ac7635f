"""The renderer pool: executes tasks in worker processes, and returns a result or a Problem for each task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import structlog

from cropmark.analysis.models import Models, ModelUnusable
from cropmark.geometry.findings import Analysis
from cropmark.model.appearance import Appearance
from cropmark.model.formats import Format, Info
from cropmark.model.problems import Overloaded, Problem, Unprocessable
from cropmark.model.values import Box, Pixels
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import AnalysisResult, ImageDifference, OpenSource, Passthrough, Rendered
from cropmark.renderers.cost import CostSource, cost_name
from cropmark.renderers.dispatcher import Dispatcher
from cropmark.renderers.group import ExitReason, WorkerStartError
from cropmark.renderers.pool_config import PoolConfig
from cropmark.renderers.protocol import Failure, NeedsMemory, Reply
from cropmark.renderers.queue import Job
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import (
    MAX_SOURCES,
    Analyze,
    Compare,
    Describe,
    DrawOverlay,
    Inspect,
    Isolation,
    Render,
    Sandbox,
    Task,
    TaskResult,
)
from cropmark.runtime.reads import source_format

log = structlog.get_logger("cropmark.renderers")


_TRIAL = Render(Plan((Resize(Pixels(Fraction(16)), None),), Output((EncodingChoice(Format.JPEG),))))
"""The task of a trial: it decodes the whole source and does little else."""


class Pool:
    """The renderers of the server (ports.Renderers).

    Call start() before the first task, and close() after the last task, in the same event loop.
    """

    def __init__(
        self,
        config: PoolConfig,
        *,
        models: Callable[[], Models] | None = None,
        no_models_reason: str = "content analysis is not installed",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`models` loads the neural networks for the first analysis.

        Without it, analyze() returns `no_models_reason`.
        """
        self._config = config
        self._models = models
        self._no_models_reason = no_models_reason
        self._loaded_models: Models | None = None
        self._dispatcher = Dispatcher(config, clock)

    async def start(self) -> None:
        """Start the workers for trusted sources. Raises WorkerStartError after stopping all workers again."""
        try:
            ready = await self._dispatcher.start()
        except BaseException:
            await self.close()
            raise
        for message in ready.vulnerable_libraries:
            log.warning("a library has published memory bugs", library=message)
        if ready.missing_layers:
            log.warning("renderers run without a complete sandbox", missing="; ".join(ready.missing_layers))

    async def close(self) -> None:
        """Reject waiting tasks, kill all workers, and wait until every process is gone."""
        await self._dispatcher.close()

    def state(self) -> PoolState:
        return self._dispatcher.state()

    def pids(self) -> tuple[int, ...]:
        """The process ids of all workers."""
        return self._dispatcher.pids()

    async def render(
        self,
        sources: Sequence[OpenSource | None],
        plan: Plan,
        analysis: AnalysisResult | None = None,
        *,
        untrusted: bool = False,
        client: str | None = None,
    ) -> Rendered | Passthrough:
        """Render the image with a worker; see ports.Renderers.render()."""
        result = await self._run(Render(plan, analysis), sources, untrusted=untrusted, client=client)
        assert isinstance(result, Rendered | Passthrough)
        return result

    async def inspect(self, source: OpenSource, *, untrusted: bool = False, client: str | None = None) -> Info:
        result = await self._run(Inspect(), [source], untrusted=untrusted, client=client)
        assert isinstance(result, Info)
        return result

    async def describe(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> Appearance:
        """The colors and placeholders of the source, from a worker; see ports.Renderers.describe()."""
        result = await self._run(Describe(plan), [source], untrusted=untrusted, client=client)
        assert isinstance(result, Appearance)
        return result

    async def draw(
        self, source: OpenSource, analysis: Analysis, window: Box | None, *, untrusted: bool = False
    ) -> Rendered:
        """A PNG of the source that shows the analysis, drawn by a worker; see ports.Renderers.draw()."""
        result = await self._run(DrawOverlay(analysis, window), [source], untrusted=untrusted)
        assert isinstance(result, Rendered)
        return result

    async def compare(self, one: OpenSource, two: OpenSource) -> ImageDifference:
        """The difference between the pixels of two untrusted images.

        Raises SourceUnusable, SourceTooLarge, Overloaded.
        """
        result = await self._run(Compare(), [one, two], untrusted=True)
        assert isinstance(result, ImageDifference)
        return result

    async def analyze(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        try:
            self._loaded_models = self._loaded_models or (self._models and self._models())
        except ModelUnusable as error:
            return AnalysisResult(None, str(error), transient=True)
        if self._loaded_models is None:
            return AnalysisResult(None, self._no_models_reason)
        result = await self._run(Analyze(plan, self._loaded_models), [source], untrusted=untrusted, client=client)
        assert isinstance(result, AnalysisResult)
        return result

    async def _run(
        self,
        task: Task,
        sources: Sequence[OpenSource | None],
        *,
        untrusted: bool = False,
        client: str | None = None,
    ) -> TaskResult:
        """Queue the task and wait for its result. Raises the Problems of ports.Renderers."""
        if len(sources) > MAX_SOURCES:
            raise Unprocessable(f"{len(sources)} images in one request; at most {MAX_SOURCES} can be combined")
        for suspect in self._suspects(sources):
            await self._try(suspect, untrusted=untrusted, client=client)
        return await self._submit(self._job(task, sources, untrusted=untrusted, client=client))

    def _suspects(self, sources: Sequence[OpenSource | None]) -> list[OpenSource]:
        """The sources that need a trial before the task, without duplicates."""
        by_version = {source.version: source for source in sources if source is not None}
        return [by_version[version] for version in self._dispatcher.quarantine.suspects(list(by_version))]

    async def _try(self, source: OpenSource, *, untrusted: bool, client: str | None) -> None:
        """Execute the trial of a suspect source: render a thumbnail of it alone.

        Raises SourceUnusable or Overloaded if the trial ends the renderer.
        """
        job = self._job(_TRIAL, [source], untrusted=untrusted, client=client)
        job.is_trial = True
        quarantine = self._dispatcher.quarantine
        try:
            await self._submit(job)
        except Problem as problem:
            if isinstance(problem, Overloaded) or quarantine.is_condemned(source.version):
                raise
            # Any other Problem means that the decoder rejected the source and survived.
        quarantine.acquit(source.version)

    def _job(self, task: Task, sources: Sequence[OpenSource | None], *, untrusted: bool, client: str | None) -> Job:
        known = [
            None if source is None else CostSource(cost_name(source), source.bytes, _format(source))
            for source in sources
        ]
        estimate = self._dispatcher.costs.estimate(task, known)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        deadline_s = self._config.deadline_s
        return Job(
            task, tuple(sources), untrusted, estimate, client, reply, deadline_s, self._dispatcher.first_grant(estimate)
        )

    async def _submit(self, job: Job) -> TaskResult:
        """Queue the job and wait for its result. Raises Problems."""
        self._dispatcher.submit(job)
        reply = await job.reply
        if isinstance(reply.result, Failure):
            raise reply.result.problem
        assert not isinstance(reply.result, NeedsMemory), "the dispatcher starts such a job again"
        return reply.result


def _format(source: OpenSource) -> Format | None:
    try:
        return source_format(source)
    except OSError:
        return None


__all__ = ["ExitReason", "Isolation", "Pool", "PoolConfig", "PoolState", "Sandbox", "WorkerStartError"]
