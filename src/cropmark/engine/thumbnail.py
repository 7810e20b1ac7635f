"""A small copy of a source for the content analysis."""

from __future__ import annotations

from fractions import Fraction

import pyvips

from cropmark.engine import color, load
from cropmark.engine.image import in_memory
from cropmark.engine.repair import completed
from cropmark.model.formats import READABLE, Format, Info
from cropmark.model.values import Size
from cropmark.runtime.reads import Data


def thumbnail_rgb(data: Data, long_side: int) -> tuple[bytes, Size, Size]:
    """The upright first frame as 8-bit sRGB on white, at most `long_side` px long.

    Returns its bytes (rows of RGB), its size, and the size of the full upright frame. Raises SourceUnusable.
    """
    info = load.info_of(data)
    if info.format not in READABLE:
        raise load.unknown_source()
    size = _fitted_size(info.size, long_side)
    try:
        return _small_rgb(data, info, size), size, info.size
    except pyvips.Error as error:
        whole = completed(data, info.format)
        if whole is None:
            raise load.broken_source() from error
    return thumbnail_rgb(whole, long_side)


def _small_rgb(data: Data, info: Info, size: Size) -> bytes:
    full = info.size
    shrinks = (1, 2, 4, 8) if info.format is Format.JPEG else (1,)
    shrink = max(s for s in shrinks if full.width >= s * size.width and full.height >= s * size.height)
    frame = load.decode(data, info, scale=Fraction(1, shrink)).frames[0]
    small = frame.resize(size.width / frame.width, vscale=size.height / frame.height)
    rgb = color.to_srgb(in_memory(small))
    flat = rgb.flatten(background=[255, 255, 255]) if rgb.hasalpha() else rgb
    return bytes(flat.write_to_memory())


def _fitted_size(full: Size, long_side: int) -> Size:
    part = min(1.0, long_side / max(full.width, full.height))
    return Size(max(1, round(full.width * part)), max(1, round(full.height * part)))
