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

# An image of 3 by 2 pixels, each with its own letter.
PICTURE = ["abc", "def"]

# fmt: off
IMAGES = [
    # out(x, y) = in(...)
    (Orientation.NONE,            ["abc", "def"]),
    (Orientation.FLIP_HORIZONTAL, ["cba", "fed"]),       # W-1-x, y
    (Orientation.ROTATE_180,      ["fed", "cba"]),       # W-1-x, H-1-y
    (Orientation.FLIP_VERTICAL,   ["def", "abc"]),       # x, H-1-y
    (Orientation.TRANSPOSE,       ["ad", "be", "cf"]),   # y, x
    (Orientation.ROTATE_90,       ["da", "eb", "fc"]),   # y, H-1-x
    (Orientation.TRANSVERSE,      ["fc", "eb", "da"]),   # W-1-y, H-1-x
    (Orientation.ROTATE_270,      ["cf", "be", "ad"]),   # W-1-y, x
]
# fmt: on


def laid(image: list[str], turn: Orientation) -> list[str]:
    """The image rotated pixel by pixel with rotate_region."""
    height, width = len(image), len(image[0])
    pixel = Region(Fraction(0), Fraction(0), Fraction(1, width), Fraction(1, height))
    across, down = (height, width) if turn.swaps_sides else (width, height)
    found = [[""] * across for _ in range(down)]
    for y, row in enumerate(image):
        for x, name in enumerate(row):
            there = rotate_region(pixel.moved(Fraction(x, width), Fraction(y, height)), turn)
            found[int(there.top * down)][int(there.left * across)] = name
    return ["".join(row) for row in found]


@pytest.mark.parametrize(("turn", "image"), IMAGES)
def test_an_orientation_moves_the_pixels(turn: Orientation, image: list[str]) -> None:
    assert laid(PICTURE, turn) == image


@pytest.mark.parametrize("then", Orientation)
@pytest.mark.parametrize("first", Orientation)
def test_two_orientations_combine_to_one(first: Orientation, then: Orientation) -> None:
    assert laid(laid(PICTURE, first), then) == laid(PICTURE, combine(first, then))


# fmt: off
MIRRORED = [
    # orientation                 x, y of the result are opposite to the image's
    (Orientation.NONE,            (False, False)),
    (Orientation.FLIP_HORIZONTAL, (True,  False)),
    (Orientation.ROTATE_90,       (True,  False)),   # its x is the image's y, from the bottom
    (Orientation.ROTATE_270,      (False, True)),
    (Orientation.TRANSVERSE,      (True,  True)),
]
# fmt: on


@pytest.mark.parametrize(("turn", "axes"), MIRRORED)
def test_mirrored_axes(turn: Orientation, axes: tuple[bool, bool]) -> None:
    assert mirrored_axes(turn) == axes


@settings(deadline=None)
@given(regions, turns)
def test_unrotate_region_inverts_rotate_region(region: Region, turn: Orientation) -> None:
    assert unrotate_region(rotate_region(region, turn), turn) == region
