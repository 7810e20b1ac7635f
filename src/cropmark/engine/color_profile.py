"""Builds an ICC profile for an image file that declares its colors without a profile.

Source: https://www.color.org/specification/ICC.1-2022-05.pdf
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from struct import pack
from typing import Final

from cropmark.engine.color_tags import Curve, SdrColors
from cropmark.engine.colorimetry import D50, Vector, adaptation, multiplied, rgb_to_xyz, transposed, white_xyz

_VERSION: Final = 0x04300000
_DATE: Final = (2026, 1, 1, 0, 0, 0)
_DESCRIPTION: Final = "Colors declared by the image file"
_COPYRIGHT: Final = "No copyright, use freely"


@lru_cache(maxsize=64)
def rgb_profile(colors: SdrColors) -> bytes:
    """An ICC profile with these primaries and this tone curve.

    Raises ValueError if white is outside the triangle of the primaries.
    """
    to_d50 = adaptation(white_xyz(colors.primaries), D50)
    red, green, blue = transposed(multiplied(to_d50, rgb_to_xyz(colors.primaries)))
    curve = _curve(colors.curve)
    tags = {b"rXYZ": _xyz(red), b"gXYZ": _xyz(green), b"bXYZ": _xyz(blue), b"rTRC": curve, b"gTRC": curve}
    adapted = b"sf32" + bytes(4) + b"".join(_fixed(part) for row in to_d50 for part in row)
    return _profile({**tags, b"bTRC": curve, b"chad": adapted})


def _profile(tags: dict[bytes, bytes]) -> bytes:
    common = {b"desc": _text(_DESCRIPTION), b"cprt": _text(_COPYRIGHT), b"wtpt": _xyz(D50)}
    entries = {**common, **tags}
    bodies = [body + bytes(-len(body) % 4) for body in entries.values()]
    start = 128 + 4 + 12 * len(entries)
    *places, end = accumulate(map(len, bodies), initial=start)
    table = b"".join(
        pack(">4sII", name, place, len(entries[name])) for name, place in zip(entries, places, strict=True)
    )
    head = pack(">I4xI4s4s4s6H4s", end, _VERSION, b"mntr", b"RGB ", b"XYZ ", *_DATE, b"acsp").ljust(68, b"\0")
    header = (head + _xyz(D50)[8:]).ljust(128, b"\0")
    return header + pack(">I", len(entries)) + table + b"".join(bodies)


def _curve(curve: Curve) -> bytes:
    """The tone curve as a tag: a parametric curve of type 3.

    Its numbers are gamma, scale and offset of the power function, then the slope and the end of the linear part.
    """
    numbers = (curve.gamma, curve.scale, curve.offset, curve.slope, curve.knee)
    return b"para" + bytes(4) + pack(">H2x", 3) + b"".join(map(_fixed, numbers))


def _text(text: str) -> bytes:
    # Not encode("utf-16-be"): Python imports that codec on first use, which the sandbox forbids.
    utf16 = b"".join(bytes((0, letter)) for letter in text.encode("ascii"))
    return b"mluc" + bytes(4) + pack(">II4sII", 1, 12, b"enUS", len(utf16), 28) + utf16


def _xyz(vector: Vector) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, vector))


def _fixed(number: float) -> bytes:
    """The number as s15Fixed16Number: a signed 32-bit integer in units of 1/65536."""
    return pack(">i", round(number * 65536))
