from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.region import Region
from cropmark.geometry.rounding import (
    ceil_px,
    floor_side,
    outer_box,
    round_by,
    round_half_even,
    round_half_up,
    round_side,
    round_start,
    sqrt_below,
)
from cropmark.model.values import Box
from cropmark.plan.steps import Rounding

# fmt: off
NEAREST = [
    # value              round  side
    (Fraction(0),        0,   1),   # a side is at least 1
    (Fraction(1, 2),     1,   1),   # ties go up
    (Fraction(-1, 2),    0,   1),   # also below zero
    (Fraction(5, 2),     3,   3),
    (Fraction(-5, 2),    -2,  1),
    (Fraction(7, 2),     4,   4),   # not to the even number
    (Fraction("685.71"), 686, 686),
    (Fraction("711.11"), 711, 711),
    (Fraction("0.4999"), 0,   1),
]

DOWN = [
    # value              down  side
    (Fraction(0),        0,    1),
    (Fraction(1, 2),     0,    1),
    (Fraction(-1, 2),    -1,   1),
    (Fraction("888.89"), 888,  888),
    (Fraction("55.5"),   55,   55),
    (Fraction(889),      889,  889),
]

STARTS = [
    # value            length  side  start
    (Fraction(10),     5,  20, 10),
    (Fraction("9.5"),  5,  20, 10),
    (Fraction("15.5"), 5,  20, 15),   # 16 would end outside the side
    (Fraction("-0.6"), 5,  20, 0),
    (Fraction(3),      20, 20, 0),
]

OUTER_BOXES = [
    (Region(Fraction("0.5"), Fraction(1), Fraction(2), Fraction(3)),              Box(0, 1, 3, 3)),
    (Region(Fraction(0), Fraction("183.33"), Fraction(1600), Fraction("533.33")), Box(0, 183, 1600, 534)),
    (Region(Fraction(2), Fraction(2), Fraction(0), Fraction(0)),                  Box(2, 2, 1, 1)),
]
# fmt: on


@pytest.mark.parametrize(("value", "rounded", "side"), NEAREST)
def test_nearest(value: Fraction, rounded: int, side: int) -> None:
    assert (round_half_up(value), round_side(value)) == (rounded, side)


@pytest.mark.parametrize(("value", "rounded", "side"), DOWN)
def test_down(value: Fraction, rounded: int, side: int) -> None:
    assert (round_by(value, Rounding.DOWN), round_side(value, Rounding.DOWN)) == (rounded, side)


@pytest.mark.parametrize(("value", "size", "side", "first"), STARTS)
def test_start(value: Fraction, size: int, side: int, first: int) -> None:
    assert round_start(value, size, side) == first


@pytest.mark.parametrize(("region", "box"), OUTER_BOXES)
def test_outer_box(region: Region, box: Box) -> None:
    assert outer_box(region) == box


def test_a_partly_covered_pixel_counts() -> None:
    assert [ceil_px(Fraction(side, 8)) for side in (1000, 1001, 8, 7)] == [125, 126, 1, 1]


def test_round_half_even_is_rint() -> None:
    assert [round_half_even(Fraction(n, 2)) for n in (1, 2, 3, 5, 501, 1003)] == [0, 1, 2, 2, 250, 502]


@settings(deadline=None)
@given(st.fractions(min_value=0, max_value=10**6))
def test_sqrt_below_never_exceeds_the_root(value: Fraction) -> None:
    root = sqrt_below(value)
    assert root * root <= value < (root + Fraction(1, 2**31)) ** 2


@settings(deadline=None)
@given(st.fractions(min_value=1, max_value=10**6))
def test_floor_side_never_rounds_up(value: Fraction) -> None:
    assert value - 1 < floor_side(value) <= value
