"""Converts colors: from any source to 8-bit sRGB, or to RGB with the profile of the source."""

from __future__ import annotations

from contextvars import ContextVar
from functools import lru_cache
from typing import Final

from pyvips import Error, Image

from cropmark.engine.color_tags import SRGB
from cropmark.engine.colorimetry import inverse, rgb_to_xyz
from cropmark.engine.gray import gray_by_profile
from cropmark.engine.image import PROFILE, blob, color_cube, without_profile
from cropmark.engine.light import LARGEST, rgb_of_light
from cropmark.engine.tone_map import hdr_colors, tone_mapped
from cropmark.model.formats import CmykConversion

MAX_PROFILE_BYTES = 2**20


_XYZ_TO_SRGB: Final = [list(row) for row in inverse(rgb_to_xyz(SRGB.primaries))]
"""The matrix from XYZ to linear sRGB. Its white is D65, because libvips adapts XYZ to D65."""
_CMYK: Final = ContextVar("cmyk", default=CmykConversion.BROWSER)


def use_cmyk_conversion(conversion: CmykConversion) -> None:
    """Choose how this process converts CMYK images that have no profile."""
    _CMYK.set(conversion)


def to_srgb(frame: Image) -> Image:
    """The frame converted to 8-bit sRGB, with three bands, or four with alpha.

    An embedded profile is applied unless it is broken. Gray, CMYK, 16-bit and float samples are converted. HDR is
    tone-mapped.
    """
    if hdr := hdr_colors(frame):
        return tone_mapped(frame, hdr)
    profile = blob(frame, PROFILE)
    try:
        return as_8_bit_rgb(_by_profile(frame, profile))
    except Error:  # such as a profile with an unknown connection space
        if not profile:
            raise
        return as_8_bit_rgb(_by_profile(without_profile(frame), b""))


def _by_profile(frame: Image, profile: bytes) -> Image:
    """The frame in sRGB, converted with `profile`, its embedded profile; `profile` is empty if the frame has none.

    Raises Error if the color library rejects the profile.
    """
    if frame.bands <= 2 and profile[16:20] == b"GRAY" and frame.format in LARGEST:
        converted = gray_by_profile(frame, profile)
        if converted is not None:
            return converted.colourspace("srgb")
    if frame.interpretation == "cmyk" and profile[16:20] != b"CMYK" and _CMYK.get() is CmykConversion.BROWSER:
        return _inks_as_rgb(frame)
    if not profile or (_is_plain_rgb(frame) and _is_srgb(profile)):
        return frame if _is_plain_rgb(frame) else frame.colourspace("srgb")
    if frame.format == "ushort" and profile[16:20] == b"RGB ":
        return _deep_to_srgb(frame)
    # Perceptual suits most photographs. For a profile without that table, the library falls back to relative.
    return frame.icc_transform("srgb", embedded=True, intent="perceptual", depth=8)


def with_own_profile(frame: Image) -> Image:
    """The frame with its own profile if the result can have that profile; else the frame in sRGB without a profile.

    The result can have the profile if the frame is 8-bit RGB, and the profile is sound and has at most 1 MiB. A gray or
    CMYK frame is converted to sRGB, because Ops that draw colors need RGB.
    """
    profile = blob(frame, PROFILE)
    fits = profile[16:20] == b"RGB " and len(profile) <= MAX_PROFILE_BYTES
    return frame if fits and _is_plain_rgb(frame) and is_sound(profile) else without_profile(to_srgb(frame))


@lru_cache(maxsize=64)
def is_sound(profile: bytes) -> bool:
    """True if the color library can convert with the profile, and libpng, which is the strictest, stores it."""
    pixel = color_cube((0,), profile)
    try:
        pixel.icc_transform("srgb", embedded=True, intent="perceptual", depth=8).avg()
        return b"iCCP" in bytes(pixel.pngsave_buffer(keep="icc"))
    except Error:
        return False


def _deep_to_srgb(frame: Image) -> Image:
    """A 16-bit frame with an RGB profile, converted to 8-bit sRGB. The intermediate values are XYZ in floats.

    The color library's own conversion of 16 bits interpolates between 33 points per band, and moves strong colors by up
    to 25 levels.
    """
    alpha = frame.extract_band(3) if frame.bands > 3 else None
    xyz = frame.extract_band(0, n=3).icc_import(embedded=True, pcs="xyz", intent="perceptual")
    rgb = rgb_of_light(xyz.recomb(Image.new_from_array(_XYZ_TO_SRGB)) / 100)
    return rgb if alpha is None else rgb.bandjoin((alpha >> 8).cast("uchar"))


def _inks_as_rgb(frame: Image) -> Image:
    """A CMYK frame converted to RGB without a profile. Alpha does not change.

    Red is (1 - cyan) * (1 - black), and so on.
    """
    inks = frame if frame.format == "uchar" else (frame >> 8).cast("uchar")
    light = inks.extract_band(0, n=4).invert()
    rgb = (light.extract_band(0, n=3) * light[3] / 255).cast("uchar")
    full = rgb if inks.bands == 4 else rgb.bandjoin(inks[4])
    return full.copy(interpretation="srgb")


def _is_plain_rgb(frame: Image) -> bool:
    return frame.format == "uchar" and frame.interpretation in ("srgb", "rgb") and frame.bands in (3, 4)


def as_8_bit_rgb(frame: Image) -> Image:
    """The frame with 8-bit samples, and without the bands that a TIFF can have after alpha."""
    if frame.interpretation == "srgb" and frame.bands <= 4 and frame.format == "uchar":
        return frame
    flat = frame if frame.format == "uchar" else frame.cast("uchar")
    return (flat if flat.bands <= 4 else flat.extract_band(0, n=4)).copy(interpretation="srgb")


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """True if the profile is almost sRGB: it changes none of 512 test colors by more than one level.

    Most photographs have such a profile. Skipping the conversion of 800 by 600 pixels saves 6 of 35 ms. Raises Error if
    the color library rejects the profile.
    """
    plain = color_cube((0, 36, 73, 109, 146, 182, 219, 255), profile)
    through = plain.icc_transform("srgb", embedded=True, intent="perceptual", depth=8)
    return bool((through - plain).abs().max() <= 1)
