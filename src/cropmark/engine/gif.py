"""A GIF's blocks: where they end, and whether anything of what it shows is clear.

Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

# A code of 12 bits, the longest, stands for 4096 pixels at most; shorter ones for fewer a bit.
_PIXELS_A_BYTE = 2731
_CONTROL = 0xF9
_TO_BACKGROUND = 2


@dataclass(frozen=True, slots=True)
class _GifFrame:
    """One image: how it is laid on what stands before it, and how many bytes its pixels have."""

    corner: tuple[int, int]
    size: tuple[int, int]
    has_clear: bool
    disposal: int
    bytes: int


def is_torn(data: bytes) -> bool:
    """Whether the file ends inside a block, or a frame has fewer bytes than its size needs: the decoder shows half a
    frame and says nothing. A missing end mark after a whole block is forgiven.
    """
    try:
        return any(frame.size[0] * frame.size[1] > frame.bytes * _PIXELS_A_BYTE for frame in _frames(data))
    except IndexError:
        return True


def is_opaque(data: bytes) -> bool:
    """Whether an animation, which is not torn, covers its canvas at every moment.

    Those that were made small name a clear color for what does not change: it shows the frame before.
    """
    frames = _frames(data)
    first = next(frames, None)
    if first is None or first.has_clear or first.corner != (0, 0) or first.size != unpack_from("<HH", data, 6):
        return False
    before = first
    for frame in frames:
        if before.disposal == _TO_BACKGROUND:
            return False
        before = frame
    return True


def _frames(data: bytes) -> Iterator[_GifFrame]:
    """Raises IndexError where the data ends inside a block."""
    at, control = 13 + _table_bytes(data[10]), 0
    while at < len(data):
        match data[at]:
            case 0x21:  # an extension: its label, then its parts
                control = data[at + 3] if data[at + 1] == _CONTROL and data[at + 2] else control
                at = _parts_end(data, at + 2)
            case 0x2C:  # an image: its place, perhaps a table, the code size, then its parts
                first = at + 11 + _table_bytes(data[at + 9])
                left, top, width, height = _place(data, at + 1)
                at = _parts_end(data, first)
                yield _GifFrame((left, top), (width, height), bool(control & 1), control >> 2 & 7, at - first)
                control = 0
            case _:  # the end mark, or what somebody put behind
                break
    if at > len(data):
        raise IndexError("the last block is not whole")


def _place(data: bytes, at: int) -> tuple[int, int, int, int]:
    if at + 8 > len(data):
        raise IndexError("the place of a frame is not whole")
    left, top, width, height = unpack_from("<HHHH", data, at)
    return left, top, width, height


def _table_bytes(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _parts_end(data: bytes, at: int) -> int:
    """Past the empty part that ends a row of parts, each with its length before it."""
    while data[at]:
        at += data[at] + 1
    return at + 1
