"""The load of the machine: time limits in tests hold for an idle machine and are scaled by this factor."""

from __future__ import annotations

import time

_ROUNDS = 20_000
_USUAL_S = 0.002
"""The time of the rounds on an idle machine of 2023, in seconds."""


def slowness() -> float:
    """The current slowdown against an idle machine, at least 1: the mean of a few short measurements."""
    pieces = 5
    began = time.perf_counter()
    for _ in range(pieces):
        number = 0
        for at in range(_ROUNDS):
            number ^= at * at
    return max(1.0, (time.perf_counter() - began) / pieces / _USUAL_S)
