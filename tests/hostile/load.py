"""How busy the machine is: what is promised in seconds is promised for one that has nothing else to do."""

from __future__ import annotations

import time

_ROUNDS = 20_000
_USUAL_S = 0.002
"""What the rounds take on a machine of 2023 that is idle."""


def slowness() -> float:
    """How many times longer than usual work takes here and now, at least 1: the mean of a few short pieces of it."""
    pieces = 5
    began = time.perf_counter()
    for _ in range(pieces):
        number = 0
        for at in range(_ROUNDS):
            number ^= at * at
    return max(1.0, (time.perf_counter() - began) / pieces / _USUAL_S)
