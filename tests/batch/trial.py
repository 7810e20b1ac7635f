"""A batch on a local cluster with a worker that is killed in the middle, for the tests and `make batch-trial`.

A plugin on each worker appends the start and the end of each task to a file; it remains readable when the worker is
killed.
"""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin
from PIL import Image

from cropmark.batch.run import run_batch
from cropmark.batch.tasks import Job, Outcome, Task, new_tasks
from cropmark.config.loader import load_settings
from cropmark.manifest import parse_manifest
from tests.processes import children

SOURCES = 20


@dataclass(slots=True)
class Trial:
    """A run with a killed worker."""

    tasks: Mapping[str, Task]
    outcomes: list[Outcome]
    starts: dict[str, list[int]]
    """By key: the process ids of the workers that started the task, in order."""
    killed: int
    renderers_of_killed: set[int] = field(default_factory=set)
    seconds: float = 0.0

    @property
    def repeated(self) -> dict[str, list[int]]:
        """The tasks that were started more than once."""
        return {key: pids for key, pids in self.starts.items() if len(pids) > 1}


class StartRecorder(WorkerPlugin):  # type: ignore[misc]  # Any: see pyproject.toml
    """Appends the key of each task that its worker starts, and the worker's process id, to a file."""

    name = "start-recorder"

    def __init__(self, path: str) -> None:
        self._path = path

    def transition(self, key: Any, start: Any, finish: Any, **_: Any) -> None:
        del start
        if finish == "executing":
            line = f"{key} {os.getpid()}\n".encode()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)


def small_images(folder: Path, count: int) -> list[str]:
    """Lines of a manifest with `count` renditions of small images, which are written to the folder."""
    for number in range(SOURCES):
        noise = Image.effect_noise((96, 64), 40 + number).convert("RGB")
        noise.save(folder / f"{number}.jpg")
    return [
        json.dumps(
            {
                "source": f"{number % SOURCES}.jpg",
                "query": f"width={20 + number % 50}&quality={10 + number // 50}",
                "output": f"{number % 7}/{number}.jpg",
            }
        )
        for number in range(count)
    ]


def new_job(source: Path | str, output: Path | str) -> Job:
    return Job(load_settings(None, {}).settings, str(source), str(output))


def tasks_of(lines: Iterable[str], job: Job) -> dict[str, Task]:
    return new_tasks(parse_manifest(lines), job)


def run_with_killed_worker(client: Any, tasks: Mapping[str, Task], job: Job, starts: Path) -> Trial:
    """Run the tasks; kill a worker with SIGKILL when a third of them is complete. A new one replaces it."""
    client.register_plugin(StartRecorder(str(starts)))
    pids: dict[str, int] = client.run(os.getpid)
    pid = next(iter(pids.values()))
    trial = Trial(tasks, [], defaultdict(list), pid)

    def report(task: Task, outcome: Outcome) -> None:
        assert task.key == outcome.key
        trial.outcomes.append(outcome)
        if len(trial.outcomes) == len(tasks) // 3:
            trial.renderers_of_killed = children(pid)
            os.kill(pid, signal.SIGKILL)

    try:
        trial.seconds = run_batch(client, tasks, job, report)
    finally:
        client.unregister_worker_plugin(StartRecorder.name)
    for line in starts.read_text().splitlines():
        key, started_by = line.split()
        trial.starts[key].append(int(started_by))
    return trial
