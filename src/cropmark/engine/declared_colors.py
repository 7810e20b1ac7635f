"""Attaches the colors that a file declares to its decoded image: as an ICC profile, or as a note for HDR."""

from __future__ import annotations

from typing import Final

from pyvips import GValue, Image

from cropmark.engine.avif import AvifColors, avif_colors_of
from cropmark.engine.color_profile import rgb_profile
from cropmark.engine.color_tags import SRGB, AnyColors, HdrColors, avif_colors, png_colors
from cropmark.engine.gray import gray_by_curve
from cropmark.engine.image import blob
from cropmark.engine.tiff import lab_of_samples, lab_variant
from cropmark.engine.tone_map import with_hdr_colors
from cropmark.model.formats import Format
from cropmark.runtime.reads import Data

_PROFILE: Final = "icc-profile-data"
_BLACK, _WHITE = 16, 235
"""The samples of black and white in limited range, of 255."""


def with_declared_colors(image: Image, data: bytes, stored_as: Format) -> Image:
    """The image with the colors that its file declares; unchanged if it declares none or an ICC profile."""
    match stored_as:
        case Format.PNG:
            return _with_colors(image, png_colors(data, has_profile=_is_profile(blob(image, _PROFILE))))
        case Format.AVIF:
            found = avif_colors_of(data)
            return _avif_image(image, found) if found else image
        case Format.TIFF:
            return with_declared_lab(image, data)
        case _:
            return image


def with_declared_lab(image: Image, data: Data) -> Image:
    """The image of a TIFF in L*a*b* if its samples are that; else unchanged."""
    variant = lab_variant(data)
    is_raw = variant is not None and image.format in ("uchar", "ushort") and image.bands >= 3
    return lab_of_samples(image, variant) if variant and is_raw else image


def _avif_image(image: Image, found: AvifColors) -> Image:
    """The image with its colors and, if it is gray, in full range: libheif leaves gray samples as they are."""
    coded, profile = found.coded, blob(image, _PROFILE)
    ranged = _full_range(image) if coded and found.monochrome and not coded.full_range else image
    if _is_profile(profile):
        return _gray(ranged) if found.monochrome and profile[16:20] == b"GRAY" else ranged
    return _with_colors(ranged, avif_colors(coded.primaries, coded.transfer, found.max_nits)) if coded else ranged


def _with_colors(image: Image, colors: AnyColors | None) -> Image:
    """The image with these colors in place of its profile."""
    if colors is None:
        return image
    if colors == SRGB:
        return _without_profile(image)
    if isinstance(colors, HdrColors):
        return with_hdr_colors(_without_profile(image), colors)
    if image.bands < 3:
        return _without_profile(gray_by_curve(image, colors.curve))
    tagged = image.copy()
    tagged.set_type(GValue.blob_type, _PROFILE, rgb_profile(colors))
    return tagged


def _without_profile(image: Image) -> Image:
    if not image.get_typeof(_PROFILE):
        return image
    bare = image.copy()
    bare.remove(_PROFILE)
    return bare


def _is_profile(profile: bytes) -> bool:
    """True if the bytes begin like an ICC profile."""
    return len(profile) >= 128 and profile[36:40] == b"acsp"


def _gray(image: Image) -> Image:
    """One band of an image with three equal ones, and its alpha. A gray profile applies to no other image."""
    gray = image[0].bandjoin(image[3]) if image.hasalpha() else image[0]
    return gray.copy(interpretation="b-w" if image.format == "uchar" else "grey16")


def _full_range(image: Image) -> Image:
    """The image with black at 0 and white at the largest sample; alpha is in full range already."""
    largest, unit = (255, 1) if image.format == "uchar" else (65535, 256)
    factor = largest / ((_WHITE - _BLACK) * unit)
    alpha = (image.bands - 3) * [1]
    stretched = image.linear([factor] * 3 + alpha, [-_BLACK * unit * factor] * 3 + [0] * len(alpha))
    return stretched.rint().cast(image.format).copy(interpretation=image.interpretation)
