"""Batch trial: 2,000 renditions with a killed worker, then throughput and CPU time. `make batch-trial`.

    PYTHONPATH=. python benchmarks/batch_trial.py

Writes benchmarks/BATCH.md. Exits with 1 if a result is missing or wrong, or if a task was repeated although its worker
was not killed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from PIL import Image
from rich.console import Console
from tests.batch.trial import Trial, new_job, run_with_killed_worker, small_images, tasks_of

from cropmark.batch.run import open_client, run_batch
from cropmark.batch.tasks import Outcome, Task

ROOT: Final = Path(__file__).resolve().parent
OUT: Final = ROOT / "BATCH.md"
IMAGES: Final = ROOT.parent / "examples" / "images"
COUNT: Final = 2000
WIDTHS: Final = (320, 640, 1080)
REPEATS: Final = 10
"""Renditions of each image and width; each has another quality."""
USD_PER_CPU_HOUR: Final = 0.04
"""About the list price of a virtual CPU of a general-purpose machine at large providers."""
MILLION: Final = 1_000_000

err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Renditions of photographs on a local cluster."""

    count: int
    failed: int
    workers: int
    seconds: float
    cpu_s: float
    """CPU time of the workers with their renderers."""
    client_cpu_s: float
    """CPU time of the client, in which the scheduler of a local cluster runs."""
    bytes: int

    @property
    def per_s_and_worker(self) -> float:
        return self.count / self.seconds / self.workers

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of one rendition."""
        return self.cpu_s * 1000 / self.count


def cpu_seconds() -> float:
    """CPU time of this process and all that it started, of a worker with its renderers."""
    import psutil  # noqa: PLC0415 - on the worker

    me = psutil.Process()
    times = [one.cpu_times() for one in (me, *me.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def killed_trial(folder: Path) -> Trial:
    """The first part: 2,000 small renditions; a worker is killed after a third of them."""
    (folder / "images").mkdir(parents=True)
    job = new_job(folder / "images", folder / "out")
    tasks = tasks_of(small_images(folder / "images", COUNT), job)
    with open_client(None, 2, 1) as client:
        return run_with_killed_worker(client, tasks, job, folder / "starts")


def faults(trial: Trial, out: Path) -> list[str]:
    """The promises that a trial broke."""
    found = [f"{one.key}: {one.reason}" for one in trial.outcomes if not one.is_success]
    if sorted(one.key for one in trial.outcomes) != sorted(trial.tasks):
        found.append("not every task has exactly one outcome")
    found += [f"{key} was repeated" for key, pids in trial.repeated.items() if pids[:-1] != [trial.killed]]
    for task in trial.tasks.values():
        with Image.open(out / task.entry.output) as image:
            image.load()
            if f"width={image.width}&" not in task.entry.query:
                found.append(f"{task.entry.output} has a wrong width")
    return found


def throughput(folder: Path, workers: int) -> Throughput:
    """The second part: renditions of the sample photographs."""
    job = new_job(IMAGES, folder / "photos")
    lines = [
        json.dumps(
            {
                "source": image.name,
                "query": f"width={width}&quality={70 + repeat}",
                "output": f"{image.stem}-{width}-{repeat}.{suffix}",
            }
        )
        for repeat in range(REPEATS)
        for image in sorted(IMAGES.glob("*.jpg"))
        for width in WIDTHS
        for suffix in ("jpg", "webp")
    ]
    tasks, outcomes, cpu_s = tasks_of(lines, job), [], 0.0
    with open_client(None, workers, 1) as client:
        idle_s: float = sum(client.run(cpu_seconds).values())

        def report(_: Task, outcome: Outcome) -> None:
            nonlocal cpu_s
            outcomes.append(outcome)
            if len(outcomes) == len(tasks):  # before the renderers are stopped
                cpu_s = sum(client.run(cpu_seconds).values()) - idle_s

        client_s = time.process_time()
        seconds = run_batch(client, tasks, job, report)
        client_s = time.process_time() - client_s
    failed = sum(not one.is_success for one in outcomes)
    return Throughput(len(tasks), failed, workers, seconds, cpu_s, client_s, sum(one.bytes for one in outcomes))


def report_text(trial: Trial, measured: Throughput) -> str:
    """The page of results."""
    client_ms = measured.client_cpu_s * 1000 / measured.count
    hours = MILLION * (measured.cpu_ms + client_ms) / 1000 / 3600
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"""<!-- Written by `make batch-trial`. -->

# Batch trial

{when}; {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; load averages {load}.

## A killed worker

{COUNT:,} renditions of small images on a local cluster of two workers; one of them was killed with SIGKILL after
{COUNT // 3:,} results.

| figure | value |
| --- | --- |
| results stored, complete and of the right width | {len(trial.outcomes):,} of {COUNT:,} |
| tasks started twice, all of them on the killed worker | {len(trial.repeated):,} |
| seconds | {trial.seconds:.1f} |

## Throughput

{measured.count:,} renditions of the photographs in examples/images, 320, 640 and 1,080 pixels wide, JPEG and WebP,
on {measured.workers} workers with one renderer each.

| figure | value |
| --- | --- |
| renditions a second and worker | {measured.per_s_and_worker:.1f} |
| CPU ms of a rendition, workers and renderers | {measured.cpu_ms:.1f} |
| CPU ms of a rendition, client and scheduler | {client_ms:.1f} |
| mean bytes of a rendition | {measured.bytes // measured.count:,} |
| CPU hours of a million renditions | {hours:.1f} |
| price of a million at {USD_PER_CPU_HOUR} USD a CPU hour | {hours * USD_PER_CPU_HOUR:.2f} USD |
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="cropmark-batch-trial-") as name:
        folder = Path(name)
        trial = killed_trial(folder)
        found = faults(trial, folder / "out")
        for line in found:
            err.print(line, highlight=False)
        measured = throughput(folder, 2)
    if measured.failed:
        found.append(f"{measured.failed} renditions failed")
        err.print(found[-1])
    if not found:
        OUT.write_text(report_text(trial, measured), "utf-8")
        err.print(f"{OUT.name} written")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
