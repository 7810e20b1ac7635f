"""Windows with fractional edges: the scaled pixels, the size they are scaled to, and the error of the edges."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.recipe import AnyOp, Extract, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.subpixel_crop import crop_and_scale
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter

KERNEL = Filter.LANCZOS3

# fmt: off
WINDOWS = [
    # left, width               of     to     scaled          to   cropped to
    (Fraction(0),    Fraction(400),    400, 100, (0, 400),   100, (0, 100)),
    (Fraction(100),  Fraction(200),    400, 100, (100, 200), 100, (0, 100)),
    (Fraction(5, 8), Fraction(795, 4), 200, 112, (0, 200),   112, (0, 112)),  # 113 has a larger error
    (Fraction(7, 8), Fraction(125),    500, 78,  (0, 126),   79,  (1, 78)),
    (Fraction(1, 3), Fraction(2, 3),   1,   20,  (0, 1),     30,  (10, 20)),   # enlarged 30 times
]
# fmt: on


@pytest.mark.parametrize(("left", "width", "of", "to", "scaled", "size", "kept"), WINDOWS)
def test_windows(
    left: Fraction, width: Fraction, of: int, to: int, scaled: tuple[int, int], size: int, kept: tuple[int, int]
) -> None:
    ops = crop_and_scale(Region(left, Fraction(0), width, Fraction(8)), Size(to, 4), Size(of, 8), KERNEL)
    assert _across(ops) == (scaled, size, kept)


def _across(ops: tuple[AnyOp, ...]) -> tuple[tuple[int, int], int, tuple[int, int]]:
    match ops:
        case (Extract(box), Scale(size), Extract(inner)):
            return (box.left, box.width), size.width, (inner.left, inner.width)
        case _:
            raise AssertionError(ops)


def test_a_window_of_the_size_of_the_result_is_not_scaled() -> None:
    window = Region(Fraction("3.5"), Fraction(0), Fraction(40), Fraction(8))
    assert crop_and_scale(window, Size(40, 8), Size(60, 8), KERNEL) == (Extract(Box(4, 0, 40, 8)),)


sides, parts = st.integers(1, 300), st.fractions(0, 1, max_denominator=97)


@settings(deadline=None)
@given(of=sides, to=sides, left=parts, width=st.fractions(Fraction(1, 50), 1, max_denominator=97))
def test_edges_are_within_half_a_pixel_of_the_result(of: int, to: int, left: Fraction, width: Fraction) -> None:
    window = Region(left * (1 - width) * of, Fraction(0), width * of, Fraction(8))
    # Four of eight rows: scaled even if the columns are not.
    (first, count), size, (before, kept) = _across(crop_and_scale(window, Size(to, 4), Size(of, 8), KERNEL))
    pixel, half = Fraction(count, size), window.width / to / 2
    assert abs(first + before * pixel - window.left) <= half
    assert abs(first + (before + kept) * pixel - window.right) <= half
    assert kept == to
