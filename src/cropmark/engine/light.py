"""Transfer functions, which convert samples to light and back, as libvips expressions."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pyvips import Image

from cropmark.engine.color_tags import Curve

LARGEST: Final = {"uchar": 255, "ushort": 65535}
"""The largest sample of each sample format, by libvips' name of the format."""
_PQ_WHITE_SHARE: Final = 203 / 10_000
"""Reference white (BT.2408) as a share of PQ's brightest light."""


def ramp(sample_format: str) -> Image:
    """An image of one row with every possible sample of a format, divided by the largest sample: from 0 to 1."""
    return Image.identity(ushort=sample_format == "ushort") / LARGEST[sample_format]


def table(values: Image, sample_format: str) -> Image:
    """A lookup table for maplut(): the values, from 0 to 1, converted to samples of the format."""
    return (values * LARGEST[sample_format]).rint().cast(sample_format).copy_memory()


def light_of_curve(samples: Image, curve: Curve) -> Image:
    bright = (samples * curve.scale + curve.offset) ** curve.gamma
    return (samples < curve.knee).ifthenelse(samples * curve.slope, bright)


def light_of_pq(samples: Image) -> Image:
    """The light of PQ samples, relative to reference white (203 cd/m2). Source: SMPTE ST 2084."""
    root = samples ** (32 / 2523)
    above = root - 107 / 128
    share = ((above > 0).ifthenelse(above, 0) / (2413 / 128 - root * (2392 / 128))) ** (8192 / 1305)
    return share / _PQ_WHITE_SHARE


def light_of_hlg(samples: Image) -> Image:
    """The light of the scene for HLG samples, from 0 to 1. Source: ITU-R BT.2100, table 5."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return (samples <= 0.5).ifthenelse(samples * samples / 3, (((samples - c) / a).exp() + b) / 12)


def srgb_of_light(light: Image) -> Image:
    """The sRGB samples, from 0 to 1, for linear light. Source: IEC 61966-2-1."""
    return (light <= 0.0031308).ifthenelse(light * 12.92, light ** (1 / 2.4) * 1.055 - 0.055)


def rgb_of_light(light: Image) -> Image:
    """Linear light in the primaries of sRGB, converted to 8-bit sRGB. Light outside 0 to 1 is clipped."""
    return (light * LARGEST["ushort"]).cast("ushort").maplut(_srgb_samples()).copy(interpretation="srgb")


@lru_cache(maxsize=1)
def _srgb_samples() -> Image:
    return table(srgb_of_light(ramp("ushort")), "uchar")
