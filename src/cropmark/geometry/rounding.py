"""Rounds fractions to whole pixels. No other module rounds a size or position of a result."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, isqrt
from typing import assert_never

from cropmark.geometry.region import Region
from cropmark.model.values import Box
from cropmark.plan.steps import Rounding

_HALF = Fraction(1, 2)


def round_half_up(value: Fraction) -> int:
    """The nearest whole number. A half is rounded up: 5/2 gives 3, -5/2 gives -2.

    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    # Not round(): it rounds halves to even numbers, so a box would shift with the parity of the frame.
    return floor(value + _HALF)


def round_by(value: Fraction, rounding: Rounding) -> int:
    """The value rounded by this rule. DOWN rounds toward negative infinity."""
    match rounding:
        case Rounding.NEAREST:
            return round_half_up(value)
        case Rounding.DOWN:
            return floor(value)
        case _:
            assert_never(rounding)


def round_side(value: Fraction, rounding: Rounding = Rounding.NEAREST) -> int:
    """The length of a side as a whole number, at least 1."""
    return max(1, round_by(value, rounding))


def round_start(value: Fraction, length: int, side: int) -> int:
    """The first pixel of a span of `length` px, nearest to `value` but with the span inside a side of `side` px."""
    return max(0, min(round_half_up(value), side - length))


def outer_box(region: Region) -> Box:
    """The smallest box of whole pixels that contains the region."""
    left, top = floor(region.left), floor(region.top)
    return Box(left, top, max(1, ceil(region.right) - left), max(1, ceil(region.bottom) - top))


def ceil_px(side: Fraction) -> int:
    """The number of pixels that a side covers, including a pixel that it covers partly."""
    return ceil(side)


def round_half_even(value: Fraction) -> int:
    """The nearest whole number. A half is rounded to an even number, as in libvips for some sizes."""
    return round(value)


def sqrt_below(value: Fraction) -> Fraction:
    """The square root of the value, rounded down to a fraction, so that its square is at most the value."""
    return Fraction(isqrt(floor(value * 2**64)), 2**32)


def floor_side(value: Fraction) -> int:
    """The length of a side rounded down, at least 1. It is for limits that rounding up would exceed."""
    return max(1, floor(value))
