"""Makes a small copy of a source, for the content analysis and for the description of its colors."""

from __future__ import annotations

from fractions import Fraction

import pyvips
from pyvips import Image

from cropmark.engine import color, load
from cropmark.engine.compose import flatten_onto
from cropmark.engine.image import PROFILE, blob, in_memory, with_profile
from cropmark.engine.premultiply import premultiplied
from cropmark.engine.repair import completed
from cropmark.model.formats import Format, Info
from cropmark.model.values import Color, Size
from cropmark.runtime.reads import Data

WHITE = Color(255, 255, 255)


def thumbnail_rgb(data: Data, long_side: int, header: load.Header | None = None) -> tuple[bytes, Size, Size]:
    """The upright first frame as 8-bit sRGB on white, with a longer side of at most `long_side` px.

    Returns its bytes (rows of RGB), its size, and the size of the upright frame before shrinking. For `header`, see
    thumbnail_image(). Raises SourceUnusable.
    """
    small, info = thumbnail_image(data, long_side, header)
    return bytes(flatten_onto(small, WHITE).write_to_memory()), Size(small.width, small.height), info.size


def thumbnail_image(data: Data, long_side: int, header: load.Header | None = None) -> tuple[Image, Info]:
    """The upright first frame with a longer side of at most `long_side` px, and the header of the source.

    The frame is 8-bit sRGB in memory, with alpha if the source has it. The profile of the source stays attached to the
    frame. `header` is the header of the source if it was read already. Raises SourceUnusable.
    """
    info, opened = header or load.inspect(data)
    if not load.is_readable(info.format):
        raise load.unknown_source()
    try:
        return _small_image(data, info, opened, _fitted_size(info.size, long_side)), info
    except pyvips.Error as error:
        whole = completed(data, info.format)
        if whole is None:
            raise load.broken_source() from error
    return thumbnail_image(whole, long_side)


def _small_image(data: Data, info: Info, opened: Image | None, size: Size) -> Image:
    full = info.size
    shrinks = (1, 2, 4, 8) if info.format is Format.JPEG else (1,)
    shrink = max(s for s in shrinks if full.width >= s * size.width and full.height >= s * size.height)
    scale = Fraction(1, shrink)
    if info.format is Format.SVG:
        scale = max(Fraction(size.width, full.width), Fraction(size.height, full.height))
    frame = load.decode(data, info, header=opened, scale=scale).frames[0]
    across, down = size.width / frame.width, size.height / frame.height
    small = in_memory(premultiplied(frame, lambda full_frame: full_frame.resize(across, vscale=down)))
    profile = blob(small, PROFILE)
    converted = color.to_srgb(small).copy_memory()
    return with_profile(converted, profile) if profile else converted


def _fitted_size(full: Size, long_side: int) -> Size:
    part = min(1.0, long_side / max(full.width, full.height))
    return Size(max(1, round(full.width * part)), max(1, round(full.height * part)))
