"""Black and white, by a cut-off or by Atkinson's dithering."""

from __future__ import annotations

from math import ceil
from typing import assert_never

from pyvips import Image

from cropmark.engine.adjust import WEIGHTS
from cropmark.engine.dithering import atkinson
from cropmark.engine.premultiply import beside_alpha
from cropmark.plan.steps import Dither, Threshold


def black_and_white(frame: Image, method: Threshold | Dither) -> Image:
    """The 8-bit frame with every pixel black or white, its alpha as it was."""
    return beside_alpha(frame, lambda colors: _gray_as_rgb(_split(colors, method)))


def _split(colors: Image, method: Threshold | Dither) -> Image:
    # Times 10,000: whole numbers below 2**24, which the single precision of recomb() holds exactly.
    luminance = colors.recomb(Image.new_from_array([list(WEIGHTS)]))
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
