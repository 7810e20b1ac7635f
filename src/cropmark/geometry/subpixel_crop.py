"""Cropping to a window with fractional edges and scaling it, with Ops in whole pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.recipe import AnyOp, Extract, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.rounding import floor_and_ceil, outer_box, round_side, round_start
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter


def crop_and_scale(window: Region, size: Size, frame: Size, kernel: Filter) -> tuple[AnyOp, ...]:
    """The ops that scale the window, which is inside the frame, to `size`.

    A window with the rounded size of the result is cropped at the nearest whole pixel and not resampled. Otherwise its
    outer box is scaled and the excess is cropped after that: the edges are exact within half a pixel of the result.
    The result may include ops that change nothing; FrameState.apply() drops them.
    """
    if size == Size(round_side(window.width), round_side(window.height)):
        left = round_start(window.left, size.width, frame.width)
        top = round_start(window.top, size.height, frame.height)
        return (Extract(Box(left, top, size.width, size.height)),)
    box = outer_box(window)
    across = _scale_axis(window.left - box.left, window.width, box.width, size.width)
    down = _scale_axis(window.top - box.top, window.height, box.height, size.height)
    inner = Box(across.before, down.before, size.width, size.height)
    return (Extract(box), Scale(Size(across.scaled, down.scaled), kernel), Extract(inner))


@dataclass(frozen=True, slots=True)
class _AxisScaling:
    """One axis: the number of pixels that the outer box is scaled to, and how many of them are before the result."""

    scaled: int
    before: int


def _scale_axis(offset: Fraction, length: Fraction, outer_side: int, side: int) -> _AxisScaling:
    """The scaling that best maps `length` px, beginning `offset` px inside the outer box, to `side` px.

    Rounding both numbers separately could add up to an error of a whole pixel at the far edge.
    """

    def error(scaling: _AxisScaling) -> Fraction:
        begin = Fraction(scaling.before * outer_side, scaling.scaled)
        end = Fraction((scaling.before + side) * outer_side, scaling.scaled)
        return max(abs(begin - offset), abs(end - offset - length))

    candidates = (
        _AxisScaling(scaled, before)
        for scaled in floor_and_ceil(side * outer_side / length)
        for before in floor_and_ceil(offset * scaled / outer_side)
        if before + side <= scaled
    )
    return min(candidates, key=error)
