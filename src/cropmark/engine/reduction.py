"""Shrinking a window with fractional edges exactly, with libvips' reducev and reduceh.

These two operations accept no window: for an image of N pixels and a factor f, they make round(N / f) pixels at a
distance of f, the middle one in the middle of the image. Pixels that are added on both sides of the image move this
grid of result pixels, so that some of them meet the window. libvips computes only pixels that are read, so added and
dropped pixels cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from pyvips import Image

from cropmark.plan.steps import Filter

_GAP = 4.0
"""The least factor that is left to the kernel if libvips first averages whole pixels, which is faster. libvips' default
of 2 is up to 1.6 points of SSIMULACRA2 worse (docs/decisions/0150)."""
_AMPLE = 64
"""Lengthening an image by this factor makes a grid that meets the far edge of the window within 0.01 pixels."""
_MAX_ERROR = 0.01
"""The largest error of the window's far edge, in pixels of the result."""
_LEAST_LOSS = Fraction(1, 2)
"""A loss of at least this many pixels of the frame always needs a Grid. The bound limits the pixels that a Grid adds
before the frame to about half of the frame."""
_MAX_PHASE = 0.24
"""The largest offset between the grid and the start of the window, in pixels of the result. Below a quarter, libvips
rounds the number of pixels of the grid as we do."""


@dataclass(frozen=True, slots=True)
class Grid:
    """One axis of a reduction: the pixels added before and after the frame, the factor, and the first pixel of the
    reduced frame that belongs to the result."""

    before: int
    after: int
    factor: float
    first: int


def is_reduction(length: Fraction, result: int) -> bool:
    """True if shrinking `length` pixels to `result` loses enough pixels to need a Grid.

    If not, interpolation gives the same quality.
    """
    return length - result >= min(_LEAST_LOSS, Fraction(result, 16))


def grid(start: Fraction, length: Fraction, pixels: int, result: int) -> Grid:
    """The Grid that shrinks a window to `result` pixels: `length` of the frame's `pixels`, from `start`.

    is_reduction() must be true for `length` and `result`. Each edge is exact within 0.01 pixels of the result. With N
    pixels, n of the grid, and the window at s, it requires N / 2 + (first - n / 2) * factor = s, hence
    factor = (N - 2 * s) / (n - 2 * first).
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
    """The window of `length` rows of the frame from `start`, shrunk to `rows` rows."""
    g = grid(start, length, frame.height, rows)
    if g.before or g.after:
        frame = frame.embed(0, g.before, frame.width, g.before + frame.height + g.after, extend="copy")
    reduced = frame.reducev(g.factor, kernel=kernel.value, gap=_GAP)
    return reduced if (g.first, rows) == (0, reduced.height) else reduced.crop(0, g.first, reduced.width, rows)


def reduce_across(frame: Image, start: Fraction, length: Fraction, columns: int, kernel: Filter) -> Image:
    """The window of `length` columns of the frame from `start`, shrunk to `columns` columns."""
    g = grid(start, length, frame.width, columns)
    if g.before or g.after:
        frame = frame.embed(g.before, 0, g.before + frame.width + g.after, frame.height, extend="copy")
    reduced = frame.reduceh(g.factor, kernel=kernel.value, gap=_GAP)
    return reduced if (g.first, columns) == (0, reduced.width) else reduced.crop(g.first, 0, columns, reduced.height)
