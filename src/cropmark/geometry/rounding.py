"""Where a fraction becomes a whole pixel: here and nowhere else."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, isqrt

from cropmark.geometry.region import Region
from cropmark.model.values import Box

_HALF = Fraction(1, 2)


def round_half_up(value: Fraction) -> int:
    """The nearest whole number, ties up, below zero too: 5/2 is 3, -5/2 is -2.

    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    # Not round(): it takes halves to the even side, so a box would shift with the parity of the frame.
    return floor(value + _HALF)


def length(value: Fraction) -> int:
    """The nearest whole number, at least 1: a side never vanishes by rounding."""
    return max(1, round_half_up(value))


def start(value: Fraction, length: int, side: int) -> int:
    """The first pixel nearest to `value` at which `length` px still lie inside a `side` of at least as many."""
    return max(0, min(round_half_up(value), side - length))


def outer_box(region: Region) -> Box:
    """The smallest box of whole pixels that holds the region."""
    left, top = floor(region.left), floor(region.top)
    return Box(left, top, max(1, ceil(region.right) - left), max(1, ceil(region.bottom) - top))


def neighbors(value: Fraction) -> tuple[int, int]:
    """The whole numbers below and above, for whoever tries both; twice the same for a whole number."""
    return floor(value), ceil(value)


def ceil_px(side: Fraction) -> int:
    """How many pixels a side covers, the last perhaps in part."""
    return ceil(side)


def nearest_even(value: Fraction) -> int:
    """The nearest whole number, ties to the even one, as C's rint() has it: for sizes that libvips computes so."""
    return round(value)


def root_below(value: Fraction) -> Fraction:
    """A fraction whose square is at most `value` and nearly that."""
    return Fraction(isqrt(floor(value * 2**64)), 2**32)


def length_below(value: Fraction) -> int:
    """The largest whole number not above the value, at least 1: for a bound that rounding up would break."""
    return max(1, floor(value))
