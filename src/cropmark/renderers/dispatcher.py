"""Assigns queued jobs to workers, oldest first, and handles the end of a worker.

Rules: a job starts only if fewer than `workers` jobs run. Trusted and untrusted sources never share a worker, nor do
rendering and analysis. A worker that times out, crashes or violates the protocol is replaced, and its job fails with a
Problem; no other job notices. The quarantine counts it, unless the worker's end says nothing about the job. A failure
of our own code is an InternalError, and the quarantine does not count it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from cropmark.model.formats import Info
from cropmark.model.problems import InternalError, Overloaded, Problem, SourceUnusable
from cropmark.ports import Passthrough, Rendered
from cropmark.renderers.cost import CostModel, cost_name
from cropmark.renderers.group import ExitReason, WorkerGroup, WorkerSpec
from cropmark.renderers.pool_config import PoolConfig
from cropmark.renderers.process import ExitStatus, ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Failure, Ready, Reply
from cropmark.renderers.quarantine import Quarantine
from cropmark.renderers.queue import Job, Queue
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import EXIT_OWN_FAULT, Analyze, Isolation, Message, Render, Setup, Task
from cropmark.renderers.transport import UNSERIALIZABLE

log = structlog.get_logger("cropmark.renderers")

UNSAFE = "the image could not be decoded safely"


class Dispatcher:
    """Owns the queue and the workers of a Pool."""

    def __init__(self, config: PoolConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._queue = Queue(8 * config.workers if config.queue_limit is None else config.queue_limit, config.workers)
        self.costs = CostModel()
        self.quarantine = Quarantine(clock)
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        setup = Setup(
            config.sandbox,
            memory_bytes=config.memory_bytes,
            allow_vulnerable_libraries=config.allow_vulnerable_libraries,
            cmyk=config.cmyk,
        )
        spec = WorkerSpec(config.command, config.environment, setup, config.max_body_bytes)
        analysis_spec = replace(spec, setup=replace(setup, with_analysis=True))
        group = partial(WorkerGroup, on_change=self._dispatch)
        analysis_size = max(1, config.workers // 2)
        # Analysis has its own workers: the networks' runtime takes 200 MB and 0.2 s to load.
        self._groups = {
            # (untrusted, analysis)
            (False, False): group(spec, size=config.workers, min_idle=config.workers),
            (True, False): group(spec, size=config.workers, min_idle=0),
            (False, True): group(analysis_spec, size=analysis_size, min_idle=0),
            (True, True): group(analysis_spec, size=analysis_size, min_idle=0),
        }

    async def start(self) -> Ready:
        """Start the workers for trusted sources; returns the report of the last one. Raises WorkerStartError."""
        await self._groups[False, False].start()
        return self._groups[False, False].ready

    async def close(self) -> None:
        """Reject waiting jobs, kill all workers, and wait until every process is gone."""
        self._closed = True
        for job in self._queue:
            job.fail(_stopping())
        for run in self._running:
            run.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(group.close() for group in self._groups.values()))

    def state(self) -> PoolState:
        restarts: Counter[ExitReason] = Counter()
        for group in self._groups.values():
            restarts.update(group.exits)
        trusted = self._groups[False, False]
        return PoolState(
            workers=self._config.workers,
            alive=sum(group.alive for group in self._groups.values()),
            running=len(self._running),
            queued=len(self._queue),
            queued_ms=self._queue.work_ms,
            rejected=self._queue.rejected,
            dropped=self._queue.dropped,
            restarts=restarts,
            sandbox=self._config.sandbox,
            missing_layers=trusted.ready.missing_layers,
            libraries=trusted.ready.libraries,
            start_error=trusted.start_error if trusted.is_broken else "",
        )

    def pids(self) -> tuple[int, ...]:
        """Process ids of all workers."""
        return tuple(pid for group in self._groups.values() for pid in group.pids)

    def submit(self, job: Job) -> None:
        """Queue the job. Raises Overloaded, or SourceUnusable if its sources are in quarantine."""
        if self._closed:
            raise _stopping()
        self.quarantine.check(job.versions, job.work)
        self._queue.put(job)
        self._dispatch()

    # -------------------------------------------------------------------------------------------- start of a job

    def _dispatch(self) -> None:
        """Start every job that can start, oldest first, up to the number of workers."""
        waiting: Counter[WorkerGroup] = Counter()
        for job in self._queue:
            if len(self._running) >= self._config.workers or self._closed:
                return
            self._reject_if_quarantined(job)
            group = self._groups[job.untrusted, isinstance(job.task, Analyze)]
            if group.is_broken:
                job.fail(Overloaded("no renderer can be started at the moment", fix="try again", retry_after_s=2))
            while not job.reply.done() and (worker := group.acquire()) is not None:
                if self._start(job, group, worker):
                    break
            else:
                waiting[group] += not job.reply.done()
                group.start_for(waiting[group])

    def _reject_if_quarantined(self, job: Job) -> None:
        """Fail a job if its sources or its work were put in quarantine while it waited."""
        try:
            self.quarantine.check(job.versions, job.work)
        except Problem as problem:
            job.fail(problem)

    def _start(self, job: Job, group: WorkerGroup, worker: WorkerProcess) -> bool:
        """Send the job to the worker. False if the worker is gone and another one should be tried."""
        timeout_s = self._timeout_s(job.task)
        lengths = tuple(None if source is None else source.bytes for source in job.sources)
        message = Message(self._task_for(job, worker), lengths)
        try:
            rest = worker.send_task(message, [source.descriptor for source in job.present], timeout_s)
            worker.has_models |= isinstance(job.task, Analyze)
        except WorkerExited:
            group.discard(worker, ExitReason.KILLED)
            return False
        except (OSError, *UNSERIALIZABLE):
            log.exception("a task could not be sent to a renderer")
            job.fail(InternalError("the task could not be sent to a renderer"))
            group.release(worker)
            return True
        self._queue.remove(job)
        run = asyncio.ensure_future(self._run(job, group, worker, rest))
        self._running.add(run)
        run.add_done_callback(self._on_run_done)
        return True

    def _timeout_s(self, task: Task) -> float:
        return self._config.analysis_timeout_s if isinstance(task, Analyze) else self._config.timeout_s

    def _task_for(self, job: Job, worker: WorkerProcess) -> Task:
        """The task as this worker receives it: at low effort under load, and with the models only once."""
        match job.task:
            case Render() as task:
                return replace(task, low_effort=self._queue.is_half_full_without(job))
            case Analyze(plan) if worker.has_models:
                return Analyze(plan)
            case task:
                return task

    # -------------------------------------------------------------------------------------------- end of a job

    async def _run(self, job: Job, group: WorkerGroup, worker: WorkerProcess, rest: bytes) -> None:
        """Wait for the reply. Raises nothing for a failed worker: the job fails with a Problem."""
        began_s = time.perf_counter()
        timeout_s = self._timeout_s(job.task)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await worker.receive_reply(job.task, rest)
        except TimeoutError:
            group.discard(worker, ExitReason.TIMEOUT)
            problem = _timeout_problem(job.task, timeout_s)
            self._fail(job, ExitReason.TIMEOUT, problem, f"took longer than {timeout_s:g} s")
        except ProtocolError as error:
            group.discard(worker, ExitReason.PROTOCOL_ERROR)
            self._fail(job, ExitReason.PROTOCOL_ERROR, SourceUnusable(UNSAFE), f"invalid reply: {error}")
        except WorkerExited:
            group.exits[self._exited(job, await group.discard(worker, None, grace_s=0.2))] += 1
        except asyncio.CancelledError:
            job.fail(_stopping())
            raise
        else:
            self.costs.record(job.cost_key, (time.perf_counter() - began_s) * 1000)
            self._learn_header(job, reply)
            self._finish(job, group, worker, reply)
            job.finish(reply, queued_ms=(began_s - job.queued_at_s) * 1000)

    def _learn_header(self, job: Job, reply: Reply) -> None:
        result = reply.result
        info = result.facts.source if isinstance(result, Rendered | Passthrough) else result
        if isinstance(info, Info) and job.sources[0] is not None:
            self.costs.record_header(cost_name(job.sources[0]), info)

    def _finish(self, job: Job, group: WorkerGroup, worker: WorkerProcess, reply: Reply) -> None:
        """Release the worker for the next job, or replace it."""
        single_use = job.untrusted and self._config.isolation is Isolation.REQUEST
        if reply.recycle or single_use:
            group.discard(worker, ExitReason.RECYCLED)
        else:
            group.release(worker)
        if isinstance(reply.result, Failure) and reply.result.log:
            log.error("a renderer failed", sources=job.name, trace=reply.result.log)

    def _on_run_done(self, run: asyncio.Task[None]) -> None:
        self._running.discard(run)
        self._dispatch()

    def _exited(self, job: Job, status: ExitStatus) -> ExitReason:
        """Fail the job of a worker that exited or was killed; returns the reason."""
        if status.code == EXIT_OWN_FAULT and not status.by_pool:
            log.error("a renderer failed", sources=job.name, trace=status.stderr_tail)
            job.fail(InternalError("the renderer failed"))
            return ExitReason.CRASH
        match status.signal:
            case signal.SIGKILL:
                # Not counted against the source: an operator kills, or the kernel when all processes take too much.
                job.fail(Overloaded("the renderer was killed by another process", fix="try again", retry_after_s=1))
                log.warning("a renderer was killed by another process", sources=job.name)
                return ExitReason.KILLED
            case signal.SIGXCPU:
                problem = _timeout_problem(job.task, self._timeout_s(job.task))
                self._fail(job, ExitReason.TIMEOUT, problem, "used up its CPU time")
                return ExitReason.TIMEOUT
            case _:
                self._fail(job, ExitReason.CRASH, SourceUnusable(UNSAFE), f"{status}: {status.stderr_tail[-1000:]}")
                return ExitReason.CRASH

    def _fail(self, job: Job, reason: ExitReason, problem: Problem, details: str) -> None:
        timed_out = reason is ExitReason.TIMEOUT
        if job.is_trial:
            self.quarantine.condemn(*job.versions)
        elif not (timed_out and isinstance(job.task, Analyze)):
            # On a busy machine any analysis may time out. A source that hangs the decoder also hangs the next render.
            self.quarantine.record(job.versions, job.work, timed_out=timed_out)
        log.warning("a renderer was replaced", cause=reason.value, sources=job.name, details=details)
        job.fail(problem)


def _timeout_problem(task: Task, timeout_s: float) -> Problem:
    action, fix = "rendered", "request a smaller rendition or fewer operations"
    if not isinstance(task, Render):
        action, fix = "read", "try again, or use a smaller image"
    return Overloaded(f"the image was not {action} within {timeout_s:g} s", fix=fix, retry_after_s=10)


def _stopping() -> Problem:
    return Overloaded("the renderers are stopping", fix="try again", retry_after_s=1)
