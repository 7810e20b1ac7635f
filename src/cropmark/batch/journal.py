"""The journal of a manifest, and the file with the failures of the last run.

The journal has the keys of stored results, one per line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from cropmark.batch.tasks import Outcome, Task
from cropmark.runtime.line_file import open_lines, read_lines


def journal_path(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.name}.done")


def failures_path(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.name}.failures.jsonl")


def pending_tasks(
    tasks: Mapping[str, Task], journal: Path, present: Callable[[Iterable[str]], set[str]]
) -> dict[str, Task]:
    """The tasks without a stored result: those that are not in the journal, and those with a result that was removed.

    `present` returns the given output names under which a result is stored. Raises OSError.
    """
    done = tasks.keys() & read_lines(journal)
    if not done:
        return dict(tasks)
    stored = present([tasks[key].entry.output for key in done])
    return {key: task for key, task in tasks.items() if key not in done or task.entry.output not in stored}


class Journal:
    """The open files of a run. Successes are added to the journal. Failures replace those of the last run."""

    def __init__(self, manifest: Path) -> None:
        """Open the journal and the file of failures. Raises OSError."""
        self._done: IO[str] = open_lines(journal_path(manifest))
        self._failed: IO[str] = failures_path(manifest).open("w", encoding="utf-8")

    def add(self, task: Task, outcome: Outcome) -> None:
        """Write the outcome of a task to the journal or to the failures, without delay."""
        if outcome.is_success:
            self._done.write(f"{task.key}\n")
            self._done.flush()
            return
        entry = task.entry
        line = {"line": entry.line, "dialect": entry.dialect, "source": entry.source, "query": entry.query}
        self._failed.write(json.dumps({**line, "output": entry.output, "reason": outcome.reason}) + "\n")
        self._failed.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.close()
        self._failed.close()
