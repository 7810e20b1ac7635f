"""The values that travel between the client of a batch and its workers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cropmark.config.settings import Settings
from cropmark.manifest import ManifestEntry
from cropmark.model.problems import BadRequest
from cropmark.ports import RENDER_VERSION


@dataclass(frozen=True, slots=True)
class Job:
    """The settings that all tasks of a run share. Workers receive the Job, and open its source and its output."""

    settings: Settings
    source: str
    """The location of the images: a folder, or the URL of an origin or of a bucket, as in the `source` of a site."""
    output: str
    """The location of the results: a folder, or the URL of a bucket."""
    accept: str = ""
    renderers: int = 1
    """The number of renderer processes of each worker."""

    @property
    def name(self) -> str:
        """The name of this job's plugin on the workers. Other jobs on the same cluster have other names."""
        text = repr((self.source, self.output, self.accept, self.renderers, self.settings))
        return f"cropmark-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Task:
    """One rendition to make and store."""

    key: str
    entry: ManifestEntry


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a task: the rendition is stored, or `reason` has the cause of the failure."""

    key: str
    worker: str
    """The address of the worker that ran the task; empty if that worker was lost."""
    bytes: int = 0
    reason: str = ""

    @property
    def is_success(self) -> bool:
        return not self.reason


def new_tasks(entries: Iterable[ManifestEntry], job: Job) -> dict[str, Task]:
    """The tasks for the entries, by key, in the order of the entries. Equal entries become one task.

    Raises BadRequest if an entry has no output, or if two different entries have the same output.
    """
    tasks: dict[str, Task] = {}
    by_output: dict[str, Task] = {}
    for entry in entries:
        if not entry.output:
            raise BadRequest(f"line {entry.line}: expected an output", fix='write "output": "a-300.webp"')
        task = Task(task_key(entry, job), entry)
        other = by_output.setdefault(entry.output, task)
        if other.key != task.key:
            detail = f"lines {other.entry.line} and {entry.line} have the same output, {entry.output[:80]!r}"
            raise BadRequest(detail, fix="write another output in one of them")
        tasks.setdefault(task.key, task)
    return tasks


def task_key(entry: ManifestEntry, job: Job) -> str:
    """The digest of everything that decides the result of a task, except the content of the source."""
    parts = (job.source, job.output, job.accept, entry.dialect, entry.source, entry.query, entry.output)
    settings = (
        getattr(job.settings, entry.dialect),
        job.settings.cmyk,
        job.settings.colors,
        job.settings.hdr,
        job.settings.svg,
        job.settings.smart_crop,
    )
    text = "\0".join((*parts, str(RENDER_VERSION), repr(settings)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]
