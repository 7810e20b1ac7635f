from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.analysis.resample import resample

# fmt: off
LINES = [
    # pixels           to   become
    ([0, 10, 20, 30],  2,   [5, 25]),
    ([0, 30, 60],      2,   [10, 50]),       # the middle pixel is split between both
    ([0, 30],          3,   [0, 15, 30]),
    ([7, 8, 9],        3,   [7, 8, 9]),
    ([5],              4,   [5, 5, 5, 5]),
]
# fmt: on


@pytest.mark.parametrize(("pixels", "cells", "means"), LINES)
def test_cells_are_means_of_what_they_cover(pixels: list[int], cells: int, means: list[float]) -> None:
    across = np.array([pixels], np.uint8)
    assert resample(across, 1, cells).tolist() == [pytest.approx(means)]
    assert resample(across.T, cells, 1)[:, 0].tolist() == pytest.approx(means)


def test_bands_stay_apart() -> None:
    image = np.array([[[0, 100, 200], [10, 110, 210]]], np.uint8)
    assert resample(image, 1, 1).tolist() == [[pytest.approx([5, 105, 205])]]


sides = st.integers(1, 40)


@given(sides, sides, sides, sides, st.integers(0, 2**32 - 1))
def test_the_mean_does_not_change(height: int, width: int, new_height: int, new_width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    small = resample(image, new_height, new_width)
    assert small.shape == (new_height, new_width)
    assert float(small.mean()) == pytest.approx(float(image.mean()), rel=1e-4, abs=1e-3)
