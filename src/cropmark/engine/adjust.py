"""Changes brightness, contrast and saturation, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from pyvips import Image

from cropmark.engine.premultiply import on_colors
from cropmark.geometry.recipe import ColorAdjust

# Luminance times 10,000, so that all sums are integers.
LUMINANCE_WEIGHTS = (2126, 7152, 722)


def adjust_color(frame: Image, adjust: ColorAdjust) -> Image:
    """The frame with its brightness, contrast and saturation changed, in this order.

    Each change clips the levels and rounds them (halves up). The vendor's page gives no formulas. Here:

    - Brightness interpolates linearly to white or black.
    - Contrast multiplies the distance from level 128 by 259 * (c + 255) / (255 * (259 - c)). c is 2.55 times the
      percentage.
    - Saturation multiplies the distance from the luminance.

    Source: https://www.fastly.com/documentation/reference/io/brightness
    """
    curves = _lookup_table(adjust)
    return on_colors(frame, lambda colors: _saturate(colors.maplut(curves), adjust.saturation))


def _lookup_table(adjust: ColorAdjust) -> Image:
    """A table with the level after brightness and contrast for each of the 256 levels. It applies to every band."""
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
    """The colors with each band's distance from the pixel's luminance multiplied by 1 + `amount` / 100.

    All sums are integers, stored as doubles. The only division is the last step, so the result is rounded once.
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
