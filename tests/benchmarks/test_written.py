"""The sections that the soaks and the scaling benchmark write, for small made-up results."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import fleet_soak
import pytest
import scaling
import soak
from bench.runs import Run
from fleet.load import Verdict
from fleet.parts import Fleet, Outage

RUN = Run("python benchmarks/some.py --seed 3", date="2026-01-02 03:04 UTC", load_before=16.34, minutes=5)
LOAD = "2026-01-02 03:04 UTC, `python benchmarks/some.py --seed 3`, 5 minutes; load average before: 16.3"


def rows(text: str) -> dict[str, str]:
    """The rows of all tables by their first column; of rows with the same one, the first."""
    cells = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ") and "---" not in line)
    found: dict[str, str] = {}
    for first, *others in cells:
        found.setdefault(first, " | ".join(others))
    return found


def test_the_soak() -> None:
    seen = soak.Soak(
        answers=Counter({"known, 200 hit-memory": 1_200, "bad, 404": 34}),
        kills=Counter({"SIGKILL": 3}),
        front=[90.0, 90.0, 100.0, 100.0, 104.0, 104.0],
        everything=[200.0] * 6,
        decoded=7,
        full_disk=True,
        free_mib=1.25,
        hits={"p50_ms": 0.5, "p99_ms": 9.0, "late_p99_ms": 4.0},
    )
    text = soak.written(seen, RUN)
    assert LOAD in text
    assert "**Passed.**" in text
    found = rows(text)
    assert found["responses"] == "1,234"
    assert found["wrong responses"] == "0"
    assert found["renderers killed by the test"] == "3 by SIGKILL"
    assert found["front, resident: first, second-third median, last-third median"] == "90, 100, 104 MiB"
    assert found["front, growth from the second third to the last"] == "+4.0 MiB"
    assert found["hits, 100 per second: p50, p99"] == "0.50, 9.00 ms"
    assert found["known, 200 hit-memory"] == "1,200"


@pytest.mark.parametrize(
    "failed",
    [
        soak.Soak(wrong=["/a.jpg: broken"]),
        soak.Soak(hits={"wrong": 1}),
        soak.Soak(front=[90.0, 90.0, 100.0, 100.0, 113.0, 113.0]),
    ],
)
def test_a_soak_that_failed(failed: soak.Soak) -> None:
    assert "**Not passed.**" in soak.written(failed, RUN)


def test_a_soak_without_samples_of_memory() -> None:
    assert rows(soak.written(soak.Soak(), RUN))["all processes, the same"] == "–"


@pytest.mark.parametrize(("wrong", "verdict"), [([], "Passed"), (["a lost purge"], "Not passed")])
def test_the_soak_of_a_fleet(wrong: list[str], verdict: str) -> None:
    fleet = Fleet(Path(), Path(), outages=[Outage("redis", 10.0, 10.1, 15.25)])
    seen = Verdict(
        responses=Counter({"known, hit-memory": 1_000}),
        failed=Counter({"upload, without postgres": 2}),
        wrong=wrong,
        purges=9,
        waited=1,
        on_both=2,
        renders_of_key=Counter({1: 120}),
        took_s=[0.010, 0.020, 0.300],
    )
    text = fleet_soak.written(fleet, seen, RUN)
    assert LOAD in text
    assert f"**{verdict}.**" in text
    found = rows(text)
    assert found["time from each kill until the part was back"] == "redis 5.2 s"
    assert found["purges, of these while Redis was away"] == "9, 1"
    assert found["images that both servers rendered, because it took more than 5 s"] == "2"
    assert found["response time: p50, p99"] == "20.0, 300.0 ms"
    assert found["upload, without postgres"] == "2"


def test_scaling() -> None:
    one, two = ({"misses": [n, 3 * n], "miss_ms": [2 * n, n], "hits": [n], "hit_us": [n]} for n in (10.0, 20.0))
    made = (one, two, one, two)
    found = {
        name: scaling.Figures(**figures, failed=failed)
        for failed, (name, figures) in enumerate(zip(scaling.ARRANGEMENTS, made, strict=True))
    }
    text = scaling.written(found, argparse.Namespace(rounds=2, misses=200, hits=3_000), RUN)
    assert LOAD in text
    assert "2 rounds of 200 misses and 3,000 hits over 8 connections" in text
    cells = rows(text)
    expected = "20.0 (10.0 – 30.0) /s | 15.00 (10.00 – 20.00) ms | 10 (10 – 10) /s | 10 (10 – 10) µs | 0"
    assert cells["one server, one renderer, behind nginx"] == expected
    assert cells["one server, two fronts, two renderers"].endswith(" | 3")
    assert cells["CPU time per miss, two servers to one (goal: ≤ 1.05)"] == "2.00 (2.00 – 2.00)"
    assert cells["misses per second, two fronts to one"] == "2.00 (2.00 – 2.00)"


def test_a_ratio_to_a_time_below_the_clocks_tick_is_not_measured() -> None:
    assert scaling.ratio([1.0, 2.0], [1.0, 0.0]) == "not measured"
