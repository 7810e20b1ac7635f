"""Frames to bytes, by the encoder settings that were measured to be worth their time."""

from __future__ import annotations

from typing import assert_never

from pyvips import GValue, Image
from pyvips.enums import ForeignKeep

from cropmark.engine.image import DecodedImage
from cropmark.engine.metadata import RightsMetadata, signed
from cropmark.engine.webp import with_alpha, with_durations
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format
from cropmark.plan.plan import KeepMetadata

_OF_ANIMATIONS = ("n-pages", "page-height", "delay", "loop", "gif-delay", "gif-loop")
_LARGE = 4_000_000
"""Pixels of all frames together."""


def encoded(
    picture: DecodedImage, encoding: Encoding, *, low_effort: bool = False, rights: RightsMetadata | None = None
) -> bytes:
    """The picture as a file. All metadata is removed but what the encoding keeps.

    `low_effort`: the encoder's lowest effort. `rights` are written where the format is JPEG.
    Raises pyvips.Error: the encoder's, or a broken source's whose pixels are pulled only now.
    """
    strip = _strip(picture)
    keep = ForeignKeep.ICC if KeepMetadata.ICC in encoding.keeps else ForeignKeep.NONE
    match encoding.format:
        case Format.JPEG:
            return _jpeg(strip, encoding, keep, rights, low_effort=low_effort)
        case Format.PNG:
            return _png(strip, encoding, keep, low_effort=low_effort)
        case Format.WEBP:
            body = with_durations(_webp(strip, encoding, keep, low_effort=low_effort), picture.delays_ms)
            return with_alpha(body) if strip.hasalpha() else body
        case Format.GIF:
            return bytes(strip.gifsave_buffer(effort=1, keep_duplicate_frames=True, keep=keep))
        case Format.AVIF:
            return _avif(strip, encoding, keep, low_effort=low_effort)
        case Format.TIFF | Format.SVG | Format.HEIC | Format.JXL | Format.BMP:
            raise ValueError(f"{encoding.format.value} cannot be written; resolve() never asks for it")
        case _:
            assert_never(encoding.format)


def _strip(picture: DecodedImage) -> Image:
    """All frames one under the other, with what savers need to part them again."""
    if len(picture.frames) == 1:
        return _still(picture.frames[0])
    strip = Image.arrayjoin(list(picture.frames), across=1).copy()
    strip.set_type(GValue.gint_type, "page-height", picture.frames[0].height)
    strip.set_type(GValue.array_int_type, "delay", list(picture.delays_ms))
    strip.set_type(GValue.gint_type, "loop", picture.loop)
    return strip


def _still(frame: Image) -> Image:
    """Without what savers take for more frames than one."""
    told = [field for field in _OF_ANIMATIONS if frame.get_typeof(field)]
    if not told:
        return frame
    still = frame.copy()
    for field in told:
        still.remove(field)
    return still


def _jpeg(
    strip: Image, encoding: Encoding, keep: ForeignKeep, rights: RightsMetadata | None, *, low_effort: bool
) -> bytes:
    signed_strip = strip if rights is None else signed(strip, rights)
    return bytes(
        signed_strip.jpegsave_buffer(
            Q=encoding.quality,
            interlace=encoding.progressive,
            optimize_coding=not low_effort,  # half of the time for 2 % fewer bytes
            quant_table=3,  # 8 % smaller than the standard's at equal SSIMULACRA2
            subsample_mode="auto",
            keep=keep if rights is None else keep | ForeignKeep.EXIF | ForeignKeep.XMP,
        )
    )


def _png(strip: Image, encoding: Encoding, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    compression = 1 if low_effort else 6
    if encoding.palette:
        # Effort 1 takes a ninth of the default's time for 20 % more bytes.
        return bytes(
            strip.pngsave_buffer(palette=True, Q=encoding.quality, effort=1, compression=compression, keep=keep)
        )
    return bytes(strip.pngsave_buffer(compression=compression, filter="sub", keep=keep))


def _webp(strip: Image, encoding: Encoding, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    if encoding.lossless:
        # Effort 1 takes 2.5 times as long as 0 and saves 9 %; large pictures would take it past every deadline.
        effort = 0 if low_effort or strip.width * strip.height > _LARGE else 1
        # `exact` keeps the colors under clear pixels, which a lossless picture has a right to.
        return bytes(strip.webpsave_buffer(lossless=True, exact=True, effort=effort, keep=keep))
    return bytes(strip.webpsave_buffer(Q=encoding.quality, effort=0 if low_effort else 2, keep=keep))


def _avif(strip: Image, encoding: Encoding, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    # At equal SSIMULACRA2 effort 1 takes 14 % more bytes than the library's 4 for a thirteenth of its time, and 0 takes
    # 29 % more for a fiftieth (docs/decisions/0132). 0 is still smaller than WebP.
    quick = low_effort or encoding.lossless or strip.width * strip.height > _LARGE
    return bytes(
        strip.heifsave_buffer(
            compression="av1",
            Q=encoding.quality,
            lossless=encoding.lossless,
            effort=0 if quick else 1,
            bitdepth=8,
            keep=keep,
        )
    )
