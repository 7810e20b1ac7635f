"""Detection of a border of one color."""

from __future__ import annotations

from fractions import Fraction
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.engine.trim import content_box
from cropmark.geometry.findings import FindBorder
from cropmark.model.values import CLEAR, WHITE, Box, Color
from cropmark.plan.steps import AutoColor
from tests.engine.images import Array, frame_of, noise
from tests.hostile.slowness import slowness

F = Fraction
AUTO = AutoColor.TOP_LEFT
GRAY = Color(100, 100, 100)


def bordered(pixel: tuple[int, ...], *, border: tuple[int, ...] = (100, 100, 100)) -> Array:
    """20 by 10 px of a border with 5 by 3 px of something else at 6, 4."""
    image = np.full((10, 20, len(border)), border, np.uint8)
    image[4:7, 6:11] = pixel
    return image


WITHIN, WHOLE = Box(6, 4, 5, 3), Box(0, 0, 20, 10)

# fmt: off
LOOKS = [
    # the inner pixels      color  tolerance     found
    ((101, 100, 100),       GRAY,   F(0),         WITHIN),   # one level in one part is another color
    ((100, 100, 100),       GRAY,   F(0),         None),
    ((151, 100, 100),       GRAY,   F(51, 255),   None),     # 51 of 255 is a fifth: at the tolerance is border
    ((152, 100, 100),       GRAY,   F(51, 255),   WITHIN),
    ((100, 100,  48),       GRAY,   F(1, 5),      WITHIN),   # below as above
    ((100, 100,  49),       GRAY,   F(1, 5),      None),
    ((150, 150, 150),       GRAY,   F(1, 5),      None),     # the largest part counts, not the sum
    ((101, 100, 100),       AUTO,   F(0),         WITHIN),
    ((0, 0, 0),             WHITE,  F(0),         WHOLE),    # no border of that color
    ((255, 255, 255),       GRAY,   F(1),         None),     # 1 is everything
    ((101, 100, 100),       CLEAR,  F(0),         WHOLE),    # opaque pixels differ from transparent ones
    ((255, 255, 255),       CLEAR,  F(1),         None),
    ((160, 100, 100),       Color(100, 100, 100, 204), F(1, 5), WITHIN),  # alpha is off by exactly a fifth
]
# fmt: on


@pytest.mark.parametrize(("pixel", "color", "tolerance", "found"), LOOKS)
def test_the_border_of_an_opaque_image(
    pixel: tuple[int, ...], color: Color | AutoColor, tolerance: Fraction, found: Box | None
) -> None:
    assert content_box(frame_of(bordered(pixel)), FindBorder(color, tolerance)) == found


# fmt: off
WITH_ALPHA = [
    # border               inner                color             found
    ((100, 100, 100, 255), (100, 100, 100, 254), GRAY,              WITHIN),
    ((100, 100, 100, 0),   (100, 100, 100, 255), AUTO,              WITHIN),
    ((0, 0, 0, 0),         (0, 0, 0, 255),       CLEAR,             WITHIN),
    ((9, 0, 0, 0),         (0, 0, 0, 255),       CLEAR,             WHOLE),   # clear, but not that clear color
    ((100, 100, 100, 0),   (50, 50, 50, 0),      GRAY,              WHOLE),   # a color without alpha is opaque
]
# fmt: on


@pytest.mark.parametrize(("border", "pixel", "color", "found"), WITH_ALPHA)
def test_alpha_is_a_part_like_the_others(
    border: tuple[int, ...], pixel: tuple[int, ...], color: Color | AutoColor, found: Box
) -> None:
    assert content_box(frame_of(bordered(pixel, border=border)), FindBorder(color, F(0))) == found


@given(st.integers(0, 255), st.fractions(0, 1), st.integers(1, 9), st.integers(1, 9), st.integers(3, 4), st.integers())
def test_it_is_what_the_rule_says(
    level: int, tolerance: Fraction, width: int, height: int, bands: int, seed: int
) -> None:
    image = noise(width, height, bands, seed % 2**32) // 64 * 85
    color = Color(level, level, level)
    parts = np.array([level, level, level, 255][:bands])
    far = np.abs(image.astype(int) - parts).max(axis=2)
    hits = [(y, x) for y in range(height) for x in range(width) if F(int(far[y, x]), 255) > tolerance]
    rows, columns = [y for y, _ in hits], [x for _, x in hits]
    expected = (
        Box(min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1) if hits else None
    )
    assert content_box(frame_of(image), FindBorder(color, tolerance)) == expected


def test_twelve_megapixels_take_no_half_second() -> None:
    """Measured: 25 ms in addition to the decoding."""
    frame = frame_of(np.zeros((3000, 4000, 3), np.uint8))
    slow = slowness(process_time)
    begun = process_time()
    assert content_box(frame, FindBorder(Color(0, 0, 0), F(0))) is None
    assert process_time() - begun < 0.5 * slow
