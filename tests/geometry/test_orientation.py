from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.orientation import combine, mirrored_axes, rotate_region, unrotate_region
from cropmark.geometry.region import Region
from cropmark.plan.steps import Orientation

turns = st.sampled_from(Orientation)
shares = st.fractions(min_value=0, max_value=1, max_denominator=50)
regions = st.builds(Region, shares, shares, shares, shares)

# A picture of 3 by 2 pixels, each known by its place.
PICTURE = ["abc", "def"]

# fmt: off
PICTURES = [
    # fastly.md 6: out(x, y) = in(...)
    (Orientation.NONE,        ["abc", "def"]),
    (Orientation.FLIP_HORIZONTAL, ["cba", "fed"]),          # W-1-x, y
    (Orientation.ROTATE_180,        ["fed", "cba"]),          # W-1-x, H-1-y
    (Orientation.FLIP_VERTICAL,   ["def", "abc"]),          # x, H-1-y
    (Orientation.TRANSPOSE,   ["ad", "be", "cf"]),      # y, x
    (Orientation.ROTATE_90,       ["da", "eb", "fc"]),      # y, H-1-x
    (Orientation.TRANSVERSE,  ["fc", "eb", "da"]),      # W-1-y, H-1-x
    (Orientation.ROTATE_270,        ["cf", "be", "ad"]),      # W-1-y, x
]
# fmt: on


def laid(picture: list[str], turn: Orientation) -> list[str]:
    """The picture turned pixel by pixel, each pixel's square carried by `turned`."""
    height, width = len(picture), len(picture[0])
    pixel = Region(Fraction(0), Fraction(0), Fraction(1, width), Fraction(1, height))
    across, down = (height, width) if turn.swaps_sides else (width, height)
    found = [[""] * across for _ in range(down)]
    for y, row in enumerate(picture):
        for x, name in enumerate(row):
            there = rotate_region(pixel.moved(Fraction(x, width), Fraction(y, height)), turn)
            found[int(there.top * down)][int(there.left * across)] = name
    return ["".join(row) for row in found]


@pytest.mark.parametrize(("turn", "picture"), PICTURES)
def test_a_turn_lays_the_pixels(turn: Orientation, picture: list[str]) -> None:
    assert laid(PICTURE, turn) == picture


@pytest.mark.parametrize("then", Orientation)
@pytest.mark.parametrize("first", Orientation)
def test_two_turns_are_one(first: Orientation, then: Orientation) -> None:
    assert laid(laid(PICTURE, first), then) == laid(PICTURE, combine(first, then))


# fmt: off
MIRRORED = [
    # turn              x, y of the result run against the picture's
    (Orientation.NONE,         (False, False)),
    (Orientation.FLIP_HORIZONTAL,  (True,  False)),
    (Orientation.ROTATE_90,        (True,  False)),   # its x is the picture's y, from the bottom
    (Orientation.ROTATE_270,         (False, True)),
    (Orientation.TRANSVERSE,   (True,  True)),
]
# fmt: on


@pytest.mark.parametrize(("turn", "axes"), MIRRORED)
def test_axes_that_run_backwards(turn: Orientation, axes: tuple[bool, bool]) -> None:
    assert mirrored_axes(turn) == axes


@settings(deadline=None)
@given(regions, turns)
def test_unturned_undoes_turned(region: Region, turn: Orientation) -> None:
    assert unrotate_region(rotate_region(region, turn), turn) == region
