"""cropmark batch: makes many renditions on a Dask cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cropmark.cli.options import ConfigFile, err, fail, out, progress_bar, read_settings

if TYPE_CHECKING:
    from cropmark.batch.tasks import Job, Outcome, Task


def batch(
    manifest: Annotated[Path, typer.Argument(help="The renditions, as JSON lines or CSV.")],
    output: Annotated[str, typer.Option("--out", help="Folder or bucket URL (s3://bucket/prefix) of the results.")],
    source: Annotated[
        str | None,
        typer.Option(
            help="The images: a folder, or the URL of an origin or a bucket.", show_default="the manifest's folder"
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler, such as tcp://10.0.0.5:8786.", show_default="a local cluster"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of the local cluster.", show_default="the CPUs available")
    ] = None,
    renderers: Annotated[int, typer.Option(min=1, help="Renderer processes of each worker.")] = 1,
    accept: Annotated[str, typer.Option(help="Accept header by which formats are chosen.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make the renditions of a manifest on a Dask cluster. A second run makes only the missing renditions.

    If renditions failed, MANIFEST.failures.jsonl lists them, and the exit status is 1.
    """
    from cropmark.batch.journal import failures_path
    from cropmark.batch.tasks import Job

    settings = read_settings(config)
    location = _source_location(source, manifest)
    job = Job(settings, location, _absolute_location(output), accept=accept, renderers=renderers)
    summary = _run(_pending(job, manifest), job, manifest, cluster, workers)
    out.print(summary.text(), highlight=False, soft_wrap=True)
    if summary.failures:
        name = failures_path(manifest)
        err.print(f"[yellow]{summary.failures:,} failed[/]: see {escape(str(name))}", highlight=False, soft_wrap=True)
        raise SystemExit(1)


def _source_location(source: str | None, manifest: Path) -> str:
    """The folder or URL of the source images: --source, or the manifest's folder. Exits if it is not valid."""
    from cropmark.config.source_spec import parse_source

    location = _absolute_location(source) if source else str(manifest.resolve().parent)
    try:
        parse_source(location)
    except ValueError as error:
        fail(f"--source: {error} | name a folder, the URL of an origin, or a bucket", 2)
    return location


def _pending(job: Job, manifest: Path) -> dict[str, Task]:
    """The tasks of the manifest that have no stored result yet. Prints the number of the other tasks.

    Exits if the stored results cannot be read.
    """
    from cropmark.batch.journal import journal_path, pending_tasks
    from cropmark.batch.output import open_output
    from cropmark.batch.tasks import new_tasks
    from cropmark.manifest import read_manifest
    from cropmark.runtime.object_store import STORE_ERRORS, StoreUnusable, failure_reason

    tasks = new_tasks(read_manifest(manifest), job)
    try:
        results = open_output(job.output, role=job.settings.allow_instance_credentials)
        pending = pending_tasks(tasks, journal_path(manifest), results.present)
    except StoreUnusable as error:
        fail(str(error))
    except STORE_ERRORS as error:
        fail(f"{job.output} cannot be read: {failure_reason(error)} | check --out and its credentials")
    if len(tasks) > len(pending):
        out.print(f"{len(tasks) - len(pending):,} of {len(tasks):,} are done already", highlight=False)
    return pending


@dataclass(slots=True)
class _Summary:
    """The counts of one run: renditions made, failures, bytes, and workers."""

    made: int = 0
    failures: int = 0
    bytes: int = 0
    seconds: float = 0.0
    workers: set[str] = field(default_factory=set)

    def add(self, outcome: Outcome) -> None:
        if outcome.is_success:
            self.made += 1
            self.bytes += outcome.bytes
        else:
            self.failures += 1
        self.workers |= {outcome.worker} - {""}

    def text(self) -> str:
        """The counts in one line, with the average number of renditions per second and worker."""
        text = f"{self.made:,} made, {self.failures:,} failed, {self.bytes:,} bytes"
        if not self.made or not self.workers:
            return text
        per_s = self.made / self.seconds / len(self.workers)
        noun = "worker" if len(self.workers) == 1 else "workers"
        return f"{text} in {self.seconds:.1f} s by {len(self.workers)} {noun}: {per_s:.1f} a second and worker"


def _run(pending: Mapping[str, Task], job: Job, manifest: Path, cluster: str | None, workers: int | None) -> _Summary:
    """Run the pending tasks with a progress bar, and return the counts. Exits if the run cannot start."""
    from cropmark.batch.journal import Journal
    from cropmark.server.errors import StartupError

    summary = _Summary()
    if not pending:
        return summary
    try:
        from cropmark.batch.run import open_client, run_batch
    except ModuleNotFoundError:
        fail("cropmark batch needs Dask | pip install 'cropmark[batch]'")
    from cropmark.runtime import cgroups

    try:
        with (
            Journal(manifest) as journal,
            open_client(cluster, workers or cgroups.cores(), job.renderers) as client,
            progress_bar("making", len(pending)) as advance,
        ):
            err.print(f"Dask dashboard: {client.dashboard_link}", highlight=False, soft_wrap=True)

            def report(task: Task, outcome: Outcome) -> None:
                journal.add(task, outcome)
                summary.add(outcome)
                advance()

            summary.seconds = run_batch(client, pending, job, report)
    except StartupError as error:
        fail(str(error))
    return summary


def _absolute_location(text: str) -> str:
    """A URL unchanged, or a folder as an absolute path.

    The path must be absolute, because workers have other working folders than this process.
    """
    return text if "://" in text else str(Path(text).resolve())
