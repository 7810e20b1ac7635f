"""The queue of tasks for renderers, limited by the time that a client waits.

A task is accepted if it will probably be done within its deadline. Its estimated time is all work before it, divided by
the number of renderers, plus its own work. A queued task is rejected when its latest possible start has passed.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cropmark.model.problems import Overloaded, Problem
from cropmark.ports import OpenSource, Passthrough, Rendered, SourceVersion, Timing
from cropmark.renderers.cost import Estimate
from cropmark.renderers.protocol import Reply
from cropmark.renderers.tasks import Render, Task

LOW_EFFORT_WAIT_MS = 1000.0
"""If the queue has at least this much work for each renderer, tasks start with low encoder effort."""


@dataclass(slots=True, eq=False)
class Job:
    """A task on its way through the pool. `reply` is cancelled when the caller stops waiting."""

    task: Task
    sources: Sequence[OpenSource | None]
    untrusted: bool
    estimate: Estimate
    client: str | None
    reply: asyncio.Future[Reply]
    deadline_s: float = math.inf
    """The time after `queued_at_s` at which the client no longer needs the result."""
    grant_bytes: int = 0
    """The memory that the task may take."""
    is_second_try: bool = False
    """True after the kernel killed a renderer of this task for lack of memory."""
    is_trial: bool = False
    """True if the task is the trial of a suspect source (quarantine.py)."""
    times_passed: int = 0
    """The number of younger jobs that started before this job, because a worker had decoded their source (affinity.py).
    """
    queued_at_s: float = field(default_factory=time.perf_counter)

    @property
    def cost_ms(self) -> float:
        """The estimated time of the task on one core."""
        return self.estimate.ms

    @property
    def latest_start_s(self) -> float:
        """The seconds after `queued_at_s` within which the task must start.

        This is the deadline minus the estimated time of the task, but at least half of the deadline.
        """
        return max(self.deadline_s - self.cost_ms / 1000, self.deadline_s / 2)

    @property
    def present(self) -> list[OpenSource]:
        return [source for source in self.sources if source is not None]

    @property
    def versions(self) -> list[SourceVersion]:
        return [source.version for source in self.present]

    @property
    def work(self) -> Hashable:
        """The Plan of a render, else the type of the task.

        The quarantine counts failures of this work on the sources.
        """
        return self.task.plan if isinstance(self.task, Render) else type(self.task).__name__

    @property
    def name(self) -> str:
        """The identities of the sources, for the log."""
        return ", ".join(version.identity[:200] for version in self.versions)

    def finish(self, reply: Reply, queued_ms: float) -> None:
        """Return the reply to the caller, with the time in the queue added; no effect after a cancellation."""
        if self.reply.done():
            return
        if isinstance(reply.result, Rendered | Passthrough):
            stages = (("queue", queued_ms), *reply.result.timing.stages)
            reply = replace(reply, result=replace(reply.result, timing=Timing(stages)))
        self.reply.set_result(reply)

    def fail(self, problem: Problem) -> None:
        """Raise the problem in the caller; no effect after a cancellation."""
        if not self.reply.done():
            self.reply.set_exception(problem)


class Queue:
    """The waiting jobs, oldest first.

    The queue is full for a job if the job would miss its deadline, or if `limit` jobs wait, each with an open file and
    some memory. If the queue is full for a new job, a job is rejected so that no client can fill the queue for all
    others:

    1. The latest job of the client with the most waiting jobs, unless the new job's client would then have as many.
    2. The latest job with the source of the most waiting jobs, under the same condition for the new job's source.
    3. The new job.
    """

    def __init__(self, limit: int, workers: int) -> None:
        self._limit = limit
        self._workers = workers
        self._jobs: dict[Job, asyncio.TimerHandle] = {}
        self.rejected = 0
        self.dropped = 0
        self.work_ms = 0.0
        """Estimated work of all waiting jobs."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def is_long_without(self, job: Job) -> bool:
        """True if the jobs in the queue other than `job` have at least one second of work for each renderer.

        The small images of one web page are less work than that, so they do not make the queue long.
        """
        others_ms = self.work_ms - job.cost_ms if job in self._jobs else self.work_ms
        return others_ms >= LOW_EFFORT_WAIT_MS * self._workers

    def put(self, job: Job, running_ms: float = 0.0) -> None:
        """Append the job. Raises Overloaded if the queue is full for it. An empty queue accepts every job.

        `running_ms` is the estimated time that the running jobs still need.
        """
        victims = self._victims_for(job, running_ms)
        if victims is None:
            self.rejected += 1
            raise self._overloaded(job, running_ms)
        for victim in victims:
            self._reject(victim, self._overloaded(victim, running_ms))
        self._jobs[job] = asyncio.get_running_loop().call_later(job.latest_start_s, self._expire, job)
        self.work_ms += job.cost_ms
        job.reply.add_done_callback(lambda _: self._drop(job))

    def remove(self, job: Job) -> None:
        """Remove a job that starts or is rejected; no effect if the job is not in the queue."""
        timer = self._jobs.pop(job, None)
        if timer is not None:
            timer.cancel()
            self.work_ms = self.work_ms - job.cost_ms if self._jobs else 0.0

    def put_back(self, job: Job) -> None:
        """Return a job that had started to the front of the queue. Its latest possible start stays the same."""
        left_s = job.latest_start_s - (time.perf_counter() - job.queued_at_s)
        timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._expire, job)
        self._jobs = {job: timer, **self._jobs}
        self.work_ms += job.cost_ms

    def _drop(self, job: Job) -> None:
        if job in self._jobs:
            self.remove(job)
            self.dropped += job.reply.cancelled()

    def _expire(self, job: Job) -> None:
        if job in self._jobs:
            self._reject(job, _too_late(job))

    def _reject(self, job: Job, problem: Problem) -> None:
        self.rejected += 1
        self.remove(job)
        job.fail(problem)

    def _victims_for(self, job: Job, running_ms: float) -> list[Job] | None:
        """The waiting jobs to reject so that the new job has room, often an empty list; None to reject the new job."""
        waiting, work_ms = dict(self._jobs), self.work_ms
        victims: list[Job] = []
        while waiting and self._is_full(len(waiting), running_ms + work_ms, job):
            victim = _victim_among(waiting, job)
            if victim is None:
                return None
            del waiting[victim]
            work_ms -= victim.cost_ms
            victims.append(victim)
        return victims

    def _is_full(self, count: int, before_ms: float, job: Job) -> bool:
        done_ms = before_ms / self._workers + job.cost_ms
        return count >= self._limit or done_ms > job.deadline_s * 1000

    def _overloaded(self, job: Job, running_ms: float) -> Overloaded:
        wait_s = (running_ms + self.work_ms) / 1000 / self._workers
        return Overloaded(
            f"{len(self._jobs)} images are waiting to be rendered, which takes about {wait_s:.1f} s; "
            f"this one would not be ready within {job.deadline_s:g} s",
            fix="try again a little later",
            retry_after_s=max(1, math.ceil(wait_s + job.cost_ms / 1000 - job.deadline_s)),
        )


def _victim_among(waiting: dict[Job, asyncio.TimerHandle], job: Job) -> Job | None:
    """The waiting job to reject in favor of the new job; None if the new job must be rejected.

    It is the latest job of the client with the most waiting jobs, if this client has more than the new job's client
    would have. If not, sources take the place of clients.
    """
    for owner in (_client, _source):
        own = owner(job)
        counts = Counter(owner(other) for other in waiting)
        largest, count = counts.most_common(1)[0]
        if own is None or largest is None or count <= counts[own] + 1:
            continue
        return next(other for other in reversed(waiting) if owner(other) == largest)
    return None


def _too_late(job: Job) -> Overloaded:
    return Overloaded(
        f"the image waited {job.latest_start_s:.1f} s for a renderer, too long to be ready within {job.deadline_s:g} s",
        fix="try again a little later",
        retry_after_s=max(1, math.ceil(job.cost_ms / 1000)),
    )


def _client(job: Job) -> str | None:
    return job.client


def _source(job: Job) -> str | None:
    return job.present[0].version.identity if job.present else None
