"""Decodes uncompressed BMP with 1, 4, 8, 24 or 32 bits per pixel. The libvips that we install cannot read BMP.

Source: https://learn.microsoft.com/en-us/windows/win32/gdi/bitmap-storage
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from struct import unpack_from
from typing import Any, Final

import numpy as np
import pyvips
from numpy.typing import NDArray
from pyvips import Image

from cropmark.model.values import Size

_HEADER_AT: Final = 14
_CORE: Final = 12
_WITH_ALPHA_MASK: Final = (56, 108, 124)
_HEADERS: Final = (_CORE, 40, 52, 64, *_WITH_ALPHA_MASK)
_UNCOMPRESSED, _MASKS = 0, 3
_BITS: Final = (1, 4, 8, 24, 32)
_BYTE_MASKS: Final = {0xFF << 8 * at: at for at in range(4)}
"""The masks of samples that are whole bytes, each with the position of the byte in a pixel."""


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """The parsed header of a BMP. All rows of pixels are inside the file."""

    size: Size
    bits: int
    pixels_at: int
    row_bytes: int
    from_top: bool
    bands: tuple[int, ...]
    """The positions of red, green, blue and, with transparency, alpha among the bytes of a pixel.

    For 24 or 32 bits only.
    """
    palette: tuple[int, int, int]
    """The offset of the palette, the bytes of an entry, and the number of entries."""


def header_of(data: bytes) -> BmpHeader:
    """The header of a BMP; no pixel is decoded.

    Raises pyvips.Error if the header is broken or the pixels are stored in a way that is not supported. Raises
    ValueError if a side is 0.
    """
    try:
        return _header(data)
    except struct.error as error:
        raise pyvips.Error("BMP: the header ends early") from error


def _header(data: bytes) -> BmpHeader:
    pixels_at, length = unpack_from("<II", data, 10)
    if length not in _HEADERS:
        raise pyvips.Error(f"BMP: a header of {length} bytes is not read")
    compression, colors = _UNCOMPRESSED, 0
    if length == _CORE:
        width, height, _, bits = unpack_from("<HHHH", data, _HEADER_AT + 4)
    else:
        width, height, _, bits, compression = unpack_from("<iiHHI", data, _HEADER_AT + 4)
        (colors,) = unpack_from("<I", data, _HEADER_AT + 32)
    if bits not in _BITS or compression not in ((_UNCOMPRESSED, _MASKS) if bits == 32 else (_UNCOMPRESSED,)):
        raise pyvips.Error(f"BMP: compression {compression} of {bits} bits is not read")
    size, row_bytes = Size(width, abs(height)), (width * bits + 31) // 32 * 4
    if pixels_at < _HEADER_AT + length or pixels_at + row_bytes * size.height > len(data):
        raise pyvips.Error("BMP: the pixels end early")
    bands = _bands(data, length) if compression == _MASKS else (2, 1, 0)
    entry = 3 if length == _CORE else 4
    most = min(1 << bits, (pixels_at - _HEADER_AT - length) // entry)
    palette = (_HEADER_AT + length, entry, min(colors, most) or most) if bits <= 8 else (0, 0, 0)
    return BmpHeader(size, bits, pixels_at, row_bytes, height < 0, bands, palette)


def _bands(data: bytes, length: int) -> tuple[int, ...]:
    masks = unpack_from("<III", data, _HEADER_AT + 40)
    alpha = unpack_from("<I", data, _HEADER_AT + 52) if length in _WITH_ALPHA_MASK else (0,)
    used = (*masks, *alpha) if alpha[0] else masks
    if any(mask not in _BYTE_MASKS for mask in used):
        raise pyvips.Error("BMP: samples that are not whole bytes are not read")
    return tuple(_BYTE_MASKS[mask] for mask in used)


def decoded(data: bytes) -> Image:
    """The BMP decoded into memory as 8-bit RGB, with alpha if the header has a mask for alpha. Raises pyvips.Error."""
    header = header_of(data)
    width, height = header.size.width, header.size.height
    rows = np.frombuffer(data, np.uint8, header.row_bytes * height, header.pixels_at).reshape(height, header.row_bytes)
    rows = rows if header.from_top else rows[::-1]
    if header.bits <= 8:
        pixels = _palette(data, header)[_indices(rows, header)]
    else:
        per_pixel = header.bits // 8
        stored = rows[:, : width * per_pixel].reshape(height, width, per_pixel)
        pixels = np.empty((height, width, len(header.bands)), np.uint8)
        for to, band in enumerate(header.bands):  # an index, and np.take(), would copy the whole file first
            pixels[..., to] = stored[..., band]
    samples = np.ascontiguousarray(pixels)
    if samples.shape[2] > 3 and not samples[..., 3].any():  # as browsers do: many writers leave alpha unset
        samples[..., 3] = 255
    return Image.new_from_memory(samples.data, width, height, samples.shape[2], "uchar").copy(interpretation="srgb")


def _indices(rows: NDArray[Any], header: BmpHeader) -> NDArray[Any]:
    """The palette index of each pixel. If several pixels share a byte, the first is in the highest bits."""
    per_byte = 8 // header.bits
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(header.bits)
    split: NDArray[Any] = rows[:, :, None] >> shifts & np.uint8((1 << header.bits) - 1)
    return split.reshape(len(rows), -1)[:, : header.size.width]


def _palette(data: bytes, header: BmpHeader) -> NDArray[Any]:
    """256 colors, one for each possible index. Colors after the end of the file's palette are black."""
    at, entry, count = header.palette
    stored = np.frombuffer(data, np.uint8, entry * count, at).reshape(count, entry)
    colors = np.zeros((256, 3), np.uint8)
    colors[:count] = stored[:, 2::-1]
    return colors
