"""The load of the machine: time limits in tests hold for an idle machine and are scaled by this factor."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

_USUAL_START_S = 0.02
"""The time in which Python starts on such a machine, in seconds."""
_ROUNDS = 20_000
_USUAL_S = 0.002
"""The time of the rounds on an idle machine of 2023, in seconds."""


def slowness(clock: Callable[[], float] = time.perf_counter) -> float:
    """The current slowdown against an idle machine, at least 1: the mean of a few short measurements.

    With time.process_time as the clock, the slowdown of CPU time: other load hardly changes it.
    """
    pieces = 5
    began = clock()
    for _ in range(pieces):
        number = 0
        for at in range(_ROUNDS):
            number ^= at * at
    return max(1.0, (clock() - began) / pieces / _USUAL_S)


def start_slowness() -> float:
    """The current slowdown of the start of a process, at least 1: the mean of a few starts."""
    starts = 3
    began = time.perf_counter()
    for _ in range(starts):
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    return max(1.0, (time.perf_counter() - began) / starts / _USUAL_START_S)
