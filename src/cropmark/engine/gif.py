"""Reads the blocks of a GIF: detects truncation and transparency, and prepares the file for libvips.

Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack, unpack_from

# A code of 12 bits, the longest, encodes at most 4096 pixels; shorter codes encode fewer per bit.
_MAX_PIXELS_PER_BYTE = 2731
_HEADER_BYTES = 13
_MAX_SIDE = 65535
_CONTROL = 0xF9
_KEEP, _TO_BACKGROUND, _TO_PREVIOUS = 1, 2, (3, 4)
"""Disposal methods. 4 is not defined by the specification; old files and all browsers use it like 3."""

_GUESSED_SCREENS = ((640, 480), (640, 512), (800, 600), (1024, 768), (1280, 1024), (1600, 1200))
_MAX_TRUSTED_SIDE = 2048
"""The largest side of a screen that libnsgif uses.

If a side is larger, or if the screen has one of the guessed sizes, libnsgif uses the size of the first frame instead.
"""


@dataclass(frozen=True, slots=True)
class GifFrame:
    """One frame of a GIF: its box on the canvas, its disposal method, and the positions of its blocks in the file."""

    left: int
    top: int
    width: int
    height: int
    has_transparency: bool
    disposal: int
    control_at: int
    """The offset of the byte with the disposal method; 0 if this frame has no such byte."""
    bytes: int
    """The number of bytes of the sub-blocks with the pixels."""
    end: int
    """The offset after the last block of the image."""

    def covers(self, canvas: tuple[int, int]) -> bool:
        """True if the frame's box covers the whole canvas."""
        return (self.left, self.top) == (0, 0) and self.width >= canvas[0] and self.height >= canvas[1]


@dataclass(frozen=True, slots=True)
class GifBlocks:
    """The sizes of a GIF, and its frames, at least one.

    `screen` is the size in the header of the file. `canvas` is the size that browsers show: the screen, enlarged to
    contain the first frame.
    """

    screen: tuple[int, int]
    canvas: tuple[int, int]
    frames: tuple[GifFrame, ...]

    @property
    def is_opaque(self) -> bool:
        """True if all pixels of the canvas are opaque whenever a frame is shown.

        Frames may still have a transparent color: optimized files use it where the previous frame shows through.
        """
        painted = False
        for frame in self.frames:
            shown = painted or (not frame.has_transparency and frame.covers(self.canvas))
            if not shown:
                return False
            if frame.disposal not in _TO_PREVIOUS:
                painted = frame.disposal != _TO_BACKGROUND
        return True


def read_blocks(data: bytes) -> GifBlocks | None:
    """The sizes and frames of a GIF file; None if the file is broken.

    The decoder would return half a frame for a broken file, without an error. A file is broken in these cases:

    - It has no frame, or it ends inside a block. A missing trailer after the last block is accepted.
    - A frame has too few bytes for its size.
    - The first frame extends beyond 65535 px, the largest size that GIF allows.
    """
    try:
        frames = tuple(_frames(data))
    except IndexError:
        return None
    if not frames or any(frame.width * frame.height > frame.bytes * _MAX_PIXELS_PER_BYTE for frame in frames):
        return None
    width, height = unpack_from("<HH", data, 6)
    canvas = max(width, frames[0].left + frames[0].width), max(height, frames[0].top + frames[0].height)
    return GifBlocks((width, height), canvas, frames) if max(canvas) <= _MAX_SIDE else None


# --------------------------------------------------------------------------- for libvips


@dataclass(frozen=True, slots=True)
class DecodableGif:
    """A GIF that libvips decodes as browsers do, possibly with added frames.

    `pages` has the numbers of the original frames in this file, counted from 0.
    """

    data: bytes
    pages: tuple[int, ...]


def decodable(data: bytes, blocks: GifBlocks) -> DecodableGif:
    """The GIF with empty transparent frames added where libvips needs them to decode it as browsers do.

    1. Before the first frame: libvips ignores some screen sizes, and makes no alpha channel if no frame has a
       transparent color. The added frame provides the size and the alpha channel.
    2. After a frame that is to be removed and has no transparent color: libvips would paint the background color in its
       place. The added frame clears its box instead.

    DecodableGif.pages does not contain the added frames (docs/decisions/0160).
    """
    parts: list[bytes] = []
    pages: list[int] = []
    copied, page = 0, 0
    if _needs_canvas(blocks):
        copied, page = _HEADER_BYTES + _table_bytes(data[10]), 1
        parts += [data[:copied], _empty_frame((0, 0, *blocks.canvas), _KEEP)]
    for frame in blocks.frames:
        pages.append(page)
        page += 1
        if frame.disposal == _TO_BACKGROUND and not frame.has_transparency:
            kept = bytes([data[frame.control_at] & 0b11100011 | _KEEP << 2])
            parts += [data[copied : frame.control_at], kept, data[frame.control_at + 1 : frame.end]]
            parts.append(_empty_frame((frame.left, frame.top, frame.width, frame.height), _TO_BACKGROUND))
            copied, page = frame.end, page + 1
    return DecodableGif(b"".join((*parts, data[copied:])) if parts else data, tuple(pages))


def _needs_canvas(blocks: GifBlocks) -> bool:
    is_guessed = blocks.screen in _GUESSED_SCREENS or max(blocks.screen) > _MAX_TRUSTED_SIDE
    if is_guessed and not blocks.frames[0].covers(blocks.canvas):
        return True
    return not blocks.is_opaque and not any(frame.has_transparency for frame in blocks.frames)


def _empty_frame(box: tuple[int, int, int, int], disposal: int) -> bytes:
    """The blocks of a frame that paints nothing: control, box, three LZW codes (clear, one transparent pixel, end)."""
    control = b"\x21\xf9\x04" + bytes([disposal << 2 | 1]) + b"\0\0\0\0"
    return control + b"\x2c" + pack("<HHHH", *box) + b"\0" + b"\x02\x02\x44\x01\0"


# --------------------------------------------------------------------------- blocks


def _frames(data: bytes) -> Iterator[GifFrame]:
    """Yields the frames of the file. Raises IndexError if the data ends inside a block."""
    at, control_at = _HEADER_BYTES + _table_bytes(data[10]), 0
    while at < len(data):
        match data[at]:
            case 0x21:  # an extension: its label, then its sub-blocks
                control_at = at + 3 if data[at + 1] == _CONTROL and data[at + 2] else control_at
                at = _sub_blocks_end(data, at + 2)
            case 0x2C:  # an image: its box, an optional color table, the code size, then its sub-blocks
                first = at + 11 + _table_bytes(data[at + 9])
                box = _frame_box(data, at + 1)
                at = _sub_blocks_end(data, first)
                control = data[control_at] if control_at else 0
                yield GifFrame(*box, bool(control & 1), control >> 2 & 7, control_at, at - first, at)
                control_at = 0
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
    """The offset after the list of sub-blocks at `at`.

    Each sub-block begins with its length. An empty sub-block ends the list.
    """
    while data[at]:
        at += data[at] + 1
    return at + 1
