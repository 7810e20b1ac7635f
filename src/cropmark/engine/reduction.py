"""Shrinks a window with fractional edges exactly, with libvips' reducev and reduceh.

These two operations shrink only whole images. From N pixels and a factor f, they make round(N / f) result pixels. The
result pixels are f pixels apart, and the middle one is in the middle of the image. Pixels added before or after the
image move the result pixels. So pixels are added until some result pixels match the window. libvips computes only
pixels that are read, so added and dropped pixels cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from pyvips import Image

from cropmark.plan.steps import Filter

_GAP = 4.0
"""The `gap` of libvips: it first averages whole pixels, which is fast, and leaves at least this factor to the kernel.

libvips' default of 2 is up to 1.6 points of SSIMULACRA2 worse (docs/decisions/0150).
"""
_AMPLE = 64
"""The factor by which an image is lengthened, if its far edge would have an error above _MAX_ERROR."""
_MAX_ERROR = 0.01
"""The largest error of the window's far edge, in pixels of the result."""
_LEAST_LOSS = Fraction(1, 2)
"""A loss of at least this number of pixels always needs a Grid.

The bound limits the pixels that a Grid adds before the frame to about half of the frame.
"""
_MAX_PHASE = 0.24
"""The largest distance between the start of the window and a pixel of the grid, in pixels of the result.

Below a quarter, libvips rounds the number of result pixels as we do.
"""


@dataclass(frozen=True, slots=True)
class Grid:
    """The parameters that shrink a window along one axis.

    `before` and `after` are the numbers of pixels to add to the frame, and `factor` is the factor for libvips. `first`
    is the first pixel of the reduced frame that belongs to the result.
    """

    before: int
    after: int
    factor: float
    first: int


def is_reduction(length: Fraction, result: int) -> bool:
    """True if shrinking `length` pixels to `result` pixels loses enough pixels to need a Grid.

    If not, interpolation gives the same quality.
    """
    return length - result >= min(_LEAST_LOSS, Fraction(result, 16))


def grid(start: Fraction, length: Fraction, pixels: int, result: int) -> Grid:
    """The Grid that shrinks a window to `result` pixels, with each edge exact within 0.01 pixels of the result.

    The window is the part of `length` pixels from `start` in a frame of `pixels` pixels. is_reduction() must be true.

    The frame with added pixels has N pixels, its reduction has n pixels, and the window begins at s. Then:

        N / 2 + (first - n / 2) * factor = s
        factor = (N - 2 * s) / (n - 2 * first)
    """
    distance = float(length) / result
    before = next(n for n in count() if abs(_to_nearest((float(start) + n) / distance)) < 0.2501)
    phase = (float(start) + before) / distance
    first = round(phase)
    begin = (first + max(-_MAX_PHASE, min(phase - first, _MAX_PHASE))) * distance
    for after in (0, _AMPLE * (before + pixels)):
        span = before + pixels + after - 2 * begin
        factor = span / max(result, round(span / distance))
        if abs(factor / distance - 1) * result < _MAX_ERROR:
            break
    return Grid(before, after, factor, first)


def _to_nearest(value: float) -> float:
    return value - round(value)


def reduce_down(frame: Image, start: Fraction, length: Fraction, rows: int, kernel: Filter) -> Image:
    """The window of the frame, shrunk vertically to `rows` rows. It begins at row `start` and is `length` rows high."""
    g = grid(start, length, frame.height, rows)
    if g.before or g.after:
        frame = frame.embed(0, g.before, frame.width, g.before + frame.height + g.after, extend="copy")
    reduced = frame.reducev(g.factor, kernel=kernel.value, gap=_GAP)
    return reduced if (g.first, rows) == (0, reduced.height) else reduced.crop(0, g.first, reduced.width, rows)


def reduce_across(frame: Image, start: Fraction, length: Fraction, columns: int, kernel: Filter) -> Image:
    """The window of the frame, shrunk horizontally to `columns` columns. It begins at `start` and is `length` wide."""
    g = grid(start, length, frame.width, columns)
    if g.before or g.after:
        frame = frame.embed(g.before, 0, g.before + frame.width + g.after, frame.height, extend="copy")
    reduced = frame.reduceh(g.factor, kernel=kernel.value, gap=_GAP)
    return reduced if (g.first, columns) == (0, reduced.width) else reduced.crop(g.first, 0, columns, reduced.height)
