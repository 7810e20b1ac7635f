"""Brightness, contrast and saturation, exact to the level."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from pyvips import Image

from cropmark.engine.premultiply import beside_alpha
from cropmark.geometry.recipe import ColorAdjust

# Luminance times 10,000, so that all sums are of whole numbers.
WEIGHTS = (2126, 7152, 722)


def toned(frame: Image, tone: ColorAdjust) -> Image:
    """Brightness, then contrast, then saturation, clipped and rounded (halves up) at the end of each.

    Source: https://www.fastly.com/documentation/reference/io/brightness (the formulas are X1 to X3 of our reading)
    """
    curves = _table(tone)
    return beside_alpha(frame, lambda colors: _saturated(colors.maplut(curves), tone.saturation))


def _table(tone: ColorAdjust) -> Image:
    """The 256 levels after brightness and contrast, both of which treat each band alone."""
    brighter, starker = _brightness(tone.brightness), _contrast(tone.contrast)
    return Image.new_from_memory(bytes(_level(starker(_level(brighter(v)))) for v in range(256)), 256, 1, 1, "uchar")


def _brightness(amount: Fraction) -> Callable[[int], Fraction]:
    if amount >= 0:
        return lambda v: v + (255 - v) * amount / 100
    return lambda v: v * (1 + amount / 100)


def _contrast(amount: Fraction) -> Callable[[int], Fraction]:
    k = Fraction(255, 100) * amount
    factor = 259 * (k + 255) / (255 * (259 - k))
    return lambda v: 128 + factor * (v - 128)


def _level(value: Fraction) -> int:
    return min(255, max(0, int((value + Fraction(1, 2)) // 1)))


def _saturated(colors: Image, amount: Fraction) -> Image:
    """Each band moved from the pixel's luminance by 1 + amount/100.

    Whole numbers in doubles, one division at the end: nothing is lost before the rounding.
    """
    if amount == 0:
        return colors
    keeps = 1 + amount / 100
    own, shared = 10_000 * keeps.numerator, keeps.denominator - keeps.numerator
    rows = [[shared * weight + (own if at == band else 0) for at, weight in enumerate(WEIGHTS)] for band in range(3)]
    whole = 10_000 * keeps.denominator
    mixed = (colors.cast("double").recomb(Image.new_from_array(rows)) + whole / 2) / whole
    return mixed.floor().cast("uchar").copy(interpretation="srgb")  # cast() clips to 0..255
