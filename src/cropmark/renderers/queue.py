"""The queue of tasks for renderers, bounded by tasks and by estimated work. A full queue rejects tasks immediately.

         work ▲
4 x max_wait  ┤████████████████████████
              │          ░░░░░░░░░░░░░░    ░ only tasks of clients with less than a burst waiting
    max_wait  ┤          ░░░░░░░░░░░░░░    █ rejected
              │                     ███
              └──────────┬──────────┬──▶ tasks
                       limit    16 x limit
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
from cropmark.renderers.cost import CostKey
from cropmark.renderers.protocol import Reply
from cropmark.renderers.tasks import Render, Task

BURST = 32
"""Tasks that one client may queue past the limits. One page needs up to 24: a srcset of eight widths, three formats."""
HARD_FACTOR = 4
"""The absolute limit on waiting work, as a multiple of max_wait_s."""
MAX_TASKS_FACTOR = 16
"""The absolute limit on waiting tasks, as a multiple of `limit`: each task holds a file open."""


@dataclass(slots=True, eq=False)
class Job:
    """A task on its way through the pool. `reply` is cancelled when the caller stops waiting."""

    task: Task
    sources: Sequence[OpenSource | None]
    untrusted: bool
    cost_key: CostKey
    cost_ms: float
    client: str | None
    reply: asyncio.Future[Reply]
    is_trial: bool = False
    """True for the trial of a suspect source (quarantine.py)."""
    queued_at_s: float = field(default_factory=time.perf_counter)

    @property
    def present(self) -> list[OpenSource]:
        return [source for source in self.sources if source is not None]

    @property
    def versions(self) -> list[SourceVersion]:
        return [source.version for source in self.present]

    @property
    def work(self) -> Hashable:
        """The work apart from its sources, for the quarantine."""
        return self.task.plan if isinstance(self.task, Render) else type(self.task).__name__

    @property
    def name(self) -> str:
        """The sources' identities, for the log."""
        return ", ".join(version.identity[:200] for version in self.versions)

    def finish(self, reply: Reply, queued_ms: float) -> None:
        """Return the reply to the caller with the time spent in the queue; no effect after a cancellation."""
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
    """Waiting jobs, oldest first. A job is rejected if both `limit` tasks and `max_wait_s` of work are exceeded.

    Many small tasks do not wait long, and a few large ones are rejected early enough. The first BURST tasks of a client
    pass both limits, since half of a page's images are of little use; HARD_FACTOR and MAX_TASKS_FACTOR bound them.

    When the queue is full, a client with few waiting tasks displaces one with many: the latest job of the client (or
    else of the source) with the most waiting jobs is the victim. So no client can fill the queue for the others.
    """

    def __init__(self, limit: int, workers: int, max_wait_s: float = 2.0) -> None:
        self._limit = limit
        self._workers = workers
        self._max_ms = max_wait_s * 1000 * workers
        self._jobs: dict[Job, None] = {}
        self.rejected = 0
        self.dropped = 0
        self.work_ms = 0.0
        """Estimated work of all waiting jobs."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs))

    def is_half_full_without(self, job: Job) -> bool:
        """True if the other jobs are at least half of the allowed work. A page of small images does not reach that."""
        others_ms = self.work_ms - job.cost_ms if job in self._jobs else self.work_ms
        return 2 * others_ms >= self._max_ms

    def put(self, job: Job) -> None:
        """Append the job. An empty queue accepts a job of any cost. Raises Overloaded."""
        while self._jobs and self._is_full_for(job):
            victim = self._victim_for(job)
            self.rejected += 1
            if victim is None:
                raise self._overloaded()
            self.remove(victim)
            victim.fail(self._overloaded())
        self._jobs[job] = None
        self.work_ms += job.cost_ms
        job.reply.add_done_callback(lambda _: self._drop(job))

    def remove(self, job: Job) -> None:
        """Remove the job, because it starts or is rejected; no effect if it is not in the queue."""
        if job in self._jobs:
            del self._jobs[job]
            self.work_ms = self.work_ms - job.cost_ms if self._jobs else 0.0

    def _drop(self, job: Job) -> None:
        if job in self._jobs:
            self.remove(job)
            self.dropped += job.reply.cancelled()

    def _is_full_for(self, job: Job) -> bool:
        tasks, work_ms = len(self._jobs), self.work_ms + job.cost_ms
        if tasks >= MAX_TASKS_FACTOR * self._limit or work_ms > HARD_FACTOR * self._max_ms:
            return True
        return tasks >= self._limit and work_ms > self._max_ms and not self._has_burst_left(job)

    def _has_burst_left(self, job: Job) -> bool:
        return job.client is not None and sum(other.client == job.client for other in self._jobs) < BURST

    def _victim_for(self, job: Job) -> Job | None:
        """The latest job of the owner with the most jobs, if that is more than the new job's owner would then have."""
        for owner in (_client, _source):
            own = owner(job)
            counts = Counter(owner(other) for other in self._jobs)
            largest, count = counts.most_common(1)[0]
            if own is None or largest is None or count <= counts[own] + 1:
                continue
            return next(other for other in reversed(self._jobs) if owner(other) == largest)
        return None

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            f"{len(self._jobs)} images are waiting to be rendered",
            fix="try again a little later",
            retry_after_s=max(1, math.ceil(self.work_ms / 1000 / self._workers)),
        )


def _client(job: Job) -> str | None:
    return job.client


def _source(job: Job) -> str | None:
    return job.present[0].version.identity if job.present else None
