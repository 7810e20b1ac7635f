"""Opens TIFF files, also those in L*a*b*.

libvips rejects 8-bit samples of the CIE variant of L*a*b*, and shows the ICC variant as RGB.

Source: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, section 23
"""

from __future__ import annotations

import struct
from enum import Enum
from os import SEEK_CUR, SEEK_END, SEEK_SET
from struct import calcsize, pack, unpack, unpack_from
from typing import Final

from pyvips import Image, SourceCustom

from cropmark.runtime.reads import Data

_BITS, _COLOR_MODEL = 258, 262
"""The tags BitsPerSample and PhotometricInterpretation."""
_RGB: Final = 2
_BIG_TIFF: Final = 43
_MAX_ENTRIES: Final = 1024


class Lab(Enum):
    """The variants of L*a*b*. The value is that of the tag PhotometricInterpretation."""

    CIE = 8
    """a* and b* are signed."""
    ICC = 9
    """a* and b* have an offset of 128."""


_LAB_VALUES: Final = frozenset(variant.value for variant in Lab)


def lab_variant(data: Data) -> Lab | None:
    """The variant of L*a*b* of the first page; None if the page has another color model."""
    model, _ = _short(data, _COLOR_MODEL)
    return Lab(model) if model in _LAB_VALUES else None


def is_8_bit_cie_lab(data: Data) -> bool:
    return lab_variant(data) is Lab.CIE and _short(data, _BITS)[0] == 8


def open_tiff(data: Data, **options: object) -> Image:
    """The first page of a TIFF, with its pixels undecoded. Raises pyvips.Error.

    The file is read in place: one tile of a file of 550 MB takes 4 ms and 2 MB of memory. If the samples are 8-bit CIE
    L*a*b*, libvips receives RGB as the color model of the page, and so returns them unchanged.
    """
    label = (0, b"")
    if is_8_bit_cie_lab(data):
        label = (_short(data, _COLOR_MODEL)[1], pack(f"{_byte_order(data)}H", _RGB))
    source = _vips_source(data, label)
    image = Image.tiffload_source(source, **options)
    image._references.append(source)  # every image that is made from it holds the source too
    return image


def _vips_source(data: Data, label: tuple[int, bytes]) -> SourceCustom:
    """The file as a source for libvips, with some of its bytes replaced. `label` has their offset and the new bytes.

    The file is read with pread(), which the sandbox allows: processes share the open file and its position.
    """
    at = 0

    def read(count: int) -> bytes | None:
        nonlocal at
        piece = _labeled(data[at : at + count], at, label)
        at += len(piece)
        return piece or None

    def seek(offset: int, whence: int) -> int:
        nonlocal at
        at = offset + {SEEK_SET: 0, SEEK_CUR: at, SEEK_END: len(data)}[whence]
        return at

    source = SourceCustom()
    source.on_read(read)
    source.on_seek(seek)
    return source


def _labeled(piece: bytes, at: int, label: tuple[int, bytes]) -> bytes:
    """A piece of the file with the bytes of `label` in place of the original ones.

    The piece begins at the offset `at`. `label` has the offset of the replaced bytes and the new bytes.
    """
    place, new = label
    first, last = max(place - at, 0), min(place + len(new) - at, len(piece))
    if first >= last:
        return piece
    return piece[:first] + new[at + first - place : at + last - place] + piece[last:]


def lab_of_samples(image: Image, variant: Lab) -> Image:
    """The image with its samples of 8 or 16 bits converted to L*a*b* in floats, and with alpha from 0 to 255."""
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


def _short(data: Data, tag: int) -> tuple[int, int]:
    """The first value of a tag in the first directory, and the offset of this value; (0, 0) if the tag is missing."""
    order = _byte_order(data)
    try:
        is_big = _number(data, 2, f"{order}H") == _BIG_TIFF
        offset, inline = ("Q", 8) if is_big else ("I", 4)
        start = _number(data, inline, order + offset)
        entries = _number(data, start, order + ("Q" if is_big else "H"))
        first, size = start + (8 if is_big else 2), 4 + 2 * inline
        table = data[first : first + size * min(entries, _MAX_ENTRIES)]
        for at in range(0, len(table), size):
            found, _, count = unpack_from(f"{order}HH{offset}", table, at)
            if found == tag:
                value_at = first + at + 4 + inline
                place = value_at if 2 * count <= inline else _number(data, value_at, order + offset)
                return _number(data, place, f"{order}H"), place
    except struct.error:
        pass
    return 0, 0


def _number(data: Data, at: int, layout: str) -> int:
    """The number at an offset of the file, in a format of the module struct.

    Raises struct.error beyond the end of the file.
    """
    return int(unpack(layout, data[at : at + calcsize(layout)])[0])


def _byte_order(data: Data) -> str:
    return "<" if data[:2] == b"II" else ">"
