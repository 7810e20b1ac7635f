"""The queue before the renderers: bounded by tasks and by estimated work; past that, Overloaded at once.

         work ▲
4 x most_wait ┤████████████████████████
              │          ░░░░░░░░░░░░░░    ░ only for a client that has less than a page of pictures waiting
    most_wait ┤          ░░░░░░░░░░░░░░    █ for nobody
              │                     ███
              └──────────┬──────────┬──▶ tasks
                       limit    16 x limit
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from cropmark.model.problems import Overloaded, Problem
from cropmark.ports import OpenSource, Passthrough, Rendered, SourceVersion, Timing
from cropmark.renderers.cost import CostKey
from cropmark.renderers.protocol import Reply
from cropmark.renderers.tasks import Task

A_PAGE = 32
"""Pictures that one page may ask for at once: a srcset of eight widths in three formats is 24."""
HARD = 4
"""How many times most_wait_s of work may wait at the very most."""
MOST_TASKS = 16
"""How many times `limit` tasks may wait at the very most: each holds a file open."""


@dataclass(slots=True, eq=False)
class Job:
    """A task on its way through the pool; `answer` is done early where nobody waits any more."""

    task: Task
    sources: Sequence[OpenSource | None]
    foreign: bool
    sort: CostKey
    cost_ms: float
    client: str | None
    answer: asyncio.Future[Reply]
    entered_s: float = field(default_factory=time.perf_counter)

    @property
    def present(self) -> list[OpenSource]:
        return [source for source in self.sources if source is not None]

    @property
    def stamps(self) -> list[SourceVersion]:
        return [source.stamp for source in self.present]

    @property
    def name(self) -> str:
        """For the log."""
        return ", ".join(stamp.identity[:200] for stamp in self.stamps)

    def tell(self, told: Reply, queued_ms: float) -> None:
        """Give it its answer, if anybody waits for it, with the time it stood in the queue."""
        if self.answer.done():
            return
        if isinstance(told.answer, Rendered | Passthrough):
            stages = (("queue", queued_ms), *told.answer.timing.stages)
            told = replace(told, answer=replace(told.answer, timing=Timing(stages)))
        self.answer.set_result(told)

    def refuse(self, problem: Problem) -> None:
        """Give it a Problem in place of an answer, if anybody waits for it."""
        if not self.answer.done():
            self.answer.set_exception(problem)


class Queue:
    """Jobs in the order they came: more than `limit` of them, or more than `most_wait_s` of estimated work, not both.

    Many small ones do not wait long, and few large ones are soon told. A client's first A_PAGE are let in past both,
    for half a page's pictures are worth little; HARD and MOST_TASKS bound that.

    A full queue gives a place to whoever has few in it, at the cost of whoever has most: the latest job of the client
    (then of the source) with the most jobs waiting gives way, so that no one of them can fill it for the others.
    """

    def __init__(self, limit: int, renderers: int, most_wait_s: float = 2.0) -> None:
        self._limit = limit
        self._renderers = renderers
        self._most_ms = most_wait_s * 1000 * renderers
        self._jobs: dict[Job, None] = {}
        self.refused = 0
        self.dropped = 0
        self.work_ms = 0.0
        """Estimated, of all that wait."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs))

    def half_full_besides(self, job: Job) -> bool:
        """Whether half the work waits that may, without this job, which begins: a page of small pictures is none."""
        others_ms = self.work_ms - job.cost_ms if job in self._jobs else self.work_ms
        return 2 * others_ms >= self._most_ms

    def enter(self, job: Job) -> None:
        """Take a place at the end. Raises Overloaded.

        Whatever its cost, a job enters an empty queue.
        """
        while self._jobs and self._full_with(job):
            giving_way = self._giving_way_to(job)
            if giving_way is None:
                self.refused += 1
                raise self._overloaded()
            self.leave(giving_way)
            self.refused += 1
            giving_way.refuse(self._overloaded())
        self._jobs[job] = None
        self.work_ms += job.cost_ms
        job.answer.add_done_callback(lambda _: self._abandoned(job))

    def leave(self, job: Job) -> None:
        """Give the place up, to be run or refused."""
        if job in self._jobs:
            del self._jobs[job]
            self.work_ms = self.work_ms - job.cost_ms if self._jobs else 0.0

    def _abandoned(self, job: Job) -> None:
        if job in self._jobs:
            self.leave(job)
            self.dropped += job.answer.cancelled()

    def _full_with(self, job: Job) -> bool:
        tasks, work_ms = len(self._jobs), self.work_ms + job.cost_ms
        if tasks >= MOST_TASKS * self._limit or work_ms > HARD * self._most_ms:
            return True
        return tasks >= self._limit and work_ms > self._most_ms and not self._has_page_left(job)

    def _has_page_left(self, job: Job) -> bool:
        return job.client is not None and sum(other.client == job.client for other in self._jobs) < A_PAGE

    def _giving_way_to(self, job: Job) -> Job | None:
        """The latest job of who has most, where that is more than this one's owner would have."""
        for owner in (_client, _source):
            mine = owner(job)
            counted = Counter(owner(other) for other in self._jobs)
            most, count = counted.most_common(1)[0]
            if mine is None or most is None or count <= counted[mine] + 1:
                continue
            return next(other for other in reversed(self._jobs) if owner(other) == most)
        return None

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            f"{len(self._jobs)} pictures are waiting to be made",
            fix="try again a little later",
            retry_after_s=max(1, math.ceil(self.work_ms / 1000 / self._renderers)),
        )


def _client(job: Job) -> str | None:
    return job.client


def _source(job: Job) -> str | None:
    return job.present[0].stamp.identity if job.present else None
