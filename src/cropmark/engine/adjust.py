"""Brightness, contrast and saturation in exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from pyvips import Image

from cropmark.engine.premultiply import on_colors
from cropmark.geometry.recipe import ColorAdjust

# Luminance times 10,000, so that all sums are integers.
LUMINANCE_WEIGHTS = (2126, 7152, 722)


def adjust_color(frame: Image, adjust: ColorAdjust) -> Image:
    """The frame after brightness, then contrast, then saturation. Each step clips and rounds (halves up).

    Source: https://www.fastly.com/documentation/reference/io/brightness. The page gives no formulas. Here, brightness
    is a linear interpolation to white or black, contrast is the usual 259-based factor around 128, and saturation
    scales the distance from the luminance.
    """
    curves = _lookup_table(adjust)
    return on_colors(frame, lambda colors: _saturate(colors.maplut(curves), adjust.saturation))


def _lookup_table(adjust: ColorAdjust) -> Image:
    """The 256 levels after brightness and contrast. Both change each band independently."""
    brighten, contrast = _brightness(adjust.brightness), _contrast(adjust.contrast)
    return Image.new_from_memory(bytes(_level(contrast(_level(brighten(v)))) for v in range(256)), 256, 1, 1, "uchar")


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


def _saturate(colors: Image, amount: Fraction) -> Image:
    """The colors with each band's distance from the pixel's luminance scaled by 1 + amount/100.

    Integers in doubles with one division at the end: nothing is lost before rounding.
    """
    if amount == 0:
        return colors
    factor = 1 + amount / 100
    own, shared = 10_000 * factor.numerator, factor.denominator - factor.numerator
    rows = [
        [shared * weight + (own if at == band else 0) for at, weight in enumerate(LUMINANCE_WEIGHTS)]
        for band in range(3)
    ]
    whole = 10_000 * factor.denominator
    mixed = (colors.cast("double").recomb(Image.new_from_array(rows)) + whole / 2) / whole
    return mixed.floor().cast("uchar").copy(interpretation="srgb")  # cast() clips to 0..255
