"""Atkinson's dithering, quick enough for the largest pictures without a library of arrays.

Each pixel becomes black or white, and an eighth of the error goes to each of six neighbors not yet visited::

          *  1  1
       1  1  1
          1

A pixel thus waits for its two left neighbors, for three of the row above and for one two rows above. Along the
slanted line of all (x, y) with x + 2y = step none waits for another, so a whole line is done at once: its pixels are
the lanes, 16 bits each, of one long integer, and Python adds such integers as fast as memory allows
(docs/decisions/0031 has the figures).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LANE = 16

# Lanes hold no sign, so every value in them is lifted above 0. An eighth of an error is -16..16, its lane 0..32.
_NO_ERROR = 16
# Six errors are lifted by 96 already. Lifted by 384 in all, a value of 128 or more has bit 9 set, and no other.
_LIFT = 384 - 6 * _NO_ERROR
_BIT = 9
# From such a value, black: what takes the lift off, puts 128 on and 4 more, to round the eighth to the nearest.
_BACK = 384 - 128 - 4


def atkinson(gray: bytes, width: int, height: int) -> bytes:
    """Rows of 0 and 255 for rows of gray levels; from 128 up is white, what leaves the picture is lost."""
    pitch = max(width, 3)  # from row to row, a slanted line steps by two less
    if pitch == width:
        return bytes(_dithered(gray, width, height, pitch))
    rows = b"".join(gray[at : at + width].ljust(pitch, b"\0") for at in range(0, width * height, width))
    wide = _dithered(rows, width, height, pitch)
    return b"".join(wide[at : at + width] for at in range(0, pitch * height, pitch))


@dataclass(frozen=True, slots=True)
class _Wavefront:
    """The pixels x + 2y = step inside the picture: rows `first` to `end`, in lanes that count from row `base`."""

    step: int
    first: int
    end: int
    base: int

    def pixels(self, pitch: int) -> slice:
        """Where they lie in rows that are `pitch` bytes apart."""
        stride = pitch - 2
        start = self.step + self.first * stride
        return slice(start, start + (self.end - self.first - 1) * stride + 1, stride)


def _lines(width: int, height: int) -> Iterator[_Wavefront]:
    for step in range(width + 2 * height - 2):
        first, end = max(0, (step - width + 2) // 2), min(height, step // 2 + 1)
        # Two rows that are done stay for the rows below, which still ask for their errors.
        yield _Wavefront(step, first, end, max(0, first - 2))


def _dithered(gray: bytes, width: int, height: int, pitch: int) -> bytearray:
    lanes = min(height, width // 2 + 1) + 3
    ones = int.from_bytes(b"\1\0" * lanes, "little")
    all_bits = (1 << _LANE * lanes) - 1
    none = _NO_ERROR * ones
    above_top, above_both = 3 * _NO_ERROR, _NO_ERROR * (1 | 1 << _LANE)
    done = bytearray(len(gray))
    one = two = three = four = none  # the errors of the lines one to four steps before
    base = 0
    for line in _lines(width, height):
        if line.base > base:
            base = line.base
            one, two, three, four = (e >> _LANE | _NO_ERROR << _LANE * (lanes - 1) for e in (one, two, three, four))
        beside = one + two
        above = (beside + three) << _LANE | above_top
        value = _spread(gray[line.pixels(pitch)], line) + beside + (above & all_bits) + _LIFT * ones
        value += (four << 2 * _LANE | above_both) & all_bits
        white = value >> _BIT & ones
        error = (value - _BACK * ones - 255 * white) >> 3 & 0x3F * ones
        four, three, two, one = three, two, one, none ^ ((error ^ none) & _inside(line))
        done[line.pixels(pitch)] = _gathered(255 * white, line, lanes)
    return done


def _spread(levels: bytes, line: _Wavefront) -> int:
    """Bytes as lanes of one integer."""
    wide = bytearray(2 * len(levels))
    wide[::2] = levels
    return int.from_bytes(wide, "little") << _LANE * (line.first - line.base)


def _gathered(white: int, line: _Wavefront, lanes: int) -> bytes:
    """The lanes of the line's pixels as bytes."""
    return white.to_bytes(2 * lanes, "little")[2 * (line.first - line.base) : 2 * (line.end - line.base) : 2]


def _inside(line: _Wavefront) -> int:
    """All bits of the lanes whose pixels are inside the picture."""
    return ((1 << _LANE * (line.end - line.first)) - 1) << _LANE * (line.first - line.base)
