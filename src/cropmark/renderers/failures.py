"""Handles workers that end in the middle of a job: finds the reason, fails the job, and informs the quarantine."""

from __future__ import annotations

import signal
from collections.abc import Callable

import structlog

from cropmark.model.problems import InternalError, Overloaded, Problem, SourceUnusable
from cropmark.renderers.group import ExitReason
from cropmark.renderers.memory import OomKills
from cropmark.renderers.process import ExitStatus
from cropmark.renderers.quarantine import Quarantine
from cropmark.renderers.queue import Job
from cropmark.renderers.tasks import EXIT_OWN_FAULT, Analyze, Render, Task

log = structlog.get_logger("cropmark.renderers")

UNSAFE = "the image could not be decoded safely"


class Failures:
    """Fails the jobs of workers that timed out, exited or sent an invalid reply."""

    def __init__(
        self,
        quarantine: Quarantine,
        oom_kills: OomKills,
        timeout_s: Callable[[Task], float],
        retry: Callable[[Job], None],
    ) -> None:
        """`timeout_s` returns the time limit of a task. `retry` receives a job if its worker ran out of memory."""
        self._quarantine = quarantine
        self._oom_kills = oom_kills
        self._timeout_s = timeout_s
        self._retry = retry

    def timed_out(self, job: Job) -> None:
        """Fail a job that took too long."""
        timeout_s = self._timeout_s(job.task)
        self._fail(job, ExitReason.TIMEOUT, _timeout_problem(job.task, timeout_s), f"took longer than {timeout_s:g} s")

    def malformed(self, job: Job, error: Exception) -> None:
        """Fail a job after a reply that violates the protocol."""
        self._fail(job, ExitReason.PROTOCOL_ERROR, SourceUnusable(UNSAFE), f"invalid reply: {error}")

    def exited(self, job: Job, status: ExitStatus) -> ExitReason:
        """Fail the job of a worker that exited or was killed; returns the reason.

        If the kernel killed the worker for lack of memory, the job is retried instead.
        """
        if status.code == EXIT_OWN_FAULT and not status.by_pool:
            log.error("a renderer failed", sources=job.name, trace=status.stderr_tail)
            job.fail(InternalError("the renderer failed"))
            return ExitReason.CRASH
        match status.signal:
            case signal.SIGKILL if self._oom_kills.explain_kill():
                log.error(
                    "a renderer was killed: out of memory",
                    sources=job.name,
                    granted_mb=job.grant_bytes // 10**6,
                    fix="give the server more memory, or lower memory_limit_bytes or the number of renderers",
                )
                self._retry(job)
                return ExitReason.OUT_OF_MEMORY
            case signal.SIGKILL:
                # Not counted in the quarantine: an operator killed the renderer, so the source did not cause it.
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
            self._quarantine.condemn(*job.versions)
        elif not (timed_out and isinstance(job.task, Analyze)):
            # On a busy machine any analysis may time out. A source that hangs the decoder also hangs the next render.
            self._quarantine.record(job.versions, job.work, timed_out=timed_out)
        log.warning("a renderer was replaced", cause=reason.value, sources=job.name, details=details)
        job.fail(problem)


def _timeout_problem(task: Task, timeout_s: float) -> Problem:
    action, fix = "rendered", "request a smaller rendition or fewer operations"
    if not isinstance(task, Render):
        action, fix = "read", "try again, or use a smaller image"
    return Overloaded(f"the image was not {action} within {timeout_s:g} s", fix=fix, retry_after_s=10)


def stopping() -> Problem:
    """The Problem of a job that is not finished when the server stops."""
    return Overloaded("the renderers are stopping", fix="try again", retry_after_s=1)
