"""Encodes frames to files, with encoder settings chosen by measurement."""

from __future__ import annotations

from functools import partial
from typing import assert_never

from pyvips import GValue, Image
from pyvips.enums import ForeignKeep

from cropmark.engine import jxl, motion, png, small, video
from cropmark.engine.animated_gif import encode_animation, pixels_of
from cropmark.engine.image import PROFILE, DecodedImage, blob
from cropmark.engine.large_indexed import large_small_gif, large_small_png
from cropmark.engine.metadata import RightsMetadata, with_rights_only
from cropmark.engine.webp import with_alpha, with_durations
from cropmark.engine.wide_gamut import tagged
from cropmark.geometry.memory import MAX_SAMPLED_PNG, MAX_WHOLE_FEW_COLORS
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format
from cropmark.plan.plan import KeepMetadata

_ANIMATION_FIELDS = ("n-pages", "page-height", "delay", "loop", "gif-delay", "gif-loop")
_LARGE_PIXELS = 4_000_000
"""Above this number of pixels, in all frames together, encoders run at lower effort."""


def encode(
    image: DecodedImage,
    encoding: Encoding,
    *,
    low_effort: bool = False,
    rights: RightsMetadata | None = None,
    profile: bytes | None = None,
) -> bytes:
    """The image as an encoded file, without metadata except the kinds that `encoding` names.

    `low_effort` selects the encoder's lowest effort. `rights` are written only to JPEG. `profile` is the profile of
    pixels that are not sRGB.
    Raises pyvips.Error if the encoder fails or a source is broken: libvips is lazy, and reads the pixels only here.
    """
    if encoding.format is Format.GIF and len(image.frames) > 1:
        return encode_animation(image)
    if encoding.format is Format.AVIF and len(image.frames) > 1:
        return _animated_avif(image, encoding, profile, low_effort=low_effort)
    if encoding.video is not None:
        return video.encoded(image, encoding.video, low_effort=low_effort)
    strip = _strip(image) if profile is None else tagged(_strip(image), profile)
    keeps_profile = profile is not None or KeepMetadata.ICC in encoding.metadata
    keep = ForeignKeep.ICC if keeps_profile else ForeignKeep.NONE
    match encoding.format:
        case Format.JPEG:
            return _jpeg(strip, encoding, keep, rights, low_effort=low_effort)
        case Format.PNG:
            return _png(strip, encoding, keep, low_effort=low_effort)
        case Format.WEBP:
            body = with_durations(_webp(strip, encoding, keep, low_effort=low_effort), image.delays_ms)
            return with_alpha(body) if strip.hasalpha() else body
        case Format.GIF:
            return _gif(strip, encoding.max_bytes)
        case Format.AVIF:
            return _avif(strip, encoding, keep, low_effort=low_effort)
        case Format.JXL:
            return _jxl(strip, encoding, keeps_profile=keeps_profile, low_effort=low_effort)
        case Format.TIFF | Format.SVG | Format.HEIC | Format.BMP | Format.MP4:
            raise ValueError(f"{encoding.format.value} cannot be written so; resolve() never asks for it")
        case _:
            assert_never(encoding.format)


def _strip(image: DecodedImage) -> Image:
    """All frames stacked vertically in one image, with the metadata fields by which libvips' savers separate them."""
    if len(image.frames) == 1:
        return _without_animation_fields(image.frames[0])
    strip = Image.arrayjoin(list(image.frames), across=1).copy()
    strip.set_type(GValue.gint_type, "page-height", image.frames[0].height)
    strip.set_type(GValue.array_int_type, "delay", list(image.delays_ms))
    strip.set_type(GValue.gint_type, "loop", image.loop)
    return strip


def _without_animation_fields(frame: Image) -> Image:
    """The frame without the metadata fields that make libvips' savers write several frames."""
    present = [field for field in _ANIMATION_FIELDS if frame.get_typeof(field)]
    if not present:
        return frame
    still = frame.copy()
    for field in present:
        still.remove(field)
    return still


def _jpeg(
    strip: Image, encoding: Encoding, keep: ForeignKeep, rights: RightsMetadata | None, *, low_effort: bool
) -> bytes:
    signed_strip = strip if rights is None else with_rights_only(strip, rights)
    return bytes(
        signed_strip.jpegsave_buffer(
            Q=encoding.quality,
            interlace=encoding.progressive,
            optimize_coding=encoding.compact and not low_effort,  # 1 to 3 % fewer bytes in 2.7 times the time
            quant_table=3,  # 8 % smaller than the standard's at equal SSIMULACRA2
            subsample_mode="auto",
            keep=keep if rights is None else keep | ForeignKeep.EXIF | ForeignKeep.XMP,
        )
    )


def _png(strip: Image, encoding: Encoding, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    if encoding.palette:
        # Effort 1: 20 % more bytes than the default, in a ninth of its time.
        level = 1 if low_effort else 6
        return bytes(strip.pngsave_buffer(palette=True, Q=encoding.quality, effort=1, compression=level, keep=keep))
    has_profile = keep is ForeignKeep.ICC and strip.get_typeof(PROFILE)
    if encoding.max_bytes is None or has_profile:
        return _plain_png(strip, keep, low_effort=low_effort)  # a small PNG has no profile
    if strip.width * strip.height > MAX_WHOLE_FEW_COLORS:
        plain = partial(_plain_png, keep=keep, low_effort=low_effort)
        return large_small_png(pixels_of([strip])[0], plain, encoding.max_bytes)
    strip = strip.copy_memory()
    pixels = pixels_of([strip])[0]
    stored = strip[0].copy(interpretation="b-w") if small.is_gray(pixels) else strip
    return small.small_png(pixels, _plain_png(stored, keep, low_effort=low_effort), encoding.max_bytes)


def _plain_png(strip: Image, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    """The image as a lossless PNG without a palette."""
    settings = png.PHOTOGRAPH
    if strip.width * strip.height <= MAX_SAMPLED_PNG:
        strip = strip.copy_memory()
        settings = png.settings_for(strip)
    level = 1 if low_effort else settings.compression
    return bytes(strip.pngsave_buffer(compression=level, filter=settings.filter, keep=keep))


def _webp(strip: Image, encoding: Encoding, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    if encoding.lossless:
        # Effort 1 takes 2.5 times as long as 0 and saves 9 %; with it, large images would exceed every timeout.
        effort = 0 if low_effort or strip.width * strip.height > _LARGE_PIXELS else 1
        # `exact` preserves the colors under transparent pixels: lossless means every pixel.
        return bytes(strip.webpsave_buffer(lossless=True, exact=True, effort=effort, keep=keep))
    return bytes(strip.webpsave_buffer(Q=encoding.quality, effort=0 if low_effort else 2, keep=keep))


def _gif(still: Image, max_bytes: int | None) -> bytes:
    if max_bytes is None:
        return bytes(still.gifsave_buffer(effort=1, keep="none"))
    if still.width * still.height > MAX_WHOLE_FEW_COLORS:
        return large_small_gif(pixels_of([still])[0], max_bytes)
    return small.small_gif(still.copy_memory(), max_bytes)


def _jxl(strip: Image, encoding: Encoding, *, keeps_profile: bool, low_effort: bool) -> bytes:
    return jxl.encoded(
        strip,
        encoding.quality,
        lossless=encoding.lossless,
        keep_profile=keeps_profile,
        low_effort=low_effort,
    )


def _avif(strip: Image, encoding: Encoding, keep: ForeignKeep, *, low_effort: bool) -> bytes:
    # At equal SSIMULACRA2 effort 1 takes 14 % more bytes than the library's 4 for a thirteenth of its time, and 0 takes
    # 29 % more for a fiftieth (docs/decisions/0132). 0 is still smaller than WebP.
    quick = low_effort or encoding.lossless or strip.width * strip.height > _LARGE_PIXELS
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


def _animated_avif(image: DecodedImage, encoding: Encoding, profile: bytes | None, *, low_effort: bool) -> bytes:
    frame = image.frames[0]
    if profile is None and KeepMetadata.ICC in encoding.metadata:
        profile = blob(frame, PROFILE)
    quick = low_effort or frame.width * frame.height * len(image.frames) > _LARGE_PIXELS
    quality = 100 if encoding.lossless else encoding.quality
    return motion.encoded(image, quality, effort=0 if quick else 1, profile=profile or b"")
