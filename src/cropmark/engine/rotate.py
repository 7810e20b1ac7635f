"""The eight ways to lay a frame."""

from __future__ import annotations

from typing import assert_never

from pyvips import Image

from cropmark.engine.image import gathered
from cropmark.plan.steps import Orientation


def turned(frame: Image, turn: Orientation) -> Image:
    """The frame laid in one of the eight ways."""
    match turn:
        case Orientation.NONE:
            return frame
        case Orientation.FLIP_ACROSS:
            return frame.fliphor()  # row by row: the only turn that a stream can make
        case Orientation.HALF:
            return gathered(frame).rot180()
        case Orientation.FLIP_DOWN:
            return gathered(frame).flipver()
        case Orientation.TRANSPOSE:
            return gathered(frame).rot90().fliphor()
        case Orientation.RIGHT:
            return gathered(frame).rot90()
        case Orientation.TRANSVERSE:
            return gathered(frame).rot90().flipver()
        case Orientation.LEFT:
            return gathered(frame).rot270()
        case _:
            assert_never(turn)
