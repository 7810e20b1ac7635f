"""Reads the colors that an image file declares without an ICC profile: cICP, gAMA and cHRM in PNG, and nclx in AVIF.

All values come from untrusted bytes: a malformed or unknown value counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import isclose
from struct import unpack
from types import MappingProxyType
from typing import Final
from zlib import crc32

from cropmark.engine.colorimetry import Primaries, rgb_to_xyz


class HdrTransfer(Enum):
    """A transfer function for light brighter than reference white. The value is its code point in ITU-T H.273."""

    PQ = 16
    HLG = 18


@dataclass(frozen=True, slots=True)
class Curve:
    """A tone curve, which converts a sample v to light, both from 0 to 1.

    The light is slope * v if v is below `knee`, else (scale * v + offset) ** gamma.
    """

    gamma: float
    scale: float = 1.0
    offset: float = 0.0
    slope: float = 0.0
    knee: float = 0.0


@dataclass(frozen=True, slots=True)
class SdrColors:
    """The primaries and the tone curve of an SDR image. The largest sample is reference white."""

    primaries: Primaries
    curve: Curve


@dataclass(frozen=True, slots=True)
class HdrColors:
    """The colors of an HDR image. Its highlights are brighter than reference white, up to `peak_nits` in cd/m2."""

    primaries: int
    """A key of PRIMARIES."""
    transfer: HdrTransfer
    peak_nits: int


AnyColors = SdrColors | HdrColors

_D65: Final = (0.3127, 0.3290)
_C: Final = (0.310, 0.316)

# fmt: off
PRIMARIES: Final[Mapping[int, Primaries]] = MappingProxyType({
    1:  Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),            # BT.709, sRGB
    4:  Primaries((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),              # BT.470 System M
    5:  Primaries((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),            # BT.601, 625 lines
    6:  Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),            # BT.601, 525 lines
    7:  Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),            # SMPTE 240M
    8:  Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),              # generic film
    9:  Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),            # BT.2020, BT.2100
    10: Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3)),              # CIE XYZ
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI-P3
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),            # Display P3
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),            # EBU Tech. 3213
})
"""The primaries by their code point in ITU-T H.273, table 2."""

_SRGB_CURVE: Final = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_CURVES: Final[Mapping[int, Curve]] = MappingProxyType({
    4:  Curve(2.2),
    5:  Curve(2.8),
    7:  Curve(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912),                # SMPTE 240M
    8:  Curve(1.0),
    13: _SRGB_CURVE,
    17: Curve(2.6, (52.37 / 48) ** (1 / 2.6)),                                      # SMPTE ST 428-1
})
"""The curves by the code point of the transfer function in ITU-T H.273, table 3."""
# fmt: on

_HDR_CODES: Final = frozenset(transfer.value for transfer in HdrTransfer)
SRGB: Final = SdrColors(PRIMARIES[1], _SRGB_CURVE)

_CAMERA_CURVES: Final = frozenset({1, 6, 14, 15})
"""The code points of BT.709, BT.601 and BT.2020, which define the curve of a camera, not of a screen."""
_XVYCC: Final = 11
_SCREEN_CURVE: Final = Curve(2.4)
"""The curve of a screen that shows images of these cameras (BT.1886)."""
_DEFAULT_PEAK_NITS: Final = 1000
_MAX_PEAK_NITS: Final = 10_000

# ---------------------------------------------------------------------------------------------- PNG

_MAX_CHUNKS: Final = 1000
_CHUNK_LENGTHS: Final[Mapping[bytes, int]] = MappingProxyType(
    {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"cLLI": 8, b"mDCV": 24}
)
_SRGB_GAMMA: Final = 1 / 2.2
_GAMMA_TOLERANCE: Final = 0.05
"""A gAMA chunk without cHRM counts as sRGB if its value differs from 1/2.2 by at most this share.

libpng and browsers do the same: files seldom mean the difference.
"""
_GAMMA_RANGE: Final = (0.01, 100)


def png_colors(data: bytes, *, has_profile: bool) -> AnyColors | None:
    """The colors that the chunks of a PNG declare; None if the colors are those of its ICC profile, or sRGB.

    `has_profile` is True if the file has a usable iCCP chunk. The first of these chunks decides: cICP, iCCP, sRGB,
    gAMA. A cHRM chunk counts only together with gAMA.
    Source: https://www.w3.org/TR/png-3/#color-chunk-precendence
    """
    chunks = _color_chunks(data)
    if not chunks:
        return None
    declared = _cicp_colors(chunks)
    if declared or has_profile or b"sRGB" in chunks or b"gAMA" not in chunks:
        return declared
    return _gamma_colors(chunks)


def _color_chunks(data: bytes) -> dict[bytes, bytes]:
    """The data of the color chunks before the pixels, by chunk name. Of several chunks with a name, the first counts.

    Chunks with a wrong length or checksum are left out.
    """
    found: dict[bytes, bytes] = {}
    at = 8
    for _ in range(_MAX_CHUNKS):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        if name in (b"IDAT", b""):
            break
        if _CHUNK_LENGTHS.get(name) == length and data[end : end + 4] == crc32(data[at + 4 : end]).to_bytes(4, "big"):
            found.setdefault(name, data[at + 8 : end])
        at = end + 4
    return found


def _cicp_colors(chunks: Mapping[bytes, bytes]) -> AnyColors | None:
    """The colors of the chunk cICP; None if the chunk is absent or not supported.

    As in browsers, a chunk that declares a matrix or a limited range is ignored: RGB samples cannot have them.
    """
    primaries, transfer, matrix, full_range = chunks.get(b"cICP", bytes(4))
    if primaries not in PRIMARIES or (matrix, full_range) != (0, 1):
        return None
    if transfer in _HDR_CODES:
        return HdrColors(primaries, HdrTransfer(transfer), _png_peak_nits(chunks))
    is_camera = transfer in _CAMERA_CURVES or transfer == _XVYCC
    curve = _SCREEN_CURVE if is_camera else _CURVES.get(transfer)
    return SdrColors(PRIMARIES[primaries], curve) if curve else None


def _png_peak_nits(chunks: Mapping[bytes, bytes]) -> int:
    """The brightest light in cd/m2, from the chunk cLLI (content), else from mDCV (mastering screen), else 1000."""
    content = int.from_bytes(chunks.get(b"cLLI", b"")[:4], "big")
    screen = int.from_bytes(chunks.get(b"mDCV", b"")[16:20], "big")
    return _peak_nits((content or screen) // 10_000)


def _gamma_colors(chunks: Mapping[bytes, bytes]) -> SdrColors | None:
    gamma = int.from_bytes(chunks[b"gAMA"], "big") / 100_000
    if not _GAMMA_RANGE[0] <= gamma <= _GAMMA_RANGE[1]:
        return None
    curve = Curve(1 / gamma)
    if b"cHRM" not in chunks:
        return None if isclose(gamma, _SRGB_GAMMA, rel_tol=_GAMMA_TOLERANCE) else SdrColors(PRIMARIES[1], curve)
    primaries = _chrm_primaries(chunks[b"cHRM"])
    return SdrColors(primaries, curve) if primaries else None


def _chrm_primaries(chunk: bytes) -> Primaries | None:
    """The primaries of a cHRM chunk; None if white is outside their triangle."""
    numbers = [number / 100_000 for number in unpack(">8I", chunk)]
    white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
    primaries = Primaries(red, green, blue, white)
    try:
        rgb_to_xyz(primaries)
    except ValueError:
        return None
    return primaries


# ---------------------------------------------------------------------------------------------- AVIF


def avif_colors(primaries: int, transfer: int, max_nits: int) -> AnyColors:
    """The colors of an AVIF with these code points. Unknown and unspecified code points mean sRGB.

    The curves of cameras, such as BT.709, also count as sRGB, as in browsers. Encoders write their code points for
    images that were never video.
    """
    known = primaries if primaries in PRIMARIES else 1
    if transfer in _HDR_CODES:
        return HdrColors(known, HdrTransfer(transfer), _peak_nits(max_nits))
    return SdrColors(PRIMARIES[known], _CURVES.get(transfer, _SRGB_CURVE))


def _peak_nits(declared: int) -> int:
    return min(declared, _MAX_PEAK_NITS) or _DEFAULT_PEAK_NITS
