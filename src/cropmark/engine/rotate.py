"""Applies the eight Exif orientations to a frame."""

from __future__ import annotations

from typing import assert_never

from pyvips import Image

from cropmark.engine.image import in_memory
from cropmark.plan.steps import Orientation


def orient(frame: Image, orientation: Orientation) -> Image:
    """The frame, flipped or rotated as the orientation demands."""
    match orientation:
        case Orientation.NONE:
            return frame
        case Orientation.FLIP_HORIZONTAL:
            return frame.fliphor()  # row by row: the only orientation that works on a stream
        case Orientation.ROTATE_180:
            return in_memory(frame).rot180()
        case Orientation.FLIP_VERTICAL:
            return in_memory(frame).flipver()
        case Orientation.TRANSPOSE:
            return in_memory(frame).rot90().fliphor()
        case Orientation.ROTATE_90:
            return in_memory(frame).rot90()
        case Orientation.TRANSVERSE:
            return in_memory(frame).rot90().flipver()
        case Orientation.ROTATE_270:
            return in_memory(frame).rot270()
        case _:
            assert_never(orientation)
