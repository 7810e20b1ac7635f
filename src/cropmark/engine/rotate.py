"""The eight ways to lay a frame."""

from __future__ import annotations

from typing import assert_never

from pyvips import Image

from cropmark.engine.image import gathered
from cropmark.plan.steps import Turn


def turned(frame: Image, turn: Turn) -> Image:
    """The frame laid in one of the eight ways."""
    match turn:
        case Turn.NONE:
            return frame
        case Turn.FLIP_ACROSS:
            return frame.fliphor()  # row by row: the only turn that a stream can make
        case Turn.HALF:
            return gathered(frame).rot180()
        case Turn.FLIP_DOWN:
            return gathered(frame).flipver()
        case Turn.TRANSPOSE:
            return gathered(frame).rot90().fliphor()
        case Turn.RIGHT:
            return gathered(frame).rot90()
        case Turn.TRANSVERSE:
            return gathered(frame).rot90().flipver()
        case Turn.LEFT:
            return gathered(frame).rot270()
        case _:
            assert_never(turn)
