"""Encodes an animation as GIF.

Successive frames share a palette, and each frame contains only the pixels that change. libvips' own encoder is slower:
it chooses a palette for each frame, searches it for each pixel, and dithers (docs/decisions/0162).
Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

from cropmark.engine import lzw
from cropmark.engine.image import DecodedImage
from cropmark.engine.palette import ColorLimit, Pixels, cells_of, lookup_table, nearest, palette_for

Mask = NDArray[Any]

_GROUP_PIXELS: Final = 2_000_000
"""The number of pixels in a group of frames. The frames of a group are in memory together and use one palette."""
MOST_COLORS: Final = ColorLimit(255)
"""The most colors of a palette. One of 256 indices is reserved for transparent pixels."""
_WORSE: Final = 1.2
"""A palette is replaced when its mean squared error exceeds this factor times its first error, plus 1."""
_OPAQUE_ALPHA: Final = 128
_KEEP, _CLEAR = 1, 2
"""Disposal methods: the frame stays on the canvas, or is removed before the next frame is shown."""


@dataclass(frozen=True, slots=True)
class _IndexedFrame:
    """A frame with a palette and the palette index of each pixel. The index after the last color means transparent."""

    palette: Pixels
    indices: NDArray[Any]
    is_opaque: bool
    has_alpha: bool
    """True if the animation has alpha, so that any of its frames may have transparent pixels."""

    @property
    def transparent(self) -> int:
        return len(self.palette)

    @property
    def depth(self) -> int:
        """The number of bits of an index."""
        return index_bits(self.palette)

    @property
    def painted(self) -> Mask:
        """A mask of the pixels that are not transparent."""
        mask: Mask = self.indices != self.transparent
        return mask

    def clears(self, before: _IndexedFrame) -> bool:
        """True if a pixel that is opaque in `before`, the previous frame, is transparent in this frame."""
        return not self.is_opaque and bool((before.painted & ~self.painted).any())


def encode_animation(image: DecodedImage, limit: ColorLimit = MOST_COLORS) -> bytes:
    """The animation as a GIF file. libvips computes the pixels during this call, one group of frames after the other.

    Raises pyvips.Error if a source is broken.
    """
    frames = _indexed(image.frames, limit)
    first = frame = next(frames)
    parts = [_head(first, image.loop)]
    shown: _IndexedFrame | None = None
    for delay_ms in image.delays_ms:
        following = next(frames, None)
        clear = not frame.is_opaque if following is None else following.clears(frame)
        mask = np.ones_like(frame.painted) if clear or shown is None else _changed(frame, shown)
        table = b"" if frame.palette is first.palette else _color_table(frame.palette)
        parts.append(_blocks(frame, mask, table, delay_ms, _CLEAR if clear else _KEEP))
        if following is None:
            break
        shown, frame = None if clear else frame, following
    return b"".join((*parts, b";"))


def still_file(palette: Pixels, width: int, height: int, data: bytes, *, has_alpha: bool) -> bytes:
    """A GIF file with one frame. `data` has the compressed palette indices, as lzw.compressed() returns them.

    The index after the last color of the palette means transparent.
    """
    control = pack("<BHBB", _KEEP << 2 | has_alpha, 0, len(palette), 0)
    place = pack("<HHHHB", 0, 0, width, height, 0)
    return b"".join((_screen(palette, width, height), b"!\xf9\x04", control, b",", place, data, b";"))


def index_bits(palette: Pixels) -> int:
    """The number of bits of a palette index. They are enough for the transparent index too, which is the last."""
    return max(1, len(palette).bit_length())


# --------------------------------------------------------------------------- palettes


def _indexed(frames: Sequence[Image], limit: ColorLimit) -> Iterator[_IndexedFrame]:
    """Yields each frame with its palette.

    The frames are read in groups. A group uses the palette of the group before, unless its error would be too large.
    """
    palette: Pixels | None = None
    error = 0.0
    count = max(1, _GROUP_PIXELS // (frames[0].width * frames[0].height))
    for at in range(0, len(frames), count):
        group = pixels_of(frames[at : at + count])
        has_alpha = group.shape[-1] == 4
        opaque = opaque_mask(group)
        colors = group.reshape(-1, group.shape[-1])[:, :3] if opaque is None else group[opaque][:, :3]
        cells = cells_of(colors)
        mapping = None if palette is None else nearest(palette, cells)
        if palette is None or mapping is None or mapping.error > _WORSE * error + 1:
            palette = palette_for(colors, cells, limit)
            mapping = nearest(palette, cells)
            error = mapping.error
        entries = lookup_table(cells, mapping)[cells.of_pixels]
        if opaque is None:
            indices = entries.reshape(group.shape[:3])
        else:
            indices = np.full(group.shape[:3], len(palette), np.uint8)
            indices[opaque] = entries
        for position, frame in enumerate(indices):
            is_opaque = opaque is None or bool(opaque[position].all())
            yield _IndexedFrame(palette, frame, is_opaque, has_alpha=has_alpha)


def opaque_mask(pixels: Pixels) -> Mask | None:
    """A mask of the pixels that a GIF shows as opaque; None if all pixels are opaque."""
    if pixels.shape[-1] == 3:
        return None
    mask: Mask = pixels[..., 3] >= _OPAQUE_ALPHA
    return None if mask.all() else mask


def pixels_of(frames: Sequence[Image]) -> Pixels:
    """The pixels of the frames as an array with the axes frame, row, column and band (three or four bands)."""
    strip = Image.arrayjoin([frame.colourspace("srgb").cast("uchar") for frame in frames], across=1)
    shape = (len(frames), frames[0].height, frames[0].width, strip.bands)
    return np.frombuffer(strip.write_to_memory(), np.uint8).reshape(shape)


def _changed(frame: _IndexedFrame, shown: _IndexedFrame) -> Mask:
    """A mask of the pixels to paint, so that the canvas changes from the frame `shown` to `frame`.

    It cannot make pixels of the canvas transparent. If the two palettes differ, all opaque pixels are painted.
    """
    if frame.palette is not shown.palette:
        return frame.painted
    mask: Mask = frame.indices != shown.indices
    return mask


# --------------------------------------------------------------------------- blocks


def _head(frame: _IndexedFrame, loop: int) -> bytes:
    """The start of the GIF file, up to the first frame.

    `loop` is the number of times that the animation is played (0: forever).
    """
    height, width = frame.indices.shape
    screen = _screen(frame.palette, width, height)
    if loop == 1:
        return screen
    return screen + b"!\xff\x0bNETSCAPE2.0\x03\x01" + pack("<H", min(max(loop - 1, 0), 0xFFFF)) + b"\0"


def _screen(palette: Pixels, width: int, height: int) -> bytes:
    sizes = pack("<HHBBB", width, height, 0xF0 | index_bits(palette) - 1, 0, 0)
    return b"GIF89a" + sizes + _color_table(palette)


def _blocks(frame: _IndexedFrame, mask: Mask, table: bytes, delay_ms: int, disposal: int) -> bytes:
    """The GIF blocks of one frame, which paints the pixels of the mask.

    `table` is the color table of the frame; it is empty if the frame uses the color table of the file.
    """
    left, top, right, bottom = _box(mask)
    box = slice(top, bottom), slice(left, right)
    kept = ~mask[box]
    indices = frame.indices[box]
    # In a box that changes as a whole, its few equal pixels would only interrupt patterns that repeat.
    if 2 * int(kept.sum()) > kept.size:
        indices = np.where(kept, np.uint8(frame.transparent), indices)
    # With alpha every frame names a transparent color: some viewers clear to the background color where one does not.
    is_transparent = frame.has_alpha or bool((indices == frame.transparent).any())
    delay = min(round(delay_ms / 10), 0xFFFF)
    control = pack("<BHBB", disposal << 2 | is_transparent, delay, frame.transparent, 0)
    place = pack("<HHHHB", left, top, right - left, bottom - top, 0x80 | frame.depth - 1 if table else 0)
    return b"!\xf9\x04" + control + b"," + place + table + lzw.compressed([indices], frame.depth)


def _box(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the smallest box that contains the mask; a box of one pixel for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _color_table(palette: Pixels) -> bytes:
    return palette.tobytes().ljust(3 << index_bits(palette), b"\0")
