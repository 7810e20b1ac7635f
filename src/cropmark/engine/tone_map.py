"""Converts HDR images to sRGB: decodes the light of PQ and HLG, and compresses highlights to the range of SDR.

The curve is the one that Chromium uses for a screen without HDR, the reference white tone mapping operator of SMPTE ST
2094-50. It halves light up to reference white (203 cd/m2), and compresses brighter light.
"""

from __future__ import annotations

from functools import lru_cache
from math import log2
from typing import Final

from pyvips import GValue, Image

from cropmark.engine.color_tags import PRIMARIES, HdrColors, HdrTransfer
from cropmark.engine.colorimetry import Matrix, Vector, inverse, multiplied, rgb_to_xyz
from cropmark.engine.light import LARGEST, light_of_hlg, light_of_pq, ramp, rgb_of_light

_FIELD: Final = "hdr-colors"
_BT709, _BT2020 = 1, 9
_BT2020_LUMINANCE: Final = (0.2627, 0.6780, 0.0593)
_WHITE_NITS: Final = 203
_HLG_PEAK_NITS: Final = 1000
_HLG_SYSTEM_GAMMA: Final = 1.2
_STEPS_PER_WHITE: Final = 1000
"""The number of entries in the table of gains for light up to reference white.

The whole table has 65,536 entries, which is enough for PQ's brightest light.
"""
_BENDING: Final = 0.65
"""The position of the curve's middle control point on the line from (0, 0) through white.

0 is the position of white, and 1 is the position where the line reaches 1.
"""


def with_hdr_colors(image: Image, colors: HdrColors) -> Image:
    """The image with its HDR colors in a metadata field. Ops that change the geometry preserve this field."""
    noted = image.copy()
    noted.set_type(GValue.gstr_type, _FIELD, f"{colors.primaries} {colors.transfer.value} {colors.peak_nits}")
    return noted


def hdr_colors(image: Image) -> HdrColors | None:
    """The colors that with_hdr_colors() stored in the image; None for an image without HDR."""
    if not image.get_typeof(_FIELD):
        return None
    primaries, transfer, peak_nits = map(int, image.get(_FIELD).split())
    return HdrColors(primaries, HdrTransfer(transfer), peak_nits)


def tone_mapped(image: Image, colors: HdrColors, primaries: int = _BT709) -> Image:
    """The HDR image converted to 8-bit RGB with the given primaries and the curve of sRGB.

    The image is gray or RGB and has 8 or 16 bits. Alpha does not change.
    """
    if image.hasalpha():
        opaque = tone_mapped(image.extract_band(0, n=image.bands - 1), colors, primaries)
        alpha = image.extract_band(image.bands - 1)
        return opaque.bandjoin(alpha if alpha.format == "uchar" else (alpha >> 8).cast("uchar"))
    light = _screen_light(image if image.bands == 3 else image.bandjoin([image, image]), colors)
    brightest = light[0].maxpair(light[1]).maxpair(light[2])
    gain = (brightest * _STEPS_PER_WHITE).cast("ushort").maplut(_gains(colors.peak_nits))
    mapped = rgb_of_light(_recombined(light * gain, _between(_BT2020, primaries)))
    mapped.remove(_FIELD)
    return mapped


def _screen_light(image: Image, colors: HdrColors) -> Image:
    """The light on the screen in the primaries of BT.2020, relative to reference white."""
    coded = image.maplut(_light(colors.transfer, image.format))
    light = coded if colors.primaries == _BT2020 else _recombined(coded, _between(colors.primaries, _BT2020))
    if colors.transfer is HdrTransfer.PQ:
        return light
    # HLG stores the light of the scene. A screen shows it with more contrast (BT.2100, OOTF).
    luminance = light.recomb(Image.new_from_array([list(_BT2020_LUMINANCE)]))
    return light * luminance ** (_HLG_SYSTEM_GAMMA - 1) * (_HLG_PEAK_NITS / _WHITE_NITS)


def _recombined(image: Image, matrix: Matrix) -> Image:
    return image.recomb(Image.new_from_array([list(row) for row in matrix]))


@lru_cache(maxsize=32)
def _between(primaries: int, target: int) -> Matrix:
    """The matrix that converts linear RGB between two sets of primaries, which are given as code points.

    White stays white, even if the two white points differ.
    """
    to_target = inverse(rgb_to_xyz(PRIMARIES[target]))
    first, second, third = multiplied(to_target, rgb_to_xyz(PRIMARIES[primaries]))
    return _normalized(first), _normalized(second), _normalized(third)


def _normalized(row: Vector) -> Vector:
    return tuple(part / sum(row) for part in row)


@lru_cache(maxsize=4)
def _light(transfer: HdrTransfer, sample_format: str) -> Image:
    samples = ramp(sample_format)
    light = light_of_pq(samples) if transfer is HdrTransfer.PQ else light_of_hlg(samples)
    return light.cast("float").copy_memory()


@lru_cache(maxsize=16)
def _gains(peak_nits: int) -> Image:
    """A table of gains, by which tone mapping multiplies the samples of a pixel.

    The index is the light of the brightest sample of the pixel. The gain is constant up to reference white, and then
    falls to 1 / peak.
    """
    light = ramp("ushort") * (LARGEST["ushort"] / _STEPS_PER_WHITE)
    peak = max(1.0, peak_nits / _WHITE_NITS)
    above = (light > 1).ifthenelse(light, 1)
    # Half of white's light for a peak of 1000 cd/m2 and above, more for a lower one.
    white = 1 - 0.5 * min(1.0, log2(peak) / log2(_HLG_PEAK_NITS / _WHITE_NITS))
    compressed = (light < peak).ifthenelse(_shoulder(above, peak, white), 1) / above
    return (light <= 1).ifthenelse(white, compressed).cast("float").copy_memory()


def _shoulder(light: Image, peak: float, white: float) -> Image:
    """The tone-mapped light for light between 1 and `peak`: 1 becomes `white`, and `peak` becomes 1.

    The curve is a quadratic Bezier curve from (1, white) to (peak, 1). Its middle control point is on the line through
    (0, 0) and (1, white), so the tangents agree at 1.
    """
    middle_x = 1 - _BENDING + _BENDING / white
    middle_y = (1 - _BENDING) * white + _BENDING
    # light = 1 + 2 b t + a t^2, solved for t, which is 0 at white and 1 at the peak
    a, b = 1 - 2 * middle_x + peak, middle_x - 1
    distance = light - 1
    t = distance / ((distance * a + b * b) ** 0.5 + b)
    return t * t * (white - 2 * middle_y + 1) + t * (2 * (middle_y - white)) + white
