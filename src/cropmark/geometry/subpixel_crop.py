"""Scales a window with fractional edges: crops to the pixels that the window touches, then resamples the window."""

from __future__ import annotations

from fractions import Fraction

from cropmark.geometry.recipe import AnyOp, Extract, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.rounding import outer_box, round_side, round_start
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter


def crop_and_scale(window: Region, size: Size, frame: Size, kernel: Filter) -> tuple[AnyOp, ...]:
    """The ops that crop the frame to the window, which is inside it, and scale the window to `size`.

    If the rounded window already has this size, it is cropped at the nearest whole pixel and not resampled.
    """
    if size == Size(round_side(window.width), round_side(window.height)):
        left = round_start(window.left, size.width, frame.width)
        top = round_start(window.top, size.height, frame.height)
        return (Extract(Box(left, top, size.width, size.height)),)
    return scale_window(window, size, kernel)


def scale_window(window: Region, size: Size, kernel: Filter) -> tuple[AnyOp, ...]:
    """The ops that resample exactly the window to `size`.

    Pixels that the window does not touch have no influence on the result.
    """
    box = outer_box(window)
    inner = window.moved(Fraction(-box.left), Fraction(-box.top))
    is_whole = inner == Region.from_size(box.size)
    return (Extract(box), Scale(size, kernel, None if is_whole else inner))
