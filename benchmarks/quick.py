"""Compares the CPU time of ten fixed tasks with benchmarks/quick.json: `make bench-quick`, under two minutes.

`python benchmarks/quick.py --write` stores the figures of this code. Times are in units of a calibration that runs
between the tasks, so that figures of different machines are comparable, and those of a busy one. The tasks run in turn;
the figure of each is the median over the rounds. Exit status 1 if a task became slower by more than LIMIT.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("VIPS_CONCURRENCY", "1")

import hit_path
from bench.images import Album, Kind

from cropmark.config.loader import Settings
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.engine import load
from cropmark.engine.render import render
from cropmark.plan.plan import Order, Plan
from cropmark.ports import Rendered
from cropmark.server.wiring import open_server
from cropmark.web.app import App

STORED = Path(__file__).resolve().parent / "quick.json"
LIMIT = 0.05
SECONDS = 75.0
LEAST_ROUNDS = 9

Task = Callable[[], int]
"""Runs once; returns the number of bytes that it made."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The CPU time of a task in units of the calibration, and the bytes that it made."""

    units: float
    bytes: int = 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store the figures in place of the old ones")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for the rounds")
    parser.add_argument("--stored", type=Path, default=STORED, help="the file of figures")
    options = parser.parse_args(arguments)
    stored = {} if options.write else _read(options.stored)
    with tempfile.TemporaryDirectory(prefix="cropmark-quick-") as folder, tasks(Path(folder)) as fixed:
        figures, unit_ms = measured(fixed, options.seconds)
        doubtful = {name: fixed[name] for name in slower(stored, figures)}
        if doubtful:  # other processes make a task that needs much memory slower: only a second measurement counts
            again, _ = measured(doubtful, options.seconds / 4)
            figures |= {name: min(figures[name], again[name], key=lambda figure: figure.units) for name in doubtful}
    if options.write:
        fields = {name: asdict(figure) for name, figure in figures.items()}
        options.stored.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(compared(stored, figures, unit_ms)))
    return int(bool(slower(stored, figures)))


def _read(stored: Path) -> dict[str, Figure]:
    return {name: Figure(**fields) for name, fields in json.loads(stored.read_text("utf-8")).items()}


def slower(stored: Mapping[str, Figure], now: Mapping[str, Figure]) -> list[str]:
    """The tasks that take more than LIMIT longer than the stored figures."""
    return [name for name, each in now.items() if name in stored and each.units > stored[name].units * (1 + LIMIT)]


def compared(stored: Mapping[str, Figure], now: Mapping[str, Figure], unit_ms: float) -> list[str]:
    """A line for each task, marked if it moved by more than LIMIT or made other bytes."""
    lines = [f"{'task':44} {'ms':>8} {'units':>8} {'stored':>8}"]
    for name, figure in now.items():
        line = f"{name:44} {figure.units * unit_ms:8.2f} {figure.units:8.3f}"
        before = stored.get(name)
        if before is None:
            lines.append(f"{line}      new")
            continue
        change = figure.units / before.units - 1
        mark = f"  {change:+.0%} {'SLOWER' if change > 0 else 'faster'}" if abs(change) > LIMIT else ""
        if figure.bytes != before.bytes:
            mark += f"  {before.bytes:,} → {figure.bytes:,} bytes"
        lines.append(f"{line} {before.units:8.3f}{mark}")
    return [*lines, *(f"{name:44} not measured" for name in stored if name not in now)]


def measured(fixed: Mapping[str, Task], seconds: float) -> tuple[dict[str, Figure], float]:
    """The figures, by rounds of all tasks in turn; and the milliseconds of the calibration."""
    made = {name: task() for name, task in fixed.items()}  # also the first run, which loads and compiles
    units: dict[str, list[float]] = {name: [] for name in fixed}
    calibrations = []
    end_s, rounds = time.monotonic() + seconds, 0
    gc.collect()
    gc.disable()
    while rounds < LEAST_ROUNDS or time.monotonic() < end_s:
        for name, task in fixed.items():
            unit_s = _cpu_s(calibration)
            calibrations.append(unit_s)
            units[name].append(_cpu_s(task) / unit_s)
        rounds += 1
        gc.collect()
    gc.enable()
    figures = {name: Figure(round(statistics.median(units[name]), 4), made[name]) for name in fixed}
    return figures, statistics.median(calibrations) * 1000


def calibration() -> int:
    """Work that never changes: checksums, compression and Python's own code, about 10 ms."""
    text = b"".join(number.to_bytes(4, "big") for number in range(0, 1_000_000, 37))
    length = len(zlib.compress(text, 6))
    for _ in range(8):
        hashlib.sha256(text).digest()
    return length + sum(number % 7 for number in range(40_000))


def _cpu_s(task: Callable[[], int]) -> float:
    """CPU time of all threads of this process."""
    before_s = time.process_time()
    task()
    return time.process_time() - before_s


# ---------------------------------------------------------------------------------------------- tasks


@contextmanager
def tasks(folder: Path) -> Iterator[Mapping[str, Task]]:
    """The ten tasks by name."""
    load.prepare()
    album = Album(folder / "images")
    album.prepare((Kind.MP12, Kind.MP1, Kind.P3, Kind.PNG, Kind.GIF))

    def rendering(kind: Kind, query: str) -> Task:
        data, plan = album.bases(kind)[0].read_bytes(), _plan(query)

        def run() -> int:
            result = render([data], plan)
            assert isinstance(result, Rendered)
            return len(result.body)

        return run

    with asyncio.Runner() as runner:
        served = open_server(_settings(folder, album.folder))
        server = runner.run(served.__aenter__())
        try:
            yield {
                "1 MP JPEG → 300 px JPEG": rendering(Kind.MP1, "width=300&format=jpg&quality=80"),
                "12 MP JPEG → 512 px JPEG": rendering(Kind.MP12, "width=512&format=jpg&quality=80"),
                "12 MP JPEG → 1920 px JPEG": rendering(Kind.MP12, "width=1920&format=jpg&quality=80"),
                "12 MP JPEG → 800 px WebP": rendering(Kind.MP12, "width=800&format=webp&quality=80"),
                "12 MP JPEG → 512 px AVIF": rendering(Kind.MP12, "width=512&format=avif&quality=55"),
                "12 MP P3 JPEG → 16:9, 640 px, sharpened JPEG": rendering(
                    Kind.P3, "crop=16:9&width=640&sharpen=a2,r1,t0&format=jpg&quality=80"
                ),
                "3 MP PNG → 512 px PNG": rendering(Kind.PNG, "width=512&format=png"),
                "GIF of 12 frames → 240 px GIF": rendering(Kind.GIF, "width=240&format=gif"),
                "20 misses of 64 px, the front": _misses(runner, server.app, album),
                "2,000 hits, the front": _hits(runner, server.app),
            }
        finally:
            runner.run(served.__aexit__(None, None, None))


def _plan(query: str) -> Plan:
    order = Fastly().order(ImageRequest("a.jpg", query, {}))
    assert isinstance(order, Order)
    assert order.plan is not None
    return order.plan


def _settings(folder: Path, images: Path) -> Settings:
    return hit_path.settings(folder, memory=True).model_copy(update={"folder": images})


def _misses(runner: asyncio.Runner, app: App, album: Album) -> Task:
    """Requests for new images. The renderer, another process, is not counted."""

    async def requested() -> int:
        for name in album.fresh(Kind.MP1, "misses", 20):
            path = f"/fastly/{name}".encode()
            assert await hit_path.requested(app, hit_path.BROWSER, b"width=64&format=jpg", path) == 200
        return 0

    return lambda: runner.run(requested())


def _hits(runner: asyncio.Runner, app: App) -> Task:
    async def requested() -> int:
        for _ in range(2_000):
            path = b"/fastly/base-mp1-0.jpg"
            assert await hit_path.requested(app, hit_path.BROWSER, b"width=64&format=jpg", path) == 200
        return 0

    return lambda: runner.run(requested())


if __name__ == "__main__":
    sys.exit(main())
