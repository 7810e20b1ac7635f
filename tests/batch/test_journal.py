"""The journal: which results are made again, and the list of failures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from cropmark.batch.journal import Journal, failures_path, journal_path, pending_tasks
from cropmark.batch.tasks import Outcome
from tests.batch.trial import new_job, tasks_of

JOB = new_job("/pictures", "/results")
TASKS = tasks_of([f'{{"source": "{name}.jpg", "output": "{name}"}}' for name in "abcd"], JOB)
A, B, C, D = TASKS


def present_all(names: Iterable[str]) -> set[str]:
    return set(names)


def test_results_in_the_journal_are_not_made_again(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    with Journal(manifest) as journal:
        journal.add(TASKS[A], Outcome(A, "worker"))
        journal.add(TASKS[B], Outcome(B, "worker", reason="source_not_found: x"))
    with Journal(manifest) as journal:
        journal.add(TASKS[C], Outcome(C, "worker"))
    assert list(pending_tasks(TASKS, journal_path(manifest), present_all)) == [B, D]


def test_a_result_that_was_removed_is_made_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "m") as journal:
        for key in (A, B):
            journal.add(TASKS[key], Outcome(key, "worker"))
    asked: list[str] = []

    def present(names: Iterable[str]) -> set[str]:
        asked.extend(names)
        return {"a"}

    assert list(pending_tasks(TASKS, journal_path(tmp_path / "m"), present)) == [B, C, D]
    assert sorted(asked) == ["a", "b"]  # results that were never made are not looked for


def test_an_incomplete_key_of_a_killed_client(tmp_path: Path) -> None:
    journal_path(tmp_path / "m").write_bytes(f"{A}\n{B[:9]}".encode() + b"\xff")
    with Journal(tmp_path / "m") as journal:
        journal.add(TASKS[C], Outcome(C, "worker"))
    assert list(pending_tasks(TASKS, journal_path(tmp_path / "m"), present_all)) == [B, D]


def test_failures_are_those_of_the_last_run(tmp_path: Path) -> None:
    for key in (A, B):
        with Journal(tmp_path / "m") as journal:
            journal.add(TASKS[key], Outcome(key, "worker", reason="bad_value: width"))
    [line] = failures_path(tmp_path / "m").read_text().splitlines()
    assert json.loads(line) == {
        "line": 2,
        "dialect": "fastly",
        "source": "b.jpg",
        "query": "",
        "output": "b",
        "reason": "bad_value: width",
    }
