"""The options and the circumstances of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench import machine
from bench.runs import RESULTS, Run, command_line, parser

from tests.processes import resident_bytes

RUN = Run("python benchmarks/x.py --rounds 2", "two rounds", "2026-01-02 03:04 UTC", 0.25, minutes=12.4)

# fmt: off
COMMANDS = [
    # arguments                                      written
    ([],                                             "run --minutes 0.5"),              # the defaults of numbers
    (["--minutes", "3", "--seed", "7"],              "run --minutes 3 --seed 7"),
    (["--quick", "--results", "/srv/RESULTS.md"],    "run --minutes 0.5 --quick"),      # no file
]
# fmt: on


@pytest.mark.parametrize(("arguments", "written"), COMMANDS)
def test_the_command_of_a_run_has_its_options_and_no_files(arguments: list[str], written: str) -> None:
    options = parser("About.")
    options.add_argument("--minutes", type=float, default=0.5)
    options.add_argument("--seed", type=int)
    options.add_argument("--quick", action="store_true")
    assert command_line("run", options.parse_args(arguments)) == written


def test_results_are_written_next_to_the_benchmarks() -> None:
    assert parser("About.").parse_args([]).results == RESULTS
    assert RESULTS.is_file()


def test_the_circumstances_of_a_run() -> None:
    assert str(RUN) == (
        "2026-01-02 03:04 UTC, `python benchmarks/x.py --rounds 2`, two rounds, 12 minutes; load average before: 0.2"
    )
    begun = Run("x")
    begun.began_s -= 60
    begun.end()
    assert begun.minutes == pytest.approx(1, abs=0.5)


def test_memory_of_a_process() -> None:
    assert 2**20 < resident_bytes(os.getpid()) <= machine.peak_bytes(os.getpid()) < 2**40
    ended = max(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()) + 100_000
    assert (resident_bytes(ended), machine.peak_bytes(ended)) == (0, 0)
