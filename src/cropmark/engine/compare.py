"""Measures how much the pixel values of two images differ: mean, maximum and PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import pyvips
from pyvips import Image

from cropmark.engine import color, load
from cropmark.engine.image import in_memory
from cropmark.model.formats import READABLE
from cropmark.model.problems import SourceTooLarge
from cropmark.model.values import Size
from cropmark.ports import ImageDifference
from cropmark.runtime.reads import Data

MAX_PIXELS = 100_000_000


def difference(one: Data, two: Data, headers: Sequence[load.Header] | None = None) -> ImageDifference:
    """The difference between the first frames of two images, in sRGB: mean, maximum and PSNR.

    Both frames are turned upright, and scaled to the smaller width and the smaller height. Colors are weighted by
    alpha, so differences under transparent pixels do not count. `headers` are the headers of both images if they were
    read already.
    Raises SourceUnusable if an image cannot be decoded, and SourceTooLarge if an image has more than MAX_PIXELS.
    """
    try:
        first, second = (
            _frame(*each) for each in zip((one, two), headers or map(load.inspect, (one, two)), strict=True)
        )
        size = Size(min(first.width, second.width), min(first.height, second.height))
        alpha = first.hasalpha() or second.hasalpha()
        difference = (_levels(first, size, alpha=alpha) - _levels(second, size, alpha=alpha)).abs()
        squares = (difference * difference).avg()
        return ImageDifference(size, difference.avg(), round(difference.max()), _psnr_db(squares))
    except pyvips.Error as error:
        raise load.broken_source() from error


def _frame(data: Data, header: load.Header) -> Image:
    info, opened = header
    if info.format not in READABLE:
        raise load.broken_source()
    if info.stored_size.area > MAX_PIXELS:
        raise SourceTooLarge(f"the image has {info.stored_size.area} pixels, at most {MAX_PIXELS} are compared")
    return color.to_srgb(in_memory(load.decode(data, info, header=opened).frames[0]))


def _levels(frame: Image, size: Size, *, alpha: bool) -> Image:
    """The frame scaled to `size`, as 8-bit levels. With `alpha`, the result has four bands and premultiplied colors."""
    if alpha:
        whole = frame if frame.hasalpha() else frame.addalpha()
        frame = whole.premultiply().rint().cast("uchar")
    if Size(frame.width, frame.height) == size:
        return frame
    return frame.resize(size.width / frame.width, vscale=size.height / frame.height)


def _psnr_db(squares: float) -> float | None:
    return None if squares == 0 else 10 * log10(255 * 255 / squares)
