"""Converts gray images to the tone curve of sRGB, from the curve of their ICC profile or of their file header.

A table has the result for each possible value of a sample. The color library would interpolate between 33 points, which
moves dark samples by up to 10 levels.
"""

from __future__ import annotations

from functools import lru_cache

from pyvips import Error, Image

from cropmark.engine.color_tags import Curve
from cropmark.engine.image import with_profile
from cropmark.engine.light import light_of_curve, ramp, srgb_of_light, table


def gray_by_curve(image: Image, curve: Curve) -> Image:
    """The gray image converted from the tone curve `curve` to the curve of sRGB. Alpha does not change."""
    return _mapped(image, _curve_table(curve, image.format))


def gray_by_profile(image: Image, profile: bytes) -> Image | None:
    """The gray image converted from its profile to the curve of sRGB; None if the profile is broken.

    Alpha does not change.
    """
    samples = _profile_table(profile, image.format)
    return None if samples is None else _mapped(image, samples)


def _mapped(image: Image, samples: Image) -> Image:
    gray = image[0].maplut(samples) if image.hasalpha() else image.maplut(samples)
    return gray.bandjoin(image[1]) if image.hasalpha() else gray


@lru_cache(maxsize=16)
def _curve_table(curve: Curve, sample_format: str) -> Image:
    return table(srgb_of_light(light_of_curve(ramp(sample_format), curve)), sample_format)


@lru_cache(maxsize=16)
def _profile_table(profile: bytes, sample_format: str) -> Image | None:
    kind = "b-w" if sample_format == "uchar" else "grey16"
    samples = Image.identity(ushort=sample_format == "ushort").copy(interpretation=kind)
    try:
        # Y of XYZ, 0 to 100. Floats are not interpolated.
        light = with_profile(samples, profile).icc_import(embedded=True, pcs="xyz", intent="relative")[1] / 100
        return table(srgb_of_light((light > 0).ifthenelse(light, 0)), sample_format)
    except Error:
        return None
