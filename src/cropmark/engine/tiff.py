"""Reads TIFF files in CIE L*a*b*: libvips refuses samples of 8 bits, and shows ICC's variant as if it were RGB.

Source: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, section 23
"""

from __future__ import annotations

import struct
from enum import Enum
from struct import pack_into, unpack_from
from typing import Final

from pyvips import Image

_BITS, _COLOR_MODEL = 258, 262
"""The tags BitsPerSample and PhotometricInterpretation."""
_RGB: Final = 2
_BIG_TIFF: Final = 43
_MAX_ENTRIES: Final = 1024


class Lab(Enum):
    """The variants of L*a*b*, by their value of the tag."""

    CIE = 8
    """a* and b* are signed."""
    ICC = 9
    """a* and b* have an offset of 128."""


_LAB_VALUES: Final = frozenset(variant.value for variant in Lab)


def lab_variant(data: bytes) -> Lab | None:
    """The variant of L*a*b* of the first page; None for other color models."""
    model, _ = _short(data, _COLOR_MODEL)
    return Lab(model) if model in _LAB_VALUES else None


def is_8_bit_cie_lab(data: bytes) -> bool:
    return lab_variant(data) is Lab.CIE and _short(data, _BITS)[0] == 8


def labeled_rgb(data: bytes) -> bytes:
    """The same file with RGB as the color model of its first page, so that libvips reads its samples unchanged."""
    changed = bytearray(data)
    pack_into(f"{_byte_order(data)}H", changed, _short(data, _COLOR_MODEL)[1], _RGB)
    return bytes(changed)


def lab_of_samples(image: Image, variant: Lab) -> Image:
    """The samples of 8 or 16 bits as L*a*b* in floats. Alpha does not change."""
    is_8_bit = image.format == "uchar"
    unit = 1 if is_8_bit else 256
    lightness = image[0] * (100 / (255 * unit))
    if variant is Lab.CIE:
        colors = image[1:3].copy(format="char" if is_8_bit else "short") / unit
    else:
        colors = image[1:3] / unit - 128
    lab = lightness.bandjoin(colors)
    full = lab if image.bands == 3 else lab.bandjoin(image[3] / unit)
    return full.copy(interpretation="lab")


def _short(data: bytes, tag: int) -> tuple[int, int]:
    """The first value of a tag of the first directory, and its offset; zeros without the tag."""
    order = _byte_order(data)
    try:
        is_big = unpack_from(f"{order}H", data, 2)[0] == _BIG_TIFF
        offset, inline = ("Q", 8) if is_big else ("I", 4)
        (start,) = unpack_from(order + offset, data, inline)
        (entries,) = unpack_from(order + ("Q" if is_big else "H"), data, start)
        first, size = start + (8 if is_big else 2), 4 + 2 * inline
        for at in range(first, first + size * min(entries, _MAX_ENTRIES), size):
            found, _, count = unpack_from(f"{order}HH{offset}", data, at)
            if found == tag:
                value_at = at + 4 + inline
                place = value_at if 2 * count <= inline else unpack_from(order + offset, data, value_at)[0]
                return unpack_from(f"{order}H", data, place)[0], place
    except struct.error:
        pass
    return 0, 0


def _byte_order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"
