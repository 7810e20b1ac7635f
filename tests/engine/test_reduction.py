"""The pixels that move libvips' grid to a window, and the positions of the pixels that it then returns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyvips import Image

from cropmark.engine.reduction import grid, is_reduction, reduce_across, reduce_down
from cropmark.plan.steps import Filter

F = Fraction
starts = st.fractions(0, 1, max_denominator=97)


@settings(deadline=None, max_examples=200)
@given(pixels=st.integers(1, 5000), start=starts, excess=starts, part=st.fractions(0, 1, max_denominator=5000))
@example(pixels=1001, start=F(1, 2), excess=F(1, 2), part=F(1, 2))  # no pixel more moves a grid of every second pixel
@example(pixels=4000, start=F(1, 2), excess=F(0), part=F(3999, 4000))
@example(pixels=2, start=F(1, 2), excess=F(1, 3), part=F(1))
def test_the_grid_meets_both_edges(pixels: int, start: Fraction, excess: Fraction, part: Fraction) -> None:
    length = pixels - start - excess
    result = max(1, int(length * part))
    assume(length > 0 and is_reduction(length, result))
    found = grid(start, length, pixels, result)
    total = found.before + pixels + found.after
    # libvips makes this many pixels, `factor` apart, the middle one in the middle of the image
    made = round(total / found.factor)
    near = total / 2 + (found.first - made / 2) * found.factor - found.before
    allowed = 0.02 * float(length) / result
    assert 0 <= found.first <= made - result
    assert abs(near - float(start)) <= allowed
    assert abs(near + result * found.factor - float(start + length)) <= allowed
    assert found.before <= max(16, pixels)  # these are computed if the frame is a stream


@pytest.mark.parametrize(
    ("length", "result", "expected"),
    [
        (F(100), 50, True),
        (F("100.5"), 100, True),
        (F("100.4"), 100, False),
        (F("1.4"), 1, True),
        (F("1.05"), 1, False),
        (F(100), 100, False),
        (F(50), 100, False),
    ],
)
def test_what_is_a_reduction(length: Fraction, result: int, expected: bool) -> None:
    assert is_reduction(length, result) is expected


# fmt: off
WINDOWS = [
    # start     length         result
    (F(0),      F("600.375"),  400),
    (F("0.6"),  F("500.1"),    78),
    (F("0.5"),  F(599),        597),
    (F("0.5"),  F(600),        300),
    (F("1/3"),  F(600),        299),
    (F("0.25"), F("240.75"),   100),
    (F("0.25"), F(600),        20),    # averages first
]
# fmt: on


def ramp() -> NDArray[np.float32]:
    """Each pixel has its own position as its value, so that a result has the positions that it was computed from."""
    return np.tile(np.arange(602, dtype=np.float32) + 0.5, (5, 1))


def float_image(array: NDArray[np.float32]) -> Image:
    return Image.new_from_memory(np.ascontiguousarray(array).tobytes(), array.shape[1], array.shape[0], 1, "float")


@pytest.mark.parametrize("kernel", [Filter.LINEAR, Filter.CUBIC, Filter.LANCZOS2, Filter.LANCZOS3])
@pytest.mark.parametrize(("start", "length", "result"), WINDOWS)
def test_every_pixel_is_in_its_place(start: Fraction, length: Fraction, result: int, kernel: Filter) -> None:
    distance = float(length) / result
    expected = float(start) + (np.arange(result) + 0.5) * distance
    across = reduce_across(float_image(ramp()), start, length, result, kernel).numpy()[2]
    down = reduce_down(float_image(ramp().T), start, length, result, kernel).numpy()[:, 2]
    for found in (across, down):
        assert found.shape == (result,)
        error = (found - expected)[4:-4] / distance
        assert np.abs(error).max() <= 0.06  # no kernel reproduces a slope exactly
        assert abs(error.mean()) <= 0.02
