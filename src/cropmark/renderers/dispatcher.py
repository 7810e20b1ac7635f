"""Assigns queued jobs to workers, oldest first, and handles the end of a worker.

Rules:

- At most `workers` jobs run.
- Trusted and untrusted sources never share a worker, nor do rendering and analysis.
- A worker that times out, crashes or violates the protocol is replaced. Its job fails with a Problem. Other jobs are
  not affected.
- The quarantine counts such a failure, unless the job did not cause it, for example if an operator killed the worker.
- An error in our own code becomes an InternalError, which the quarantine does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from cropmark.model.formats import Info
from cropmark.model.problems import InternalError, Overloaded, Problem
from cropmark.ports import Passthrough, Rendered
from cropmark.renderers.affinity import cached_name, count_passed, preferred
from cropmark.renderers.cost import CostModel, Estimate, cost_name
from cropmark.renderers.failures import Failures, stopping
from cropmark.renderers.group import ExitReason, WorkerGroup, WorkerSpec
from cropmark.renderers.memory import MIN_GRANT_BYTES, MemoryBudget, OomKills, never_fits, out_of_memory
from cropmark.renderers.pool_config import PoolConfig, starter_for
from cropmark.renderers.process import ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Failure, NeedsMemory, Ready, Reply
from cropmark.renderers.quarantine import Quarantine
from cropmark.renderers.queue import Job, Queue
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import Analyze, Isolation, Message, Render, Setup, Task
from cropmark.renderers.transport import UNSERIALIZABLE

log = structlog.get_logger("cropmark.renderers")


class Dispatcher:
    """Owns the queue and the workers of a Pool."""

    def __init__(self, config: PoolConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._queue = Queue(config.queue_limit, config.workers)
        self._memory = MemoryBudget(config.total_memory_bytes, config.cache_bytes)
        self.costs = CostModel()
        self.quarantine = Quarantine(clock)
        self._failures = Failures(self.quarantine, OomKills(), self._timeout_s, self._retry_after_oom)
        self._running: dict[asyncio.Task[None], tuple[Job, float]] = {}
        """The running jobs, each with the time of its start, by the asyncio task that waits for the reply."""
        self._closed = False
        setup = Setup(
            config.sandbox,
            memory_bytes=config.memory_bytes,
            allow_vulnerable_libraries=config.allow_vulnerable_libraries,
            cmyk=config.cmyk,
            reads_svg=config.reads_svg,
            frame_cache_bytes=config.frame_cache_bytes,
        )
        self._starter = starter_for(config)
        spec = WorkerSpec(self._starter, setup, config.max_body_bytes)
        untrusted_spec = replace(spec, setup=replace(setup, frame_cache_bytes=0))
        analysis_spec = replace(spec, setup=replace(setup, with_analysis=True, frame_cache_bytes=0))
        group = partial(WorkerGroup, on_change=self._dispatch, measures_memory=self._memory.is_limited)
        analysis_size = max(1, config.workers // 2)
        # Analysis has its own workers: the networks' runtime takes 40 MB and 0.2 s to load.
        self._groups = {
            # (untrusted, analysis)
            (False, False): group(spec, size=config.workers, min_idle=config.workers),
            (True, False): group(untrusted_spec, size=config.workers, min_idle=0),
            (False, True): group(analysis_spec, size=analysis_size, min_idle=0),
            (True, True): group(analysis_spec, size=analysis_size, min_idle=0),
        }

    async def start(self) -> Ready:
        """Start the workers for trusted sources; returns the Ready of one of them. Raises WorkerStartError."""
        await self._groups[False, False].start()
        return self._groups[False, False].ready

    async def close(self) -> None:
        """Reject waiting jobs, kill all workers, and wait until every process is gone."""
        self._closed = True
        for job in self._queue:
            job.fail(stopping())
        for run in self._running:
            run.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(group.close() for group in self._groups.values()))
        await self._starter.close()

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
        """The process ids of all workers."""
        return tuple(pid for group in self._groups.values() for pid in group.pids)

    def submit(self, job: Job) -> None:
        """Queue the job. Raises Overloaded, or SourceUnusable if its sources are in quarantine."""
        if self._closed:
            raise stopping()
        self.quarantine.check(job.versions, job.work)
        self._queue.put(job, self._running_ms())
        self._dispatch()

    def _running_ms(self) -> float:
        """The estimated time on one core that all running jobs together still need."""
        now_s = time.perf_counter()
        return sum(max(0.0, job.cost_ms - (now_s - began_s) * 1000) for job, began_s in self._running.values())

    # -------------------------------------------------------------------------------------------- start of a job

    def _dispatch(self) -> None:
        """Start the queued jobs that can start, oldest first, until `workers` jobs run."""
        waiting: Counter[WorkerGroup] = Counter()
        if len(self._running) >= self._config.workers:
            return
        oldest_first = tuple(self._queue)
        order = preferred(oldest_first, self._groups[False, False].idle_names)
        for job in order:
            if len(self._running) >= self._config.workers or self._closed:
                return
            self._reject_if_quarantined(job)
            group = self._groups[job.untrusted, isinstance(job.task, Analyze)]
            if group.is_broken:
                job.fail(Overloaded("no renderer can be started at the moment", fix="try again", retry_after_s=2))
            if not job.reply.done() and not self._has_memory(job, group):
                return  # later jobs wait too, or small ones could delay a large one without end
            while not job.reply.done() and (worker := group.acquire(cached_name(job))) is not None:
                if self._start(job, group, worker):
                    if job is order[0] and not job.reply.done():
                        count_passed(oldest_first, job)
                    break
            else:
                waiting[group] += not job.reply.done()
                group.start_for(waiting[group])

    def _has_memory(self, job: Job, group: WorkerGroup) -> bool:
        """True if there is enough memory to start the job now. To free memory, idle workers are stopped."""
        needed = job.grant_bytes + (0 if group.has_idle else group.start_bytes)
        if self._memory.has(needed, self._idle_bytes):
            return True
        for other in self._groups.values():
            other.stop_idle(keep=1 if other is group else 0)
        return self._memory.has(needed, self._idle_bytes)

    def _idle_bytes(self) -> int:
        """The memory that all workers take without their tasks. It is measured only if there is a memory limit."""
        return sum(group.idle_bytes for group in self._groups.values())

    def first_grant(self, estimate: Estimate) -> int:
        """The memory that a job with this estimate gets at first.

        If it needs more, its worker asks for it (NeedsMemory).
        """
        return min(max(MIN_GRANT_BYTES, estimate.bytes), self._memory.for_tasks(self._idle_bytes))

    def _grant(self, job: Job, needed: int, group: WorkerGroup) -> None:
        """Grant the job `needed` bytes for its next start. Fail the job if that exceeds the limit for all jobs."""
        available = self._memory.for_tasks(lambda: group.start_bytes)
        if needed > available:
            job.fail(never_fits(needed, available))
        job.grant_bytes = needed

    def _reject_if_quarantined(self, job: Job) -> None:
        """Fail a job if its sources, or its work on them, came into quarantine while it waited."""
        try:
            self.quarantine.check(job.versions, job.work)
        except Problem as problem:
            job.fail(problem)

    def _start(self, job: Job, group: WorkerGroup, worker: WorkerProcess) -> bool:
        """Send the job to the worker, or fail the job if it cannot be sent.

        Returns False if the worker has exited, so that another worker should be tried.
        """
        timeout_s = self._timeout_s(job.task)
        lengths = tuple(None if source is None else source.bytes for source in job.sources)
        message = Message(self._task_for(job, worker), lengths, job.grant_bytes)
        try:
            rest = worker.send_task(message, [source.descriptor for source in job.present], timeout_s)
            worker.has_models |= isinstance(job.task, Analyze)
            worker.cached_name = cached_name(job)
        except WorkerExited:
            group.discard(worker, ExitReason.KILLED)
            return False
        except (OSError, *UNSERIALIZABLE):
            log.exception("a task could not be sent to a renderer")
            job.fail(InternalError("the task could not be sent to a renderer"))
            # Not now: a release starts waiting jobs, which _dispatch() is about to start itself.
            asyncio.get_running_loop().call_soon(group.release, worker)
            return True
        self._queue.remove(job)
        run = asyncio.ensure_future(self._run(job, group, worker, rest))
        self._running[run] = job, time.perf_counter()
        self._memory.granted_bytes += job.grant_bytes
        granted_bytes = job.grant_bytes
        run.add_done_callback(lambda _: self._on_run_done(run, granted_bytes))
        return True

    def _timeout_s(self, task: Task) -> float:
        return self._config.analysis_timeout_s if isinstance(task, Analyze) else self._config.timeout_s

    def _task_for(self, job: Job, worker: WorkerProcess) -> Task:
        """The task of the job, adapted to this worker and to the load.

        Under load, a render gets low encoder effort. The first analysis of a worker includes the models.
        """
        match job.task:
            case Render() as task:
                low_effort = self._queue.is_long_without(job)
                return Render(task.plan, task.analysis, low_effort=low_effort, cached_name=cached_name(job))
            case Analyze(plan) if worker.has_models:
                return Analyze(plan)
            case task:
                return task

    # -------------------------------------------------------------------------------------------- end of a job

    async def _run(self, job: Job, group: WorkerGroup, worker: WorkerProcess, rest: bytes) -> None:
        """Wait for the worker's reply and finish the job with it. The job fails with a Problem if the worker fails."""
        began_s = time.perf_counter()
        timeout_s = self._timeout_s(job.task)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await worker.receive_reply(job.task, rest)
        except TimeoutError:
            group.discard(worker, ExitReason.TIMEOUT)
            self._failures.timed_out(job)
        except ProtocolError as error:
            group.discard(worker, ExitReason.PROTOCOL_ERROR)
            self._failures.malformed(job, error)
        except WorkerExited:
            group.exits[self._failures.exited(job, await group.discard(worker, None, grace_s=0.2))] += 1
        except asyncio.CancelledError:
            job.fail(stopping())
            raise
        else:
            self._finish(job, group, worker, reply)
            if isinstance(reply.result, NeedsMemory):
                self._retry_with(job, group, reply.result.bytes)
                return
            self._learn(job, reply, (time.perf_counter() - began_s) * 1000)
            job.finish(reply, queued_ms=(began_s - job.queued_at_s) * 1000)

    def _retry_with(self, job: Job, group: WorkerGroup, needed: int) -> None:
        """Queue the job again with the memory that its worker asked for. Fail it if this memory is never available."""
        self._grant(job, needed, group)
        if not job.reply.done():
            self._queue.put_back(job)

    def _retry_after_oom(self, job: Job) -> None:
        """Queue the job again after the kernel killed its worker for lack of memory. Fail it the second time.

        The estimate of the job was too low, or another process took the memory.
        """
        self.costs.record_oom(job.estimate, job.grant_bytes)
        if job.is_second_try:
            job.fail(out_of_memory())
        elif not job.reply.done():
            job.is_second_try = True
            job.grant_bytes = min(2 * job.grant_bytes, self._memory.for_tasks(self._idle_bytes))
            self._queue.put_back(job)

    def _learn(self, job: Job, reply: Reply, took_ms: float) -> None:
        self.costs.record(job.estimate, took_ms)
        result = reply.result
        if isinstance(result, Rendered):
            self.costs.record_pace(job.estimate, took_ms)
        info = result.facts.source if isinstance(result, Rendered | Passthrough) else result
        if isinstance(info, Info) and job.sources[0] is not None:
            self.costs.record_header(cost_name(job.sources[0]), info)

    def _finish(self, job: Job, group: WorkerGroup, worker: WorkerProcess, reply: Reply) -> None:
        """Release the worker for the next job, or replace the worker.

        It is replaced if its reply demands this, or if a worker may serve only one request.
        """
        single_use = job.untrusted and self._config.isolation is Isolation.REQUEST
        if reply.recycle or single_use:
            group.discard(worker, ExitReason.RECYCLED)
        else:
            group.release(worker)
        if isinstance(reply.result, Failure) and reply.result.log:
            log.error("a renderer failed", sources=job.name, trace=reply.result.log)

    def _on_run_done(self, run: asyncio.Task[None], granted_bytes: int) -> None:
        del self._running[run]
        self._memory.granted_bytes -= granted_bytes
        self._dispatch()
