"""Exact values: valid and invalid ones, and properties of boxes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.values import (
    CLEAR,
    FULL_LENGTH,
    WHITE,
    ZERO_LENGTH,
    Box,
    Color,
    Pixels,
    Ratio,
    Share,
    Size,
    bounding_box,
)

# fmt: off
UNBUILDABLE: list[tuple[Callable[[], object], str]] = [
    (lambda: Size(0, 5),                         "at least 1 by 1, not 0 by 5"),
    (lambda: Size(5, -1),                        "at least 1 by 1"),
    (lambda: Box(0, 0, 0, 5),                    "at least 1 by 1, not 0 by 5"),
    (lambda: Ratio(Fraction(16), Fraction(0)),   "numbers above 0, not 16:0"),
    (lambda: Ratio(Fraction(-1), Fraction(1)),   "numbers above 0"),
    (lambda: Color(256, 0, 0),                  "0 to 255"),
    (lambda: Color(0, 0, 0, -1),                "0 to 255"),
]
CLIPPED = [
    # box                        in a frame of    leaves
    (Box(100, 50, 640, 400),     Size(1000, 500), Box(100, 50, 640, 400)),     # inside
    (Box(180, 100, 640, 480),    Size(1000, 500), Box(180, 100, 640, 400)),    # clipped at the bottom
    (Box(-20, -10, 100, 100),    Size(1000, 500), Box(0, 0, 80, 90)),          # clipped at the corner
    (Box(-5, -5, 2000, 2000),    Size(1000, 500), Box(0, 0, 1000, 500)),       # clipped on all sides
    (Box(1000, 0, 10, 10),       Size(1000, 500), None),                       # right is exclusive: nothing shared
    (Box(-10, 0, 10, 10),        Size(1000, 500), None),
]
ENCLOSED = [
    # boxes                                   the bounding box
    ([],                                      None),
    ([Box(3, 4, 5, 6)],                       Box(3, 4, 5, 6)),
    ([Box(0, 9, 2, 2), Box(5, 1, 1, 3)],      Box(0, 1, 6, 10)),
    ([Box(0, 0, 9, 9), Box(2, 2, 1, 1)],      Box(0, 0, 9, 9)),
]
LENGTHS = [
    (Pixels(Fraction(641, 2)), 1000, Fraction(641, 2)),    # independent of the side
    (Share(Fraction(1, 3)),    1000, Fraction(1000, 3)),   # exact
    (Share(Fraction(5, 2)),     300, Fraction(750)),
    (FULL_LENGTH,                     300, Fraction(300)),
    (ZERO_LENGTH,                   300, Fraction(0)),
]
# fmt: on


@pytest.mark.parametrize(("build", "words"), UNBUILDABLE)
def test_invalid_values_cannot_be_created(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(("box", "frame", "left"), CLIPPED)
def test_a_box_clipped(box: Box, frame: Size, left: Box | None) -> None:
    assert box.clipped_to(frame) == left
    assert box.within(frame) == (left == box)


@pytest.mark.parametrize(("boxes", "whole"), ENCLOSED)
def test_the_bounding_box(boxes: list[Box], whole: Box | None) -> None:
    assert bounding_box(boxes) == whole


@pytest.mark.parametrize(("length", "side", "pixels"), LENGTHS)
def test_a_length_on_a_side(length: Pixels | Share, side: int, pixels: Fraction) -> None:
    assert length.of(side) == pixels


def test_values_as_text() -> None:
    assert str(Size(640, 480)) == "640x480"
    assert str(Box(10, 20, 640, 480)) == "640x480 at 10,20"


def test_derived_properties() -> None:
    box = Box(10, 20, 30, 40)
    assert (box.right, box.bottom, box.size) == (40, 60, Size(30, 40))
    assert (Size(3, 4).area, Size(3, 4).transposed) == (12, Size(4, 3))
    assert (WHITE.opaque, CLEAR.opaque, Color(1, 2, 3, 254).opaque) == (True, False, False)


sides = st.integers(1, 10_000)
starts = st.integers(-20_000, 20_000)


@given(box=st.builds(Box, starts, starts, sides, sides), frame=st.builds(Size, sides, sides))
def test_a_clipped_box_never_leaves_its_frame_nor_its_box(box: Box, frame: Size) -> None:
    clipped = box.clipped_to(frame)
    if clipped is None:
        shared = box.left < frame.width and box.top < frame.height and box.right > 0 and box.bottom > 0
        assert not shared
    else:
        assert clipped.within(frame)
        assert clipped.left >= box.left and clipped.right <= box.right
        assert clipped.top >= box.top and clipped.bottom <= box.bottom
        assert clipped.clipped_to(frame) == clipped
