"""Attaches the colors that a file declares to its decoded image: as an ICC profile, or for HDR as a metadata field."""

from __future__ import annotations

from pyvips import Image

from cropmark.engine.avif import AvifColors, avif_colors_of
from cropmark.engine.color_profile import rgb_profile
from cropmark.engine.color_tags import SRGB, AnyColors, HdrColors, avif_colors, png_colors
from cropmark.engine.gray import gray_by_curve
from cropmark.engine.image import PROFILE, blob, with_profile, without_profile
from cropmark.engine.sequence import frame_colors_of
from cropmark.engine.tiff import lab_of_samples, lab_variant
from cropmark.engine.tone_map import with_hdr_colors
from cropmark.model.formats import Format
from cropmark.runtime.reads import Data

_BLACK, _WHITE = 16, 235
"""The 8-bit samples of black and white in limited range."""


def with_declared_colors(image: Image, data: bytes, stored_as: Format) -> Image:
    """The image with the colors that its file declares by other means than an ICC profile.

    An embedded ICC profile takes precedence, except over the chunk cICP of a PNG.
    """
    match stored_as:
        case Format.PNG:
            return _with_colors(image, png_colors(data, has_profile=_is_profile(blob(image, PROFILE))))
        case Format.AVIF | Format.HEIC:
            found = avif_colors_of(data)
            return _avif_image(image, found) if found else image
        case Format.TIFF:
            return with_declared_lab(image, data)
        case _:
            return image


def with_frame_colors(frames: tuple[Image, ...], data: bytes) -> tuple[Image, ...]:
    """The frames of an AVIF sequence with the colors that the sequence declares. An ICC profile takes precedence."""
    coded = frame_colors_of(data)
    if coded is None or _is_profile(blob(frames[0], PROFILE)):
        return frames
    colors = avif_colors(coded.primaries, coded.transfer, 0)
    return tuple(_with_colors(frame, colors) for frame in frames)


def with_declared_lab(image: Image, data: Data) -> Image:
    """The image of a TIFF converted to L*a*b* in floats, if the file declares its samples as L*a*b*; else unchanged."""
    variant = lab_variant(data)
    is_raw = variant is not None and image.format in ("uchar", "ushort") and image.bands >= 3
    return lab_of_samples(image, variant) if variant and is_raw else image


def _avif_image(image: Image, found: AvifColors) -> Image:
    """The image of an AVIF or HEIC with the colors that its file declares.

    Gray samples in limited range are stretched to full range, because libheif does not convert them.
    """
    coded, profile = found.coded, blob(image, PROFILE)
    ranged = _full_range(image) if coded and found.monochrome and not coded.full_range else image
    if _is_profile(profile):
        return _gray(ranged) if found.monochrome and profile[16:20] == b"GRAY" else ranged
    return _with_colors(ranged, avif_colors(coded.primaries, coded.transfer, found.max_nits)) if coded else ranged


def _with_colors(image: Image, colors: AnyColors | None) -> Image:
    """The image with `colors` in place of its profile. Without `colors`, the image does not change."""
    if colors is None:
        return image
    if colors == SRGB:
        return without_profile(image)
    if isinstance(colors, HdrColors):
        return with_hdr_colors(without_profile(image), colors)
    if image.bands < 3:
        return without_profile(gray_by_curve(image, colors.curve))
    return with_profile(image, rgb_profile(colors))


def _is_profile(profile: bytes) -> bool:
    """True if the bytes begin like an ICC profile."""
    return len(profile) >= 128 and profile[36:40] == b"acsp"


def _gray(image: Image) -> Image:
    """The image with one color band in place of three equal bands, because a gray profile needs a single band."""
    gray = image[0].bandjoin(image[3]) if image.hasalpha() else image[0]
    return gray.copy(interpretation="b-w" if image.format == "uchar" else "grey16")


def _full_range(image: Image) -> Image:
    """The image converted from limited to full range. Alpha does not change.

    Black becomes 0, and white becomes the largest sample.
    """
    largest, unit = (255, 1) if image.format == "uchar" else (65535, 256)
    factor = largest / ((_WHITE - _BLACK) * unit)
    alpha = (image.bands - 3) * [1]
    stretched = image.linear([factor] * 3 + alpha, [-_BLACK * unit * factor] * 3 + [0] * len(alpha))
    return stretched.rint().cast(image.format).copy(interpretation=image.interpretation)
