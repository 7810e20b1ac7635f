"""Converts gray images with a profile or a curve to sRGB's curve, by a table with an entry per sample.

The color library interpolates gray between 33 points, which moves dark samples by up to 10 levels.
"""

from __future__ import annotations

from functools import lru_cache

from pyvips import Error, GValue, Image

from cropmark.engine.color_tags import Curve
from cropmark.engine.light import light_of_curve, ramp, srgb_of_light, table


def gray_by_curve(image: Image, curve: Curve) -> Image:
    """A gray image, with or without alpha, with sRGB's curve in place of its own."""
    return _mapped(image, _curve_table(curve, image.format))


def gray_by_profile(image: Image, profile: bytes) -> Image | None:
    """A gray image, with or without alpha, with sRGB's curve in place of its profile's; None if that is broken."""
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
    samples.set_type(GValue.blob_type, "icc-profile-data", profile)
    try:
        # Y of XYZ, 0 to 100. Floats are not interpolated.
        light = samples.icc_import(embedded=True, pcs="xyz", intent="relative")[1] / 100
        return table(srgb_of_light((light > 0).ifthenelse(light, 0)), sample_format)
    except Error:
        return None
