"""One run of a benchmark: its options, its progress, and its circumstances for the results."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench import machine

RESULTS = Path(__file__).resolve().parents[1] / "RESULTS.md"


@dataclass(slots=True)
class Run:
    """The circumstances of one run. It begins when this is created."""

    command: str
    about: str = ""
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    load_before: float = field(default_factory=machine.load_average)
    """The load average before the run: other work on the machine."""
    began_s: float = field(default_factory=time.monotonic)
    minutes: float = 0.0

    def end(self) -> None:
        self.minutes = (time.monotonic() - self.began_s) / 60

    def __str__(self) -> str:
        about = f"{self.about}, " if self.about else ""
        took = f"{self.minutes:.0f} minutes; load average before: {self.load_before:.1f}"
        return f"{self.date}, `{self.command}`, {about}{took}"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the docstring of the script as its help, and the option --results."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--results", type=Path, default=RESULTS, help="the file that is written")
    return found


def command_line(script: str, options: argparse.Namespace) -> str:
    """The command with these options. Files are left out: their paths are valid on one machine only."""
    words = [script]
    for name, value in vars(options).items():
        if value is True:
            words.append(f"--{name}")
        elif value not in (None, False) and not isinstance(value, Path):
            words.append(f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}")
    return " ".join(words)


class Timed(Protocol):
    """A load that ends at a time."""

    until_s: float

    @property
    def is_on(self) -> bool: ...


async def show_progress(load: Timed, seconds: float, described: Callable[[], str]) -> None:
    """Show a bar and this description until the load ends."""
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=seconds)
        while load.is_on:
            bar.update(task, completed=seconds - (load.until_s - time.monotonic()), description=described())
            await asyncio.sleep(0.5)
