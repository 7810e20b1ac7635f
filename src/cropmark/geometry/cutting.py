"""A window of a frame, perhaps between its pixels, brought to a size: as Ops in whole pixels."""

from __future__ import annotations

from fractions import Fraction

from cropmark.geometry.recipe import Extract, Op, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.rounding import hull, length, r, start
from cropmark.plan.steps import Filter
from cropmark.values import Box, Size


def cut_and_scaled(window: Region, size: Size, frame: Size, kernel: Filter) -> tuple[Op, ...]:
    """The ops that show the window, which lies inside the frame, at `size`.

    Where the window has as many pixels as the result, they are taken as they are, from the nearest whole corner. Else
    the whole pixels around the window are scaled, and what they hold too much is cut after it: the edges are exact
    within half a pixel of the result. Ops that change nothing are among them; Drawing leaves them out.
    """
    if size == Size(length(window.width), length(window.height)):
        left = start(window.left, size.width, frame.width)
        top = start(window.top, size.height, frame.height)
        return (Extract(Box(left, top, size.width, size.height)),)
    box = hull(window)
    across, down = size.width / window.width, size.height / window.height
    scaled = Size(length(box.width * across), length(box.height * down))
    return (Extract(box), Scale(scaled, kernel), Extract(_inner(window, box, size, across, down)))


def _inner(window: Region, box: Box, size: Size, across: Fraction, down: Fraction) -> Box:
    """The result inside the scaled hull. It never passes its edge, since rounding keeps the order of numbers."""
    left, top = r((window.left - box.left) * across), r((window.top - box.top) * down)
    return Box(left, top, size.width, size.height)
