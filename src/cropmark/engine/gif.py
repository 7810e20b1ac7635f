"""Reads the blocks of a GIF to detect truncation and transparency.

Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

# A code of 12 bits, the longest, encodes at most 4096 pixels; shorter codes encode fewer per bit.
_MAX_PIXELS_PER_BYTE = 2731
_CONTROL = 0xF9
_TO_BACKGROUND = 2


@dataclass(frozen=True, slots=True)
class _GifFrame:
    """One image of the file: its box on the canvas, how it replaces the previous frame, and its size in bytes."""

    corner: tuple[int, int]
    size: tuple[int, int]
    has_transparency: bool
    disposal: int
    bytes: int


def is_torn(data: bytes) -> bool:
    """True if the file ends inside a block, or a frame has fewer bytes than its size needs.

    The decoder returns half a frame for such a file without an error. A missing trailer after a complete block is
    accepted.
    """
    try:
        return any(frame.size[0] * frame.size[1] > frame.bytes * _MAX_PIXELS_PER_BYTE for frame in _frames(data))
    except IndexError:
        return True


def is_opaque(data: bytes) -> bool:
    """True if a complete animation covers its whole canvas in every frame.

    Optimized files use a transparent color for pixels that do not change: the previous frame shows through.
    """
    frames = _frames(data)
    first = next(frames, None)
    if first is None or first.has_transparency or first.corner != (0, 0) or first.size != unpack_from("<HH", data, 6):
        return False
    before = first
    for frame in frames:
        if before.disposal == _TO_BACKGROUND:
            return False
        before = frame
    return True


def _frames(data: bytes) -> Iterator[_GifFrame]:
    """Yields the images of the file. Raises IndexError if the data ends inside a block."""
    at, control = 13 + _table_bytes(data[10]), 0
    while at < len(data):
        match data[at]:
            case 0x21:  # an extension: its label, then its sub-blocks
                control = data[at + 3] if data[at + 1] == _CONTROL and data[at + 2] else control
                at = _sub_blocks_end(data, at + 2)
            case 0x2C:  # an image: its box, an optional color table, the code size, then its sub-blocks
                first = at + 11 + _table_bytes(data[at + 9])
                left, top, width, height = _frame_box(data, at + 1)
                at = _sub_blocks_end(data, first)
                yield _GifFrame((left, top), (width, height), bool(control & 1), control >> 2 & 7, at - first)
                control = 0
            case _:  # the trailer, or unknown data after the last block
                break
    if at > len(data):
        raise IndexError("the last block is incomplete")


def _frame_box(data: bytes, at: int) -> tuple[int, int, int, int]:
    if at + 8 > len(data):
        raise IndexError("the box of a frame is incomplete")
    left, top, width, height = unpack_from("<HHHH", data, at)
    return left, top, width, height


def _table_bytes(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _sub_blocks_end(data: bytes, at: int) -> int:
    """The offset after the empty sub-block that ends a list of sub-blocks. A length byte precedes each of them."""
    while data[at]:
        at += data[at] + 1
    return at + 1
