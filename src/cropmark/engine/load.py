"""Decodes untrusted bytes to frames: chooses the loader, reads the header, and reads the pixels."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pyvips
from pyvips import Image

from cropmark.engine import bmp, color, gif, heic, jpeg, jxl, motion, rotate, svg, video
from cropmark.engine.bounds import is_first_frame_only, is_lossless, is_too_short
from cropmark.engine.declared_colors import with_declared_colors, with_declared_lab, with_frame_colors
from cropmark.engine.gain_map import gain_map_of
from cropmark.engine.image import DecodedImage, in_memory
from cropmark.engine.large import HEAD_BYTES, canvas_size
from cropmark.engine.tiff import open_tiff
from cropmark.geometry.shrink_on_load import decoded_size
from cropmark.model.formats import READABLE, SNIFF_BYTES, CmykConversion, Format, Info, sniff_format
from cropmark.model.problems import InternalError, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.steps import Orientation
from cropmark.runtime.reads import Data, all_bytes

# By name: libvips' own detection would try every loader that it has.
LOADERS: Mapping[Format, str] = MappingProxyType(
    {
        Format.JPEG: "jpegload_buffer",
        Format.PNG: "pngload_buffer",
        Format.WEBP: "webpload_buffer",
        Format.GIF: "gifload_buffer",
        Format.AVIF: "heifload_buffer",
        Format.TIFF: "tiffload_source",
    }
)
_CLASSES = (
    "VipsForeignLoadJpegBuffer",
    "VipsForeignLoadPngBuffer",
    "VipsForeignLoadWebpBuffer",
    "VipsForeignLoadNsgifBuffer",
    "VipsForeignLoadHeifBuffer",
    "VipsForeignLoadTiffSource",
)
_PAGED = frozenset({Format.WEBP, Format.GIF})
_OWN_READERS = frozenset({Format.HEIC, Format.JXL, Format.BMP})
"""The formats that modules of this package read, without libvips."""
_MAX_BANDS = 5
ROW_READING_LIMIT = Fraction(1, 2)
"""A share of the image's height. If a render needs at most this share, reading by rows and stopping early is faster."""

_UNKNOWN = "the bytes are not in a supported image format"
_BROKEN = "the image is broken: its data ends early or violates its format"
_FIX = "send a JPEG, PNG, WebP, GIF, AVIF or TIFF that other programs can open"
_PLANES_FIX = "send the image as gray, RGB or CMYK, with at most one alpha channel"


def prepare(cmyk: CmykConversion = CmykConversion.BROWSER, *, reads_svg: bool = False) -> None:
    """Configure libvips for this process: one thread, no operation cache, and only the loaders of our formats.

    `cmyk` is how CMYK images without a profile are converted. With `reads_svg`, SVGs are drawn. Both apply until the
    process ends.
    Raises InternalError if the environment variable VIPS_UNLIMITED is set, because it removes the decoders' limits.
    """
    if "VIPS_UNLIMITED" in os.environ:
        raise InternalError("VIPS_UNLIMITED removes the limits of the decoders", fix="unset VIPS_UNLIMITED")
    # pyvips passes libvips' warnings to Python's logging in the thread that warns: if Python collects garbage there, an
    # image is freed inside the pipeline that it belongs to, and the process aborts. Broken files raise errors anyway.
    pyvips._remove_log_handler()
    # libvips' errors quote the file. Strict decoding of a quote that is not UTF-8 raises a second error, and the quote
    # stays in libvips' error buffer.
    pyvips.error._to_string = _error_text
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _CLASSES:
        pyvips.operation_block_set(name, False)
    pyvips.block_untrusted_set(True)
    color.use_cmyk_conversion(cmyk)
    heic.load_codec()
    jxl.load_codec()
    motion.load_codec()
    video.load_codec()
    if reads_svg:
        svg.enable()


def _error_text(buffer: Any) -> str:
    return bytes(pyvips.ffi.string(buffer)).decode("utf-8", "replace")


def is_readable(format_: Format) -> bool:
    """True if this process reads the format."""
    return format_ in READABLE or (format_ is Format.SVG and svg.is_enabled())


def info_of(data: Data, *, limit_bytes: int = sys.maxsize) -> Info:
    """The Info of a source; see inspect()."""
    return inspect(data, limit_bytes=limit_bytes)[0]


Header = tuple[Info, Image | None]
"""The Info of a source, and the header that libvips opened if the source is a JPEG; see inspect()."""


def inspect(data: Data, *, limit_bytes: int = sys.maxsize, reads_svg: bool = True) -> Header:
    """The Info of a source, and for a JPEG also the header that libvips opened, which decode() can reuse.

    No pixel is decoded. Only the start of a file with more than `limit_bytes` is read.

    If the format is recognized but cannot be read, the Info has only the format, the length, and a size of 1x1. This is
    so if an extra is missing, if this process does not draw SVGs, or for an SVG without `reads_svg`.

    HEIC, JPEG XL and still AVIF count as upright, because their decoders rotate them. If a file has several images, the
    Info is that of the primary image.
    Raises SourceUnusable if the format is unknown, the header is broken, or the file is too short for its size.
    """
    source_format = sniff_format(data[:SNIFF_BYTES])
    if source_format is None:
        raise unknown_source()
    if not (is_readable(source_format) and (reads_svg or source_format is not Format.SVG)):
        return Info(source_format, Size(1, 1), len(data)), None
    if len(data) > limit_bytes and source_format is not Format.TIFF:
        return _large_info(data, source_format), None
    if source_format is Format.TIFF:
        return _tiff_info(data), None
    data = all_bytes(data)
    if source_format is Format.GIF:
        return _gif_info(data), None
    if source_format is Format.SVG:
        return _svg_info(data), None
    if source_format in _OWN_READERS or (source_format is Format.AVIF and motion.reads(data)):
        return _extra_info(data, source_format), None
    header = _header(data, source_format)
    info = Info(
        format=source_format,
        stored_size=Size(header.width, header.height),
        bytes=len(data),
        orientation=_orientation(header),
        frames=_number(header, "n-pages", 1) if source_format in _PAGED else 1,
        first_frame_only=is_first_frame_only(data, source_format),
        alpha=bool(header.hasalpha()),
        lossless=is_lossless(data, source_format),
        progressive=source_format is Format.JPEG and _number(header, "interlaced", 0) == 1,
        palette=source_format is Format.PNG and _number(header, "palette", 0) == 1,
        few_bits=source_format is Format.PNG and _has_few_bits(header),
        gain_map=source_format is Format.JPEG and gain_map_of(data) is not None,
    )
    return info, header if source_format is Format.JPEG else None


def _large_info(data: Data, stored_as: Format) -> Info:
    """The format, size and orientation of a file that is too large to be read whole.

    The size is 1x1 if the first HEAD_BYTES of the file do not contain it.
    """
    head, orientation = data[:HEAD_BYTES], 1
    if stored_as in _PAGED:
        size = canvas_size(head, stored_as)
    elif stored_as in _OWN_READERS or stored_as is Format.SVG:
        size = None
    else:
        try:
            header = _open(head, stored_as)
        except pyvips.Error:
            size = None
        else:
            size, orientation = Size(header.width, header.height), _orientation(header)
    return Info(stored_as, size or Size(1, 1), len(data), orientation=orientation)


def _tiff_info(data: Data) -> Info:
    header = _header(data, Format.TIFF)
    return Info(
        Format.TIFF,
        Size(header.width, header.height),
        len(data),
        orientation=_orientation(header),
        alpha=bool(header.hasalpha()),
    )


def _gif_info(data: bytes) -> Info:
    blocks = gif.read_blocks(data)
    if blocks is None:
        raise broken_source()
    film = gif.decodable(data, blocks)
    header = _header(film.data, Format.GIF)
    pages = _number(header, "n-pages", 1)
    frames = sum(page < pages for page in film.pages)
    if not frames:  # only the added frame can be decoded
        raise broken_source()
    return Info(
        format=Format.GIF,
        stored_size=Size(header.width, header.height),
        bytes=len(data),
        frames=frames,
        alpha=bool(header.hasalpha()) and not blocks.is_opaque,
        lossless=True,
    )


def _svg_info(data: bytes) -> Info:
    header = svg.header_of(data)
    return Info(Format.SVG, header.size, len(data), alpha=True, lossless=True, not_drawn=header.not_drawn)


def _extra_info(data: bytes, stored_as: Format) -> Info:
    """The Info of a file that libvips does not read: HEIC, JPEG XL, BMP, or an AVIF sequence."""
    try:
        if stored_as is Format.AVIF:
            film = motion.header_of(data)
            turned = film.orientation
            return Info(stored_as, film.size, len(data), orientation=turned, frames=film.frames, alpha=film.alpha)
        if stored_as is Format.HEIC:
            picture = heic.header_of(data)
            return Info(stored_as, picture.size, len(data), alpha=picture.alpha)
        if stored_as is Format.BMP:
            bitmap = bmp.header_of(data)
            return Info(stored_as, bitmap.size, len(data), alpha=len(bitmap.bands) > 3, lossless=True)
        header = jxl.header_of(data)
        return Info(stored_as, header.size, len(data), alpha=header.alpha, first_frame_only=header.animated)
    except (pyvips.Error, ValueError) as error:  # ValueError: a side of 0
        raise broken_source() from error


def decode(
    data: Data,
    info: Info,
    *,
    header: Image | None = None,
    frames: int = 1,
    scale: Fraction = Fraction(1),
    reach: Fraction = Fraction(1),
) -> DecodedImage:
    """The first `frames` frames of a source, upright, in the colors of the source.

    Pixels are decoded lazily, from top to bottom. With a `scale` of 1/2, 1/4 or 1/8, a JPEG or a still WebP is decoded
    to a smaller frame. An SVG is drawn at any scale. `reach` is the share of the upright height, from the top, that the
    caller will read. Raises pyvips.Error for a broken header. Broken pixels raise it later, when they are read.
    """
    if info.format is Format.TIFF:
        frame = with_declared_lab(_open(data, Format.TIFF), data)
    elif info.format is Format.SVG:
        frame = svg.decoded(all_bytes(data), decoded_size(info, scale))
    else:
        data = all_bytes(data)
        if info.format in _PAGED:
            return _film(data, info, frames, scale)
        if info.format is Format.AVIF and motion.reads(data):
            return _sequence(data, info, frames)
        if info.format is Format.JPEG:
            frame = _jpeg(data, header or _open(data, Format.JPEG), info, scale, reach)
        else:
            frame = with_declared_colors(_open(data, info.format), data, info.format)
    return DecodedImage((rotate.orient(frame, Orientation(info.orientation)),))


def _film(data: bytes, info: Info, frames: int, scale: Fraction) -> DecodedImage:
    """The first `frames` frames of a GIF or WebP, upright, with their durations."""
    pages: Sequence[int] = range(frames)
    if info.format is Format.GIF and (blocks := gif.read_blocks(data)) is not None:
        film = gif.decodable(data, blocks)
        data, pages = film.data, film.pages[:frames]
    count = pages[-1] + 1
    strip = _open(data, info.format, n=count, **({} if scale == 1 else {"scale": float(scale)}))
    if strip.hasalpha() and not info.alpha:  # an animated GIF, transparent only where the previous frame shows
        strip = strip.extract_band(0, n=strip.bands - 1)
    height = strip.height // count
    parts = (strip,) if count == 1 else (strip.crop(0, page * height, strip.width, height) for page in pages)
    upright = tuple(rotate.orient(frame, Orientation(info.orientation)) for frame in parts)
    if frames == 1:
        return DecodedImage(upright)
    delays = _delays(strip, count)
    return DecodedImage(upright, tuple(delays[page] for page in pages), _number(strip, "loop", 0))


def _sequence(data: bytes, info: Info, frames: int) -> DecodedImage:
    """The first `frames` frames of an AVIF sequence, upright, with their durations."""
    film = motion.decoded(data, frames)
    colored = with_frame_colors(film.frames, data)
    return replace(film, frames=tuple(rotate.orient(frame, Orientation(info.orientation)) for frame in colored))


def _jpeg(data: bytes, header: Image, info: Info, scale: Fraction, reach: Fraction) -> Image:
    """The frame of a JPEG, decoded at `scale`, in the stored orientation."""
    size = decoded_size(replace(info, orientation=1), scale)
    # For a small part, libvips is faster: it stops after the last row that is needed.
    is_whole = reach > ROW_READING_LIMIT or info.orientation not in (1, 2)
    frame = jpeg.decode(data, header, size) if is_whole else None
    return _jpeg_by_libvips(data, size, scale) if frame is None else frame


def gains(jpeg: bytes, info: Info) -> Image | None:
    """The decoded gain map of an image, upright and in memory; None if it is broken, or larger than the image.

    `jpeg` is the JPEG file of the gain map. `info` is the header of the image to which it belongs.
    """
    try:
        stored = _open(jpeg, Format.JPEG)
        if stored.width > info.stored_size.width or stored.height > info.stored_size.height:
            return None
        return rotate.orient(in_memory(stored), Orientation(info.orientation))
    except pyvips.Error:  # the image itself is sound
        return None


def _jpeg_by_libvips(data: bytes, size: Size, scale: Fraction) -> Image:
    """The frame of a JPEG, decoded by libvips at `scale`, as an image of `size`.

    At a smaller scale, libvips drops a last row or column that is partly outside the image. A copy of the row or column
    before takes its place.
    """
    frame = _open(data, Format.JPEG, shrink=scale.denominator)
    return frame.embed(0, 0, size.width, size.height, extend="copy")


def decodes_fully(data: Data) -> bool:
    """True if every pixel of the source decodes. Reads the whole source."""
    try:
        info = info_of(data)
        if info.format is Format.AVIF and motion.reads(all_bytes(data)):
            motion.decoded(all_bytes(data), info.frames)
            return True
        _open(_loaded(data, info.format), info.format, **({"n": -1} if info.format in _PAGED else {})).avg()
    except (SourceUnusable, pyvips.Error):
        return False
    return True


def unknown_source() -> SourceUnusable:
    """The Problem for a source in a format that is not read."""
    return SourceUnusable(_UNKNOWN, fix=_FIX)


def broken_source() -> SourceUnusable:
    """The Problem for a source that is broken: its header or its pixels cannot be decoded."""
    return SourceUnusable(_BROKEN, fix=_FIX)


def _loaded(data: Data, stored_as: Format) -> Data:
    """The source in the form that its decoder takes. A TIFF is read in place; other files are read into memory now."""
    return data if stored_as is Format.TIFF else all_bytes(data)


def _open(data: Data, stored_as: Format, **options: object) -> Image:
    # Corrupt input is rejected: half an image would be cached and shown.
    if stored_as is Format.HEIC:
        return heic.decoded(all_bytes(data))
    if stored_as is Format.JXL:
        return jxl.decoded(all_bytes(data))
    if stored_as is Format.BMP:
        return bmp.decoded(all_bytes(data))
    if stored_as is Format.SVG:
        return svg.decoded(all_bytes(data), svg.header_of(all_bytes(data)).size)
    strict: dict[str, object] = {"access": "sequential", "fail_on": "error", **options}
    if stored_as is Format.TIFF:
        return open_tiff(data, **strict)
    return getattr(Image, LOADERS[stored_as])(data, **strict)


def _header(data: Data, stored_as: Format) -> Image:
    """The source opened by libvips, with its pixels undecoded.

    Raises SourceUnusable if the header is broken, declares too many bands, or does not fit the length of the file.
    """
    try:
        header = _open(data, stored_as)
    except pyvips.Error as error:
        raise broken_source() from error
    if header.bands > _MAX_BANDS:
        raise SourceUnusable(
            f"the image has {header.bands} color planes, at most {_MAX_BANDS} are read", fix=_PLANES_FIX
        )
    # Alpha is not counted: PNG can store it once per palette color instead of once per pixel.
    planes = 1 if header.get_typeof("palette") else header.bands - (1 if header.hasalpha() else 0)
    bits = _number(header, "bits-per-sample", 8) * planes
    if is_too_short(len(data), header.width * header.height, stored_as, bits):
        raise broken_source()
    return header


def _orientation(header: Image) -> int:
    orientation = _number(header, "orientation", 1)
    return orientation if 1 <= orientation <= 8 else 1


def _has_few_bits(header: Image) -> bool:
    bits = _number(header, "bits-per-sample", 8)
    return bits < 8 or (bits == 8 and header.bands == 1)


def _number(header: Image, field: str, otherwise: int) -> int:
    return int(header.get(field)) if header.get_typeof(field) else otherwise


def _delays(strip: Image, frames: int) -> tuple[int, ...]:
    delays = tuple(strip.get("delay")) if strip.get_typeof("delay") else ()
    return (delays + (100,) * frames)[:frames]
