"""Windows with fractional edges: the touched pixels that are cropped, and the exact window that is resampled."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.recipe import AnyOp, Extract, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.subpixel_crop import crop_and_scale, scale_window
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter
from tests.geometry.plans import frame_at_the_end, shown

KERNEL = Filter.LANCZOS3


def across(left: str, width: str) -> Region:
    return Region(Fraction(left), Fraction(0), Fraction(width), Fraction(8))


# fmt: off
WINDOWS = [
    # window                  to   cropped to           window of the crop; None: all of it
    (across("0",   "400"),    100, Box(0, 0, 400, 8),   None),
    (across("100", "200"),    100, Box(100, 0, 200, 8), None),
    (across("5/8", "795/4"),  112, Box(0, 0, 200, 8),   across("5/8", "795/4")),
    (across("100", "100.4"),   50, Box(100, 0, 101, 8), across("0", "100.4")),    # only the far edge is fractional
    (across("7/8", "125"),     78, Box(0, 0, 126, 8),   across("7/8", "125")),
    (across("4/3", "2/3"),     20, Box(1, 0, 1, 8),     across("1/3", "2/3")),    # enlarged 30 times
]
# fmt: on


@pytest.mark.parametrize(("window", "to", "box", "inner"), WINDOWS)
def test_windows(window: Region, to: int, box: Box, inner: Region | None) -> None:
    ops = crop_and_scale(window, Size(to, 4), Size(500, 8), KERNEL)
    assert ops == (Extract(box), Scale(Size(to, 4), KERNEL, inner))


def test_a_window_of_the_size_of_the_result_is_not_scaled() -> None:
    window = Region(Fraction("3.5"), Fraction(0), Fraction(40), Fraction(8))
    assert crop_and_scale(window, Size(40, 8), Size(60, 8), KERNEL) == (Extract(Box(4, 0, 40, 8)),)


def test_a_window_of_less_than_two_pixels_is_scaled_to_one_where_scaling_is_asked_for() -> None:
    window = Region(Fraction(0), Fraction(0), Fraction("1.4"), Fraction("1.4"))
    assert scale_window(window, Size(1, 1), KERNEL)[1:] == (Scale(Size(1, 1), KERNEL, window),)


sides, parts = st.integers(1, 300), st.fractions(0, 1, max_denominator=97)


@settings(deadline=None)
@given(of=sides, to=sides, left=parts, width=st.fractions(Fraction(1, 50), 1, max_denominator=97))
def test_a_scaled_window_is_exact(of: int, to: int, left: Fraction, width: Fraction) -> None:
    window = Region(left * (1 - width) * of, Fraction(0), width * of, Fraction(8))
    # Four of eight rows: scaled even if the columns are not.
    ops: tuple[AnyOp, ...] = crop_and_scale(window, Size(to, 4), Size(of, 8), KERNEL)
    assert frame_at_the_end(ops, Size(of, 8), ()) == Size(to, 4)
    assert shown(ops, Size(of, 8)) == window
