"""The regression guard: its lines, and its exit status."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import quick
from quick import Figure, Task, compared, measured, slower


def spin(times: int) -> Task:
    """A task that takes `times` calibrations."""
    return lambda: sum(quick.calibration() for _ in range(times)) * 0 + times


# fmt: off
MOVES = [
    # stored         now              marks                  slower
    (Figure(2, 10),  Figure(2.09, 10), "",                    False),
    (Figure(2, 10),  Figure(2.2, 10),  "+10% SLOWER",         True),
    (Figure(2, 10),  Figure(1.8, 10),  "-10% faster",         False),
    (Figure(2, 10),  Figure(2, 1100),  "10 → 1,100 bytes",    False),
]
# fmt: on


@pytest.mark.parametrize(("stored", "now", "mark", "is_slower"), MOVES)
def test_moves(stored: Figure, now: Figure, mark: str, is_slower: bool) -> None:
    _, line = compared({"a": stored}, {"a": now}, 10.0)
    assert line.split(f"{stored.units:8.3f}")[-1].strip() == mark
    assert bool(slower({"a": stored}, {"a": now})) == is_slower


def test_tasks_on_one_side_only() -> None:
    lines = compared({"old": Figure(1)}, {"new": Figure(1)}, 10.0)
    assert [line.split()[-2:] for line in lines[1:]] == [["1.000", "new"], ["not", "measured"]]


def test_a_task_is_measured_in_calibrations(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_s = 0.0

    def work(seconds: float) -> int:
        nonlocal cpu_s
        cpu_s += seconds
        return round(seconds * 100)

    monkeypatch.setattr(quick, "time", SimpleNamespace(monotonic=time.monotonic, process_time=lambda: cpu_s))
    monkeypatch.setattr(quick, "calibration", partial(work, 0.02))
    slow_once = iter((0.08, 0.5, 0.08, 0.08))  # the first run is not measured, and the median ignores the second
    figures, unit_ms = measured({"one": partial(work, 0.02), "four": lambda: work(next(slow_once, 0.08))}, 0)
    assert figures == {"one": Figure(1.0, 2), "four": Figure(4.0, 8)}
    assert unit_ms == pytest.approx(20)


def test_a_regression_is_the_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def tasks(_: Path) -> Iterator[Mapping[str, Task]]:
        yield {"a": spin(1)}

    monkeypatch.setattr(quick, "tasks", tasks)
    monkeypatch.setattr(quick, "LEAST_ROUNDS", 2)
    stored = tmp_path / "quick.json"
    assert quick.main(["--write", "--seconds", "0", "--stored", str(stored)]) == 0
    stored.write_text(json.dumps({"a": {"units": 0.01, "bytes": 1}}))
    assert quick.main(["--seconds", "0", "--stored", str(stored)]) == 1


def test_ten_figures_are_stored() -> None:
    assert len(json.loads(quick.STORED.read_text("utf-8"))) == 10
