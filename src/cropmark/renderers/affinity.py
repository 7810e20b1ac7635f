"""Prefers jobs with a source of which an idle worker has decoded frames, without starving other jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final

from cropmark.renderers.queue import Job
from cropmark.renderers.tasks import Render

MAX_PASSED: Final = 4
"""The most younger jobs that may start before an older job."""
_REACH: Final = 32
"""The number of waiting jobs that are searched. A web page has up to 24 sizes of one image."""


def cached_name(job: Job) -> str | None:
    """The name under which a worker may cache frames of the first source of the job; None if it must not cache them."""
    first = job.sources[0] if job.sources else None
    if job.untrusted or job.is_trial or first is None or not isinstance(job.task, Render):
        return None
    version = first.version
    return f"{version.identity}\n{version.version}\n{version.generation}"


def preferred(jobs: Sequence[Job], names: Collection[str]) -> Sequence[Job]:
    """The jobs in their order, except that the first job with a cached source is moved to the front.

    `names` has the sources of which idle workers have frames. A job does not pass an older job that MAX_PASSED jobs
    have passed already.
    """
    chosen = next((job for job in _passable(jobs[:_REACH]) if cached_name(job) in names), None) if names else None
    if chosen is None or chosen is jobs[0]:
        return jobs
    at = jobs.index(chosen)
    return (chosen, *jobs[:at], *jobs[at + 1 :])


def count_passed(jobs: Iterable[Job], started: Job) -> None:
    """Increase `times_passed` of each job that is older than `started`, the job that starts now.

    `jobs` begins with the oldest.
    """
    for passed in takewhile(lambda job: job is not started, jobs):
        passed.times_passed += 1


def _passable(jobs: Iterable[Job]) -> Iterator[Job]:
    """Yields the jobs that may move to the front: all up to the first that MAX_PASSED younger jobs have passed."""
    for job in jobs:
        yield job
        if job.times_passed >= MAX_PASSED:
            return
