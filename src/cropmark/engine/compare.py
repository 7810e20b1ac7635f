"""How far two pictures differ, in levels of their pixels."""

from __future__ import annotations

from math import log10

import pyvips
from pyvips import Image

from cropmark.engine import color, load
from cropmark.engine.image import gathered
from cropmark.model.formats import READABLE
from cropmark.model.problems import SourceTooLarge
from cropmark.model.values import Size
from cropmark.ports import ImageDifference

MOST_PIXELS = 100_000_000


def compared(one: bytes, two: bytes) -> ImageDifference:
    """The difference of two pictures' first frames, upright and in sRGB, over their common size.

    Where a side is longer in one of them, that one is scaled to the other's first. Colors are weighed by alpha: what
    cannot be seen does not count. Raises SourceUnusable for what cannot be decoded, SourceTooLarge past MOST_PIXELS.
    """
    try:
        first, second = _frame(one), _frame(two)
        size = Size(min(first.width, second.width), min(first.height, second.height))
        alpha = first.hasalpha() or second.hasalpha()
        difference = (_levels(first, size, alpha=alpha) - _levels(second, size, alpha=alpha)).abs()
        squares = (difference * difference).avg()
        return ImageDifference(size, difference.avg(), round(difference.max()), _psnr_db(squares))
    except pyvips.Error as error:
        raise load.broken() from error


def _frame(data: bytes) -> Image:
    info = load.info_of(data)
    if info.format not in READABLE:
        raise load.broken()
    if info.stored.area > MOST_PIXELS:
        raise SourceTooLarge(f"the picture has {info.stored.area} pixels, at most {MOST_PIXELS} are compared")
    return color.srgb(gathered(load.loaded(data, info).frames[0]))


def _levels(frame: Image, size: Size, *, alpha: bool) -> Image:
    """The frame at that size as 8-bit levels, in four bands where either picture has alpha."""
    if alpha:
        whole = frame if frame.hasalpha() else frame.addalpha()
        frame = whole.premultiply().rint().cast("uchar")
    if Size(frame.width, frame.height) == size:
        return frame
    return frame.resize(size.width / frame.width, vscale=size.height / frame.height)


def _psnr_db(squares: float) -> float | None:
    return None if squares == 0 else 10 * log10(255 * 255 / squares)
