"""Gray images with a profile or a curve."""

from __future__ import annotations

import numpy as np
import pytest

from cropmark.engine.color_tags import SRGB, Curve
from cropmark.engine.gray import gray_by_curve, gray_by_profile
from tests.engine.images import Array, gray_profile, pixels
from tests.engine.test_tone_map import image_of

LEVELS = np.arange(256, dtype=np.uint8)[None, :, None]


def srgb_levels(gamma: float) -> Array:
    light = (np.arange(256) / 255) ** gamma
    samples = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    rounded: Array = np.rint(255 * samples).astype(np.uint8)
    return rounded


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.5])
def test_each_level_is_exact(gamma: float) -> None:
    expected = srgb_levels(gamma)
    assert np.array_equal(pixels(gray_by_curve(image_of(LEVELS), Curve(gamma)))[0, :, 0], expected)
    converted = gray_by_profile(image_of(LEVELS), gray_profile(gamma))
    assert converted is not None
    # The curve of a profile is a table of 16 bits.
    assert np.abs(pixels(converted)[0, :, 0].astype(int) - expected).max() <= 1


def test_srgbs_own_curve_changes_nothing() -> None:
    assert np.array_equal(pixels(gray_by_curve(image_of(LEVELS), SRGB.curve)), LEVELS)


def test_alpha_and_16_bits_are_kept() -> None:
    with_alpha = np.dstack([LEVELS, 255 - LEVELS])
    out = pixels(gray_by_curve(image_of(with_alpha), Curve(1.0)))
    assert np.array_equal(out[:, :, 1], with_alpha[:, :, 1])
    wide = gray_by_curve((image_of(LEVELS) * 257).cast("ushort"), Curve(1.0))
    assert (wide.format, round(wide.getpoint(128, 0)[0] / 257)) == ("ushort", 188)


def test_a_broken_profile_has_no_curve() -> None:
    broken = gray_profile(1.0)[:140]
    converted = gray_by_profile(image_of(LEVELS), broken)
    assert converted is None or np.array_equal(pixels(converted), LEVELS)
