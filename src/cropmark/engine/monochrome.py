"""Converts images to black and white, by a threshold or by Atkinson dithering."""

from __future__ import annotations

from math import ceil
from typing import assert_never

from pyvips import Image

from cropmark.engine.adjust import LUMINANCE_WEIGHTS
from cropmark.engine.dithering import atkinson
from cropmark.engine.premultiply import on_colors
from cropmark.plan.steps import Dither, Threshold


def bilevel(frame: Image, method: Threshold | Dither) -> Image:
    """The 8-bit frame with each pixel black or white, chosen by its luminance. Alpha does not change."""
    return on_colors(frame, lambda colors: _gray_as_rgb(_quantize(colors, method)))


def _quantize(colors: Image, method: Threshold | Dither) -> Image:
    # Times 10,000: integers below 2**24, which the single precision of recomb() holds exactly.
    luminance = colors.recomb(Image.new_from_array([list(LUMINANCE_WEIGHTS)]))
    match method:
        case Threshold(level):
            return luminance >= ceil(level * 25_500)
        case Dither.ATKINSON:
            gray = (luminance / 10_000).rint().cast("uchar")
            width, height = gray.width, gray.height
            return Image.new_from_memory(
                atkinson(bytes(gray.write_to_memory()), width, height), width, height, 1, "uchar"
            )
        case _:
            assert_never(method)


def _gray_as_rgb(gray: Image) -> Image:
    return gray.bandjoin([gray, gray]).copy(interpretation="srgb")
