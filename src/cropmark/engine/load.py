"""Foreign bytes in, frames out: which loaders may run, what a header tells, and how pixels are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pyvips
from pyvips import Image

from cropmark.engine import color, gif, jpeg, rotate
from cropmark.engine.bounds import is_lossless, too_few_bytes
from cropmark.engine.image import DecodedImage, gathered
from cropmark.geometry.rounding import ceil_px
from cropmark.geometry.shrink_on_load import decoded_size
from cropmark.model.formats import READABLE, SNIFFED_BYTES, Format, Info, sniffed
from cropmark.model.problems import InternalError, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.steps import Orientation

# By name, for libvips' own guess would try every loader that it has.
LOADERS: Mapping[Format, str] = MappingProxyType(
    {
        Format.JPEG: "jpegload_buffer",
        Format.PNG: "pngload_buffer",
        Format.WEBP: "webpload_buffer",
        Format.GIF: "gifload_buffer",
        Format.AVIF: "heifload_buffer",
        Format.TIFF: "tiffload_buffer",
    }
)
_CLASSES = (
    "VipsForeignLoadJpegBuffer",
    "VipsForeignLoadPngBuffer",
    "VipsForeignLoadWebpBuffer",
    "VipsForeignLoadNsgifBuffer",
    "VipsForeignLoadHeifBuffer",
    "VipsForeignLoadTiffBuffer",
)
_PAGED = frozenset({Format.WEBP, Format.GIF})
_MOST_BANDS = 5
_MOSTLY = Fraction(1, 2)
"""Of a picture's height: where less is looked at, reading row by row and stopping there is quicker."""

_UNKNOWN = "the bytes are of no picture format that is read here"
_BROKEN = "the picture is broken: its data ends early or breaks the rules of its format"
_MEND = "send a JPEG, PNG, WebP, GIF, AVIF or TIFF that opens elsewhere"


def prepare() -> None:
    """Ready libvips in this process, once: one thread, no operation cache, and only the loaders of our formats.

    Raises Breakdown where VIPS_UNLIMITED is set, for it takes the decoders' own limits away.
    """
    if "VIPS_UNLIMITED" in os.environ:
        raise InternalError("VIPS_UNLIMITED takes the limits of the decoders away", fix="unset VIPS_UNLIMITED")
    # pyvips hands libvips' warnings to Python's logging, in the thread that has one: if Python collects garbage there,
    # an image is freed inside the pipeline that it belongs to, and the process aborts. A torn file is warning enough.
    pyvips._remove_log_handler()
    # Errors of libvips quote the file. Read strictly, a quote that is no UTF-8 hides the error behind another and stays
    # in libvips' buffer for all errors to come.
    pyvips.error._to_string = _error_text
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _CLASSES:
        pyvips.operation_block_set(name, False)
    pyvips.block_untrusted_set(True)


def _error_text(buffer: Any) -> str:
    return bytes(pyvips.ffi.string(buffer)).decode("utf-8", "replace")


def info_of(data: bytes) -> Info:
    """What the header tells; no pixel is decoded.

    Of a format that is known but not read (SVG, HEIC, JPEG XL, BMP) only format and length are told, the size as 1x1.
    AVIF stands upright already and shows its first picture, as TIFF does its first page.
    Raises SourceUnusable where the format is unknown, the header broken, or the file too short for its size.
    """
    found = sniffed(data[:SNIFFED_BYTES])
    if found is None:
        raise SourceUnusable(_UNKNOWN, fix=_MEND)
    if found not in READABLE:
        return Info(found, Size(1, 1), len(data))
    try:
        header = _opened(data, found)
    except pyvips.Error as error:
        raise broken() from error
    _checked(header, data, found)
    return Info(
        format=found,
        stored=Size(header.width, header.height),
        bytes=len(data),
        orientation=_orientation(header),
        frames=_number(header, "n-pages", 1) if found in _PAGED else 1,
        alpha=_has_alpha(header, data, found),
        lossless=is_lossless(data, found),
        progressive=found is Format.JPEG and _number(header, "interlaced", 0) == 1,
        palette=found is Format.PNG and _number(header, "palette", 0) == 1,
    )


def loaded(
    data: bytes, info: Info, *, frames: int = 1, scale: Fraction = Fraction(1), reach: Fraction = Fraction(1)
) -> DecodedImage:
    """The first `frames` frames, upright, in the source's own colors, read from top to bottom as they are pulled.

    `scale` decodes a JPEG (eighths) or a still WebP (1/2, 1/4, 1/8) smaller; `reach` is how much of the upright height
    will be looked at, from the top. Raises pyvips.Error, of a broken body not before its pixels are pulled.
    """
    if info.format is Format.JPEG:
        strip = _jpeg(data, info, scale, reach)
    elif info.format in _PAGED:
        strip = _opened(data, info.format, n=frames, **({} if scale == 1 else {"scale": float(scale)}))
    else:
        strip = _opened(data, info.format)
    if strip.hasalpha() and not info.alpha:  # an animated GIF, clear only where the frame before shows
        strip = strip.extract_band(0, n=strip.bands - 1)
    height = strip.height // frames
    cut = (strip,) if frames == 1 else tuple(strip.crop(0, at * height, strip.width, height) for at in range(frames))
    turn = Orientation(info.orientation)
    upright = tuple(rotate.turned(frame, turn) for frame in cut)
    if frames == 1:
        return DecodedImage(upright)
    return DecodedImage(upright, _delays(strip, frames), _number(strip, "loop", 0))


def _jpeg(data: bytes, info: Info, scale: Fraction, reach: Fraction) -> Image:
    """The stored frame at that scale."""
    size = decoded_size(replace(info, orientation=1), scale)
    header = _opened(data, Format.JPEG)
    # libvips stops where nothing more is looked at.
    is_whole = reach > _MOSTLY or info.orientation not in (1, 2)
    frame = jpeg.decoded(data, header, size) if is_whole else None
    return _jpeg_by_libvips(data, size, scale) if frame is None else frame


def _jpeg_by_libvips(data: bytes, size: Size, scale: Fraction) -> Image:
    """libvips knows 1/2, 1/4 and 1/8, and leaves out what fills no whole pixel: the last that it reads stand for it."""
    shrink = next(shrink for shrink in (8, 4, 2, 1) if shrink * scale <= 1)
    part = _opened(data, Format.JPEG, shrink=shrink)
    left = scale * shrink
    whole = Size(ceil_px(size.width / left), ceil_px(size.height / left)) if left != 1 else size
    if (part.width, part.height) != (whole.width, whole.height):
        part = part.embed(0, 0, whole.width, whole.height, extend="copy")
    return part if left == 1 else part.resize(size.width / part.width, vscale=size.height / part.height)


def is_sound(data: bytes) -> bool:
    """Whether every pixel of the source decodes; reads all of it."""
    try:
        info = info_of(data)
        _opened(data, info.format, **({"n": -1} if info.format in _PAGED else {})).avg()
    except (SourceUnusable, pyvips.Error):
        return False
    return True


def small_rgb(data: bytes, long_side: int) -> tuple[bytes, Size, Size]:
    """The upright first frame as 8-bit sRGB, at most `long_side` px long, alpha laid on white.

    Returns its bytes (rows of RGB), its size, and the size of the whole upright frame. Raises SourceUnusable.
    """
    info = info_of(data)
    full = info.size
    if info.format not in READABLE:
        raise SourceUnusable(_UNKNOWN, fix=_MEND)
    size = _fitted(full, long_side)
    shrinks = (1, 2, 4, 8) if info.format is Format.JPEG else (1,)
    shrink = max(s for s in shrinks if full.width >= s * size.width and full.height >= s * size.height)
    try:
        frame = loaded(data, info, scale=Fraction(1, shrink)).frames[0]
        small = frame.resize(size.width / frame.width, vscale=size.height / frame.height)
        rgb = color.srgb(gathered(small))
        flat = rgb.flatten(background=[255, 255, 255]) if rgb.hasalpha() else rgb
        return bytes(flat.write_to_memory()), size, full
    except pyvips.Error as error:
        raise broken() from error


def broken() -> SourceUnusable:
    """The Problem of a source whose pixels cannot be decoded."""
    return SourceUnusable(_BROKEN, fix=_MEND)


def _opened(data: bytes, stored_as: Format, **options: object) -> Image:
    # Corrupt input is refused, never guessed at: half a picture would be cached and shown.
    return getattr(Image, LOADERS[stored_as])(data, access="sequential", fail_on="error", **options)


def _checked(header: Image, data: bytes, stored_as: Format) -> None:
    if header.bands > _MOST_BANDS:
        raise SourceUnusable(f"the picture has {header.bands} color planes, at most {_MOST_BANDS} are read", fix=_MEND)
    # Alpha is left out: PNG may tell it once for a color and not for each pixel.
    planes = 1 if header.get_typeof("palette") else header.bands - (1 if header.hasalpha() else 0)
    bits = _number(header, "bits-per-sample", 8) * planes
    if too_few_bytes(len(data), header.width * header.height, stored_as, bits):
        raise broken()
    if stored_as is Format.GIF and gif.is_torn(data):
        raise broken()


def _has_alpha(header: Image, data: bytes, stored_as: Format) -> bool:
    if stored_as is Format.GIF and _number(header, "n-pages", 1) > 1 and gif.is_opaque(data):
        return False
    return bool(header.hasalpha())


def _orientation(header: Image) -> int:
    found = _number(header, "orientation", 1)
    return found if 1 <= found <= 8 else 1


def _number(header: Image, field: str, otherwise: int) -> int:
    return int(header.get(field)) if header.get_typeof(field) else otherwise


def _delays(strip: Image, frames: int) -> tuple[int, ...]:
    told = tuple(strip.get("delay")) if strip.get_typeof("delay") else ()
    return (told + (100,) * frames)[:frames]


def _fitted(full: Size, long_side: int) -> Size:
    part = min(1.0, long_side / max(full.width, full.height))
    return Size(max(1, round(full.width * part)), max(1, round(full.height * part)))
