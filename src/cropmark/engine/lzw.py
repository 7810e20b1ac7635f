"""Compresses palette indices with LZW for GIF, by repacking the output of libvips' TIFF encoder.

libvips' GIF encoder takes colors, not indices. Its search of the palette for each pixel takes 70 % of its time. TIFF
uses the same compression for plain bytes. Only the packing of the codes differs from GIF: the first bit is the highest,
and codes get longer one code earlier (docs/decisions/0162).
Sources: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import unpack_from
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

Indices = NDArray[Any]
"""Rows and columns of palette indices, 8 bits each."""

_CLEAR, _END = 256, 257
_MAX_CODES: Final = 4096
"""A bound above the number of codes that TIFF writes between two clear codes."""
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279


def compressed(strips: Iterable[Indices], depth: int) -> bytes:
    """The palette indices of one frame, compressed for GIF: the code size, and then the codes in sub-blocks.

    `strips` has the indices, all below 2 ** `depth`. The strips are compressed one after the other, and the code for
    each strip begins with a clear code.
    """
    size = max(2, depth)
    return bytes([size]) + _sub_blocks(_packed(_codes(strips), size))


def _codes(strips: Iterable[Indices]) -> Iterator[list[NDArray[Any]]]:
    """Yields the LZW codes of each strip, in groups.

    Every strip but the last ends with the clear code in place of the end code.
    """
    before: list[NDArray[Any]] | None = None
    for strip in strips:
        if before is not None:
            before[-1][-1] = _CLEAR
            yield before
        before = _tiff_codes(_tiff_strip(strip))
    if before is not None:
        yield before


def _tiff_strip(indices: Indices) -> NDArray[Any]:
    """The indices compressed with LZW as in TIFF, as one strip. A few more bytes follow its end."""
    height, width = indices.shape
    image = Image.new_from_memory(np.ascontiguousarray(indices), width, height, 1, "uchar")
    # tile_height is the height of a strip, too.
    body = bytes(image.tiffsave_buffer(compression="lzw", predictor="none", tile_height=height, keep="none"))
    fields = dict(_tiff_fields(body))
    start = fields[_STRIP_OFFSETS]
    return np.frombuffer(body[start : start + fields[_STRIP_BYTES]] + bytes(4), np.uint8)


def _tiff_fields(body: bytes) -> list[tuple[int, int]]:
    """The tag and the value of each field of a TIFF.

    If a field has several values, their offset in the file takes the place of the value.
    """
    order = "<" if body[:2] == b"II" else ">"
    (at,) = unpack_from(f"{order}L", body, 4)
    (count,) = unpack_from(f"{order}H", body, at)
    tags = []
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = unpack_from(f"{order}HH", body, entry)
        (value,) = unpack_from(f"{order}H" if kind == 3 else f"{order}L", body, entry + 8)
        tags.append((tag, value))
    return tags


def _widths(size: int, *, early: int) -> NDArray[Any]:
    """The number of bits of each code after a clear code. It grows with the number of codes that the decoder knows.

    `early` is 1 if codes get longer one code earlier than in GIF, as in TIFF; else 0.
    """
    known = (1 << size) + 1 + early + np.arange(_MAX_CODES)
    return np.clip(np.ceil(np.log2(known + 1)), size + 1, 12).astype(np.int32)


_TIFF_WIDTHS: Final = _widths(8, early=1)
_TIFF_STARTS: Final = np.concatenate(([0], np.cumsum(_TIFF_WIDTHS)[:-1]))
_TIFF_MASKS: Final = (1 << _TIFF_WIDTHS) - 1


def _tiff_codes(data: NDArray[Any]) -> list[NDArray[Any]]:
    """The LZW codes of a TIFF strip, in groups. Each group ends with the clear code or the end code."""
    groups = []
    at = 9  # the bits of the first code, which is the clear code
    while True:
        first = at + _TIFF_STARTS[: min(_MAX_CODES, (len(data) * 8 - at) // 9)]
        byte = np.minimum(first >> 3, len(data) - 3)
        window = data[byte].astype(np.int32) << 16 | data[byte + 1].astype(np.int32) << 8 | data[byte + 2]
        widths = _TIFF_WIDTHS[: len(first)]
        codes = window >> (24 - widths - (first & 7)) & _TIFF_MASKS[: len(first)]
        ends = (codes == _CLEAR) | (codes == _END)
        count = int(ends.argmax()) + 1
        groups.append(codes[:count])
        if codes[count - 1] == _END:
            return groups
        at = int(first[count - 1] + widths[count - 1])


def _packed(strips: Iterable[list[NDArray[Any]]], size: int) -> bytes:
    """The codes packed into bytes as in GIF, after a clear code. The first code is in the lowest bits."""
    in_group = _widths(size, early=0)
    parts = []
    # The bits of an unfinished byte are packed again, as the first code of the next strip.
    code, width = 1 << size, int(in_group[0])
    for groups in strips:
        codes = np.concatenate([np.array([code], np.int32), *groups])
        codes[1:][codes[1:] >= _CLEAR] -= _CLEAR - (1 << size)
        widths = np.concatenate([np.array([width], np.int32), *(in_group[: len(group)] for group in groups)])
        data, bits = _packed_codes(codes, widths)
        parts.append(data[: bits >> 3])
        code, width = int(data[bits >> 3]), bits & 7
    return b"".join((*parts, bytes([code] if width else [])))


def _packed_codes(codes: NDArray[Any], widths: NDArray[Any]) -> tuple[bytes, int]:
    """The codes packed into bytes, and the number of their bits. A few more bytes follow the last code."""
    starts = np.cumsum(widths, dtype=np.int32) - widths
    # In units of 16 bits: a code of 12 bits reaches into the next unit at most, so that each unit from the first to
    # the last has the start of a code if codes have 12 bits or fewer.
    units = starts >> 4
    values = codes << (starts & 15)
    firsts = np.flatnonzero(units[1:] != units[:-1]) + 1
    sums = np.add.reduceat(values, np.concatenate(([0], firsts)))
    packed = np.zeros(len(sums) + 1, np.int32)
    packed[:-1] = sums & 0xFFFF
    packed[1:] += sums >> 16
    return packed.astype("<u2").tobytes(), int(starts[-1] + widths[-1])


def _sub_blocks(data: bytes) -> bytes:
    """The data in sub-blocks of at most 255 bytes, each after its length. An empty sub-block is at the end."""
    count, rest = divmod(len(data), 255)
    blocks = np.full((count, 256), 255, np.uint8)
    blocks[:, 1:] = np.frombuffer(data, np.uint8, 255 * count).reshape(count, 255)
    last = bytes([rest]) + data[-rest:] if rest else b""
    return b"".join((blocks.tobytes(), last, b"\0"))
