"""Makes results with colors outside sRGB: chooses their profile, and converts frames and drawn colors to it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

import pyvips
from pyvips import Image

from cropmark.engine import color
from cropmark.engine.color_tags import PRIMARIES
from cropmark.engine.colorimetry import inverse, rgb_to_xyz
from cropmark.engine.image import PROFILE, blob, color_cube, with_profile, without_profile
from cropmark.engine.light import rgb_of_light
from cropmark.engine.tone_map import hdr_colors, tone_mapped
from cropmark.geometry.recipe import AnyOp, Background, Embed, SolidColor
from cropmark.model.formats import Colors
from cropmark.model.values import Color

_P3_PRIMARIES: Final = 12
_SRGB_PRIMARIES: Final = 1
_TOLERANCE: Final = 0.03
"""The linear light by which a color of a profile may be outside 0 to 1 in sRGB before the profile counts as wide.

So the profiles of old monitors count as sRGB. Display P3 reaches 0.22 beyond sRGB.
"""


@lru_cache(maxsize=1)
def p3_profile() -> bytes:
    """The profile of Display P3: 480 bytes, in the public domain, from libvips.

    Source: https://github.com/saucecontrol/Compact-ICC-Profiles
    """
    return bytes(Image.profile_load("p3"))


def result_profile(frame: Image, colors: Colors) -> bytes | None:
    """The profile for the result of a source with this decoded frame; None if the result is sRGB."""
    if colors is Colors.SRGB or frame.bands < 3:
        return None
    if hdr := hdr_colors(frame):
        return p3_profile() if hdr.primaries != _SRGB_PRIMARIES else None
    profile = blob(frame, PROFILE)
    if profile[16:20] != b"RGB " or frame.interpretation == "cmyk" or not _is_wide(profile):
        return None
    is_kept = colors is Colors.KEEP and len(profile) <= color.MAX_PROFILE_BYTES and color.is_sound(profile)
    return profile if is_kept else p3_profile()


def to_profile(frame: Image, profile: bytes) -> Image:
    """The frame converted to 8-bit RGB in a profile from result_profile(), with this profile attached.

    Alpha does not change.
    """
    own = blob(frame, PROFILE)
    if (hdr := hdr_colors(frame)) and profile == p3_profile():
        return tagged(tone_mapped(frame, hdr, _P3_PRIMARIES), profile)
    if own == profile:
        deep = frame.format == "ushort"
        return color.as_8_bit_rgb((frame >> 8).cast("uchar") if deep else frame)
    if profile == p3_profile() and own[16:20] == b"RGB " and _is_wide(own):
        if frame.format == "ushort":
            return tagged(_deep_to_p3(frame), profile)
        return tagged(frame.icc_transform("p3", embedded=True, intent="perceptual", depth=8), profile)
    return _exported(color.to_srgb(frame), profile)


def tagged(frame: Image, profile: bytes) -> Image:
    """The frame in 8 bits, with this profile attached in place of its own."""
    return with_profile(color.as_8_bit_rgb(frame), profile)


def in_profile(ops: tuple[AnyOp, ...], profile: bytes) -> tuple[AnyOp, ...]:
    """The Ops with their colors converted from sRGB to the profile."""
    return tuple(_in_profile(op, profile) for op in ops)


def _in_profile(op: AnyOp, profile: bytes) -> AnyOp:
    match op:
        case Embed(fill=fill):
            return replace(op, fill=_converted(fill, profile))
        case Background(color=under) | SolidColor(color=under):
            return replace(op, color=_converted(under, profile))
        case _:
            return op


def _converted(srgb: Color, profile: bytes) -> Color:
    pixel = Image.black(1, 1).new_from_image([srgb.red, srgb.green, srgb.blue]).cast("uchar")
    red, green, blue = map(int, _exported(pixel.copy(interpretation="srgb"), profile)(0, 0))
    return replace(srgb, red=red, green=green, blue=blue)


def _exported(srgb: Image, profile: bytes) -> Image:
    """An 8-bit sRGB frame converted to the RGB of the profile. Colors that both can show do not change."""
    middle = without_profile(srgb).icc_import(input_profile="srgb", pcs="xyz", intent="relative")
    return tagged(with_profile(middle, profile).icc_export(pcs="xyz", intent="relative", depth=8), profile)


def _deep_to_p3(frame: Image) -> Image:
    alpha = frame.extract_band(3) if frame.bands > 3 else None
    rgb = rgb_of_light(_light_in(frame.extract_band(0, n=3), _P3_PRIMARIES))
    return rgb if alpha is None else rgb.bandjoin((alpha >> 8).cast("uchar"))


def _light_in(frame: Image, primaries: int) -> Image:
    """The linear light of a frame, converted from its embedded profile to RGB with the primaries of a code point.

    Light below 0 or above 1 is outside the gamut of these primaries.
    """
    xyz = frame.icc_import(embedded=True, pcs="xyz", intent="perceptual")
    matrix = [list(row) for row in inverse(rgb_to_xyz(PRIMARIES[primaries]))]
    return xyz.recomb(Image.new_from_array(matrix)) / 100


@lru_cache(maxsize=64)
def _is_wide(profile: bytes) -> bool:
    """True if the profile has colors outside sRGB; False if the profile is broken.

    It is tested on 27 colors across the RGB cube.
    """
    try:
        light = _light_in(color_cube((0, 128, 255), profile), _SRGB_PRIMARIES)
        return bool(light.min() < -_TOLERANCE or light.max() > 1 + _TOLERANCE)
    except pyvips.Error:
        return False
