"""The renderers as the front sees them: tasks go in, answers come out, whatever becomes of a process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog

from cropmark.analysis.models import Models, ModelUnusable
from cropmark.geometry.findings import Analysis
from cropmark.model.formats import Format, Info, sniffed
from cropmark.model.problems import InternalError, Overloaded, Problem, SourceUnusable, Unprocessable
from cropmark.model.values import Box
from cropmark.plan.plan import Plan
from cropmark.ports import AnalysisResult, ImageDifference, OpenSource, Passthrough, Rendered
from cropmark.renderers.cost import CostModel
from cropmark.renderers.group import ExitReason, WorkerGroup, WorkerSpec, WorkerStartError
from cropmark.renderers.process import COMMAND, ENVIRONMENT, ExitStatus, ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Failure, Reply
from cropmark.renderers.quarantine import Quarantine
from cropmark.renderers.queue import Job, Queue
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import (
    MOST_SOURCES,
    Analyze,
    Answer,
    Compare,
    DrawOverlay,
    Inspect,
    Isolation,
    Message,
    Render,
    Sandbox,
    Setup,
    Task,
)

log = structlog.get_logger("cropmark.renderers")

UNSAFE = "the picture could not be decoded safely"


class Pool:
    """Implements ports.Renderers. start() before the first task, close() after the last; all in one event loop."""

    def __init__(
        self,
        count: int,
        *,
        deadline_s: float = 10.0,
        analysis_deadline_s: float = 3.0,
        queue_limit: int | None = None,
        sandbox: Sandbox = Sandbox.TRY,
        isolation: Isolation = Isolation.SHARED,
        models: Callable[[], Models] | None = None,
        no_models: str = "content analysis is not installed",
        floor: bool = True,
        memory_bytes: int = 2 * 2**30,
        most_body_bytes: int = 256 * 2**20,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] = ENVIRONMENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queue_limit` None: eight for each renderer. `models` None: no content is analyzed; `no_models` says why.

        `floor` refuses to start on libraries with published memory bugs; without it they are warned of.
        """
        self._count = count
        self._deadline_s = deadline_s
        self._analysis_deadline_s = analysis_deadline_s
        self._isolation = isolation
        self._sandbox = sandbox
        self._models = models
        self._no_models = no_models
        self._networks: Models | None = None
        self._queue = Queue(8 * count if queue_limit is None else queue_limit, count)
        self._costs = CostModel()
        self._blame = Quarantine(clock)
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        setup = Setup(sandbox, memory_bytes=memory_bytes, floor=floor)
        terms = WorkerSpec(command, environment, setup, most_body_bytes)
        analysts = replace(terms, setup=replace(setup, analyst=True))
        crew = partial(WorkerGroup, changed=self._dispatch)
        # Who analyses is apart from who renders: the networks' runtime takes 200 MB and a fifth of a second to load.
        self._crews = {
            # foreign, analyst
            (False, False): crew(terms, size=count, min_idle=count),
            (True, False): crew(terms, size=count, min_idle=0),
            (False, True): crew(analysts, size=max(1, count // 2), min_idle=0),
            (True, True): crew(analysts, size=max(1, count // 2), min_idle=0),
        }

    async def start(self) -> None:
        """Have the renderers for a site's own files ready. Raises CannotStart; nothing is left of them then."""
        try:
            await self._crews[False, False].start()
        except BaseException:
            await self.close()
            raise
        for old in self._crews[False, False].ready.outdated:
            log.warning("a library has published memory bugs", which=old)
        if missing := self._crews[False, False].ready.missing:
            log.warning("renderers work without a whole sandbox", missing="; ".join(missing))

    async def close(self) -> None:
        """Refuse what waits, kill all renderers, and wait until nothing is left of them."""
        self._closed = True
        for job in self._queue:
            job.refuse(_stopping())
        for run in self._running:
            run.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(crew.close() for crew in self._crews.values()))

    def state(self) -> PoolState:
        restarts: Counter[ExitReason] = Counter()
        for crew in self._crews.values():
            restarts.update(crew.losses)
        own = self._crews[False, False]
        return PoolState(
            renderers=self._count,
            alive=sum(crew.alive for crew in self._crews.values()),
            running=len(self._running),
            queued=len(self._queue),
            queued_ms=self._queue.work_ms,
            refused=self._queue.refused,
            dropped=self._queue.dropped,
            restarts=restarts,
            sandbox=self._sandbox,
            missing=own.ready.missing,
            libraries=own.ready.versions,
            trouble=own.trouble if own.broken else "",
        )

    def pids(self) -> tuple[int, ...]:
        """Of all renderers there are now."""
        return tuple(pid for crew in self._crews.values() for pid in crew.pids)

    # -------------------------------------------------------------------------------------------- asked

    async def render(
        self,
        sources: Sequence[OpenSource | None],
        plan: Plan,
        analyzed: AnalysisResult | None = None,
        *,
        foreign: bool = False,
        client: str | None = None,
    ) -> Rendered | Passthrough:
        """ports.Renderers.render; `client` is whoever asks, for fair shares of a full queue."""
        told = await self._answer(Render(plan, analyzed), sources, foreign=foreign, client=client)
        assert isinstance(told, Rendered | Passthrough)
        return told

    async def inspect(self, source: OpenSource, *, foreign: bool = False, client: str | None = None) -> Info:
        told = await self._answer(Inspect(), [source], foreign=foreign, client=client)
        assert isinstance(told, Info)
        return told

    async def draw(self, source: OpenSource, analysis: Analysis, window: Box | None) -> Rendered:
        """ports.Renderers.draw."""
        told = await self._answer(DrawOverlay(analysis, window), [source], foreign=False, client=None)
        assert isinstance(told, Rendered)
        return told

    async def compare(self, one: OpenSource, two: OpenSource) -> ImageDifference:
        """How far two pictures differ; both may be anybody's. Raises SourceUnusable, SourceTooLarge, Overloaded."""
        told = await self._answer(Compare(), [one, two], foreign=True, client=None)
        assert isinstance(told, ImageDifference)
        return told

    async def analyze(self, source: OpenSource, *, foreign: bool = False, client: str | None = None) -> AnalysisResult:
        try:
            self._networks = self._networks or (self._models and self._models())
        except ModelUnusable as error:
            return AnalysisResult(None, str(error), transient=True)
        if self._networks is None:
            return AnalysisResult(None, self._no_models)
        told = await self._answer(Analyze(), [source], foreign=foreign, client=client)
        assert isinstance(told, AnalysisResult)
        return told

    async def _answer(
        self, task: Task, sources: Sequence[OpenSource | None], *, foreign: bool, client: str | None
    ) -> Answer:
        """Wait for the answer. Raises the Problems of ports.Renderers."""
        job = self._job(task, sources, foreign=foreign, client=client)
        self._blame.check(job.stamps)
        self._queue.enter(job)
        self._dispatch()
        told = await job.answer
        if isinstance(told.answer, Failure):
            raise told.answer.problem
        return told.answer

    def _job(self, task: Task, sources: Sequence[OpenSource | None], *, foreign: bool, client: str | None) -> Job:
        if self._closed:
            raise _stopping()
        if len(sources) > MOST_SOURCES:
            raise Unprocessable(f"{len(sources)} pictures at once; at most {MOST_SOURCES} can be put together")
        known = [(f"{s.stamp.identity} {s.stamp.version}", s.bytes, _format(s)) for s in sources if s is not None]
        sort, cost_ms = self._costs.guess_ms(task, known)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        return Job(task, tuple(sources), foreign, sort, cost_ms, client, answer)

    # -------------------------------------------------------------------------------------------- run

    def _dispatch(self) -> None:
        """Begin what can begin: the oldest first, as many at once as there are cores to use."""
        waiting: Counter[WorkerGroup] = Counter()
        for job in self._queue:
            if len(self._running) >= self._count or self._closed:
                return
            crew = self._crews[job.foreign, isinstance(job.task, Analyze)]
            if crew.broken:
                job.refuse(Overloaded("no renderer can be started just now", fix="try again", retry_after_s=2))
            while not job.answer.done() and (process := crew.acquire()) is not None:
                if self._begun(job, crew, process):
                    break
            else:
                waiting[crew] += not job.answer.done()
                crew.want(waiting[crew])

    def _begun(self, job: Job, crew: WorkerGroup, process: WorkerProcess) -> bool:
        """Whether the process has the task now; else it is another one's turn, or the job is done for."""
        deadline_s = self._deadline_of(job.task)
        lengths = tuple(None if source is None else source.bytes for source in job.sources)
        message = Message(self._task(job, process), lengths)
        try:
            rest = process.ask(message, [source.descriptor for source in job.present], deadline_s)
            process.knows_models |= isinstance(job.task, Analyze)
        except WorkerExited:
            crew.discard(process, ExitReason.KILLED)
            return False
        except OSError:
            log.exception("a source could not be handed over")
            job.refuse(InternalError("the source could not be handed to a renderer"))
            crew.release(process)
            return True
        self._queue.leave(job)
        run = asyncio.ensure_future(self._run(job, crew, process, rest, deadline_s))
        self._running.add(run)
        run.add_done_callback(self._ran)
        return True

    def _deadline_of(self, task: Task) -> float:
        return self._analysis_deadline_s if isinstance(task, Analyze) else self._deadline_s

    def _task(self, job: Job, process: WorkerProcess) -> Task:
        """The task as this renderer gets it."""
        match job.task:
            case Render() as task:
                return replace(task, low_effort=self._queue.half_full_besides(job))
            case Analyze() if not process.knows_models:
                return Analyze(self._networks)
            case task:
                return task

    async def _run(self, job: Job, crew: WorkerGroup, process: WorkerProcess, rest: bytes, deadline_s: float) -> None:
        """See a task through: nothing that becomes of the process is raised, all of it is told to the job."""
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                told = await process.told(job.task, rest)
        except TimeoutError:
            crew.discard(process, ExitReason.DEADLINE)
            problem = _too_long(job.task, deadline_s)
            self._brought_down(job, ExitReason.DEADLINE, problem, f"took longer than {deadline_s:g} s")
        except ProtocolError as error:
            crew.discard(process, ExitReason.OUT_OF_FORM)
            self._brought_down(job, ExitReason.OUT_OF_FORM, SourceUnusable(UNSAFE), f"answered out of form: {error}")
        except WorkerExited:
            cause = self._died(job, await crew.discard(process, None, grace_s=0.2))
            crew.losses[cause] += 1
        except asyncio.CancelledError:
            job.refuse(_stopping())
            raise
        else:
            took_ms = (time.perf_counter() - began_s) * 1000
            self._costs.learn(job.sort, took_ms)
            if told.spent or self._single_use(job):
                crew.discard(process, ExitReason.SPENT)
            else:
                crew.release(process)
            if isinstance(told.answer, Failure) and told.answer.log:
                log.error("a renderer failed", sources=job.name, trace=told.answer.log)
            job.tell(told, queued_ms=(began_s - job.entered_s) * 1000)

    def _ran(self, run: asyncio.Task[None]) -> None:
        self._running.discard(run)
        self._dispatch()

    def _single_use(self, job: Job) -> bool:
        return job.foreign and self._isolation is Isolation.REQUEST

    def _died(self, job: Job, end: ExitStatus) -> ExitReason:
        """The process ended by itself, or was killed: tell the job, and why."""
        match end.signal:
            case signal.SIGKILL:
                # Not held against the source: an operator does this, and the kernel where all together take too much.
                job.refuse(Overloaded("the renderer was stopped from outside", fix="try again", retry_after_s=1))
                log.warning("a renderer was killed from outside", sources=job.name)
                return ExitReason.KILLED
            case signal.SIGXCPU:
                problem = _too_long(job.task, self._deadline_of(job.task))
                self._brought_down(job, ExitReason.DEADLINE, problem, "used up its CPU time")
                return ExitReason.DEADLINE
            case _:
                self._brought_down(job, ExitReason.CRASH, SourceUnusable(UNSAFE), f"{end}: {end.stderr_tail[-1000:]}")
                return ExitReason.CRASH

    def _brought_down(self, job: Job, cause: ExitReason, problem: Problem, how: str) -> None:
        if cause is not ExitReason.DEADLINE or not self._is_dear(job):
            self._blame.record(job.stamps)
        log.warning("a renderer was lost", cause=cause.value, sources=job.name, how=how)
        job.refuse(problem)

    def _is_dear(self, job: Job) -> bool:
        """Whether what was asked for was to take half of the time there is: its delay tells nothing of the picture.

        Else whoever asks twice for the largest results there are gets somebody's picture refused for everybody. An
        analysis is dear whatever the picture, and a busy machine brings it past its deadline; one that hangs its
        decoder is met again in the render that follows.
        """
        match job.task:
            case Analyze():
                return True
            case Render():
                return job.cost_ms >= self._deadline_s * 1000 / 2
            case _:
                return False


def _format(source: OpenSource) -> Format | None:
    try:
        return sniffed(os.pread(source.descriptor, 64, 0))
    except OSError:
        return None


def _too_long(task: Task, deadline_s: float) -> Problem:
    what, fix = "made", "ask for a smaller one, or less of it"
    if not isinstance(task, Render):
        what, fix = "looked at", "try again, or with a smaller one"
    return Overloaded(f"the picture was not {what} within {deadline_s:g} s", fix=fix, retry_after_s=10)


def _stopping() -> Problem:
    return Overloaded("the renderers are stopping", fix="try again", retry_after_s=1)


__all__ = ["ExitReason", "Isolation", "Pool", "PoolState", "Sandbox", "WorkerStartError"]
