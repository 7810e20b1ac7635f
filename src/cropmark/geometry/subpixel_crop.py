"""A window of a frame, perhaps between its pixels, brought to a size: as Ops in whole pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.recipe import Extract, Op, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.rounding import length, neighbors, outer_box, start
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter


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
    box = outer_box(window)
    across = _along(window.left - box.left, window.width, box.width, size.width)
    down = _along(window.top - box.top, window.height, box.height, size.height)
    inner = Box(across.before, down.before, size.width, size.height)
    return (Extract(box), Scale(Size(across.scaled, down.scaled), kernel), Extract(inner))


@dataclass(frozen=True, slots=True)
class _Along:
    """One axis: to how many pixels the hull is scaled, and how many of them lie before the result."""

    scaled: int
    before: int


def _along(offset: Fraction, kept: Fraction, hull_side: int, side: int) -> _Along:
    """The whole numbers by which `kept` px of the hull, `offset` px from its beginning, come out nearest at `side` px.

    To round either by itself would let the errors add up to a whole pixel at the far edge.
    """

    def error(along: _Along) -> Fraction:
        begins = Fraction(along.before * hull_side, along.scaled)
        ends = Fraction((along.before + side) * hull_side, along.scaled)
        return max(abs(begins - offset), abs(ends - offset - kept))

    candidates = (
        _Along(scaled, before)
        for scaled in neighbors(side * hull_side / kept)
        for before in neighbors(offset * scaled / hull_side)
        if before + side <= scaled
    )
    return min(candidates, key=error)
