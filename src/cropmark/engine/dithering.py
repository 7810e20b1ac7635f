"""Atkinson dithering, fast enough for the largest images without an array library.

Each pixel becomes black or white, and an eighth of the error is added to each of six neighbors not yet visited::

          *  1  1
       1  1  1
          1

So a pixel depends on its two left neighbors, on three pixels of the row above, and on one pixel two rows above. No
pixel depends on another pixel of the same wavefront, the line of all (x, y) with x + 2y = step. So one operation
computes a whole wavefront: its pixels are 16-bit lanes of one long integer, and Python adds such integers at memory
speed (figures in docs/decisions/0031).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LANE = 16

# Lanes are unsigned, so each value has an offset. An eighth of an error is -16..16, its lane 0..32.
_NO_ERROR = 16
# Six errors contribute an offset of 96. With an offset of 384 in all, exactly the values from 128 up have bit 9 set.
_LIFT = 384 - 6 * _NO_ERROR
_BIT = 9
# Subtracted from a black value: removes the offset, adds 128, and adds 4 to round the eighth to the nearest.
_BACK = 384 - 128 - 4


def atkinson(gray: bytes, width: int, height: int) -> bytes:
    """The image dithered to black (0) and white (255). `gray` has the gray levels, row by row.

    A pixel becomes white if its level plus the errors added to it is 128 or more. Errors beyond the edges are dropped.
    """
    pitch = max(width, 3)  # from row to row, a wavefront advances by two less than this
    if pitch == width:
        return bytes(_dither(gray, width, height, pitch))
    rows = b"".join(gray[at : at + width].ljust(pitch, b"\0") for at in range(0, width * height, width))
    wide = _dither(rows, width, height, pitch)
    return b"".join(wide[at : at + width] for at in range(0, pitch * height, pitch))


@dataclass(frozen=True, slots=True)
class _Wavefront:
    """The pixels of the image with x + 2y = step, in the rows from `first` to `end` - 1.

    An integer has a lane for each of these pixels. Its lowest lane is for the row `base`.
    """

    step: int
    first: int
    end: int
    base: int

    def pixels(self, pitch: int) -> slice:
        """The slice of the wavefront's pixels in a buffer that has one byte per pixel and `pitch` bytes per row."""
        stride = pitch - 2
        start = self.step + self.first * stride
        return slice(start, start + (self.end - self.first - 1) * stride + 1, stride)


def _wavefronts(width: int, height: int) -> Iterator[_Wavefront]:
    for step in range(width + 2 * height - 2):
        first, end = max(0, (step - width + 2) // 2), min(height, step // 2 + 1)
        # Two finished rows stay in the lanes: the rows below still read their errors.
        yield _Wavefront(step, first, end, max(0, first - 2))


def _dither(gray: bytes, width: int, height: int, pitch: int) -> bytearray:
    lanes = min(height, width // 2 + 1) + 3
    ones = int.from_bytes(b"\1\0" * lanes, "little")
    all_bits = (1 << _LANE * lanes) - 1
    none = _NO_ERROR * ones
    above_top, above_both = 3 * _NO_ERROR, _NO_ERROR * (1 | 1 << _LANE)
    done = bytearray(len(gray))
    one = two = three = four = none  # the errors of the wavefronts one to four steps before
    base = 0
    for line in _wavefronts(width, height):
        if line.base > base:
            base = line.base
            one, two, three, four = (e >> _LANE | _NO_ERROR << _LANE * (lanes - 1) for e in (one, two, three, four))
        left_errors = one + two
        above_errors = (left_errors + three) << _LANE | above_top
        value = _to_lanes(gray[line.pixels(pitch)], line) + left_errors + (above_errors & all_bits) + _LIFT * ones
        value += (four << 2 * _LANE | above_both) & all_bits
        white = value >> _BIT & ones
        error = (value - _BACK * ones - 255 * white) >> 3 & 0x3F * ones
        four, three, two, one = three, two, one, none ^ ((error ^ none) & _lane_mask(line))
        done[line.pixels(pitch)] = _from_lanes(255 * white, line, lanes)
    return done


def _to_lanes(levels: bytes, line: _Wavefront) -> int:
    """An integer with the gray levels of the wavefront's pixels in its lanes."""
    wide = bytearray(2 * len(levels))
    wide[::2] = levels
    return int.from_bytes(wide, "little") << _LANE * (line.first - line.base)


def _from_lanes(white: int, line: _Wavefront, lanes: int) -> bytes:
    """The bytes of the wavefront's pixels, from an integer with `lanes` lanes."""
    return white.to_bytes(2 * lanes, "little")[2 * (line.first - line.base) : 2 * (line.end - line.base) : 2]


def _lane_mask(line: _Wavefront) -> int:
    """An integer with all bits set in the lanes of the wavefront's pixels, and with no other bits set."""
    return ((1 << _LANE * (line.end - line.first)) - 1) << _LANE * (line.first - line.base)
