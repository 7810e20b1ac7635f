"""Prefers jobs with a source that an idle worker has decoded before, without starving other jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final

from cropmark.renderers.queue import Job
from cropmark.renderers.tasks import Render

MAX_PASSED: Final = 4
"""Maximum number of younger jobs that may start before an older one."""
_REACH: Final = 32
"""Number of waiting jobs that are searched. A web page has up to 24 sizes of one image."""


def cached_name(job: Job) -> str | None:
    """The name under which a worker may cache frames of the job's first source; None if caching is not allowed."""
    first = job.sources[0] if job.sources else None
    if job.untrusted or job.is_trial or first is None or not isinstance(job.task, Render):
        return None
    version = first.version
    return f"{version.identity}\n{version.version}\n{version.generation}"


def preferred(jobs: Sequence[Job], names: Collection[str]) -> Sequence[Job]:
    """The jobs in their order, preceded by the first job with a source in `names`.

    A job does not pass an older job that MAX_PASSED jobs have passed already.
    """
    chosen = next((job for job in _passable(jobs[:_REACH]) if cached_name(job) in names), None) if names else None
    if chosen is None or chosen is jobs[0]:
        return jobs
    at = jobs.index(chosen)
    return (chosen, *jobs[:at], *jobs[at + 1 :])


def count_passed(jobs: Iterable[Job], started: Job) -> None:
    """Count one more passing job for each job that is older than `started`, which has started first."""
    for passed in takewhile(lambda job: job is not started, jobs):
        passed.times_passed += 1


def _passable(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs up to and including the first that MAX_PASSED younger jobs have passed."""
    for job in jobs:
        yield job
        if job.times_passed >= MAX_PASSED:
            return
