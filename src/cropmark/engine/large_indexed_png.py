"""Encodes large stills of sources with a palette as small PNGs, strip by strip (docs/decisions/0163).

Only the frame itself is in memory as a whole. An attempt is made with a sample of the strips first, because an attempt
with a whole large frame takes a second.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

from cropmark.engine.animated_gif import pixels_of
from cropmark.engine.packed_colors import distinct, flat_colors, packed_colors, unpacked_colors
from cropmark.engine.palette import Cells, CellSize, ColorLimit, Pixels, bit_depth, lookup_table, nearest, palette_for
from cropmark.engine.small import COLORS, LIMITS, Indexed, indexed_file, is_gray, stored_rows

_STRIP_PIXELS: Final = 250_000
_SAMPLED: Final = 8
"""One strip in this many belongs to the sample."""
_MARGIN: Final = 1.1
"""A whole frame is encoded if the sample has at most this many times the bytes that its part of the file may have."""
_COLOR_SAMPLE: Final = 100_000
"""The pixels from which palettes are chosen."""

Attempt = Callable[[Image], bytes]
"""Encodes the frame, or its sample, in one way."""


def large_small_png(frame: Image, plain: Attempt, max_bytes: int) -> bytes:
    """The PNG of a frame in memory with as many colors as fit into `max_bytes`; if it never fits, with two colors.

    `plain` makes the lossless PNG without a palette.
    """
    sample = _sample(frame)
    most = int(_MARGIN * max_bytes * sample.height / frame.height)
    for attempt in _lossless(frame, plain):
        if len(attempt(sample)) <= most and len(body := attempt(frame)) <= max_bytes:
            return body
    reduced = cache(_reduction(frame, sample))

    def seems_to_fit(limit: ColorLimit) -> bool:
        return len(reduced(limit)(sample)) <= most

    # Fewer colors take fewer bytes, so that at most five of the nine limits are tried.
    first = 0 if seems_to_fit(LIMITS[0]) else bisect_left(LIMITS, True, lo=1, key=seems_to_fit)
    for limit in LIMITS[first:-1]:
        if len(body := reduced(limit)(frame)) <= max_bytes:
            return body
    return reduced(LIMITS[-1])(frame)


def _sample(frame: Image) -> Image:
    """Some strips of the frame, as one frame in memory."""
    rows = _rows_at_once(frame)
    tops = range(rows * (_SAMPLED // 2), frame.height - rows + 1, rows * _SAMPLED) or (0,)
    strips = [frame.crop(0, top, frame.width, min(rows, frame.height)) for top in tops]
    return Image.arrayjoin(strips, across=1).copy_memory()


def _strips(frame: Image) -> Iterator[Pixels]:
    """Yields the pixels of each strip."""
    rows = _rows_at_once(frame)
    for top in range(0, frame.height, rows):
        yield pixels_of([frame.crop(0, top, frame.width, min(rows, frame.height - top))])[0]


def _rows_at_once(frame: Image) -> int:
    return int(max(1, min(frame.height, _STRIP_PIXELS // frame.width)))


def _lossless(frame: Image, plain: Attempt) -> Iterator[Attempt]:
    """Yields the lossless encodings, the best first."""
    gray = all(map(is_gray, _strips(frame)))
    colors = _all_colors(frame)
    lossless = _in_one_band(plain) if gray else plain
    if colors is None:
        yield lossless
    elif gray and bit_depth(len(colors)) == 8:
        yield lossless  # with as many bits for each pixel, and a filter
        yield _exact(colors)
    else:
        yield _exact(colors)
        yield lossless


def _reduction(frame: Image, sample: Image) -> Callable[[ColorLimit], Attempt]:
    """A function that returns the encoding with a limit of colors."""
    sampled = np.concatenate(list(map(flat_colors, _strips(sample))))
    size = CellSize.for_pixels(sampled)
    cells = _cells(frame, size)
    few = sampled[:: max(1, len(sampled) // _COLOR_SAMPLE) | 1]
    of_few = Cells(size.codes(few), cells.used, cells.counts, cells.centers)

    def attempt(limit: ColorLimit) -> Attempt:
        palette = palette_for(few, of_few, limit)
        table = lookup_table(cells, nearest(palette, cells))
        return _indexed(palette, lambda pixels: table[size.codes(flat_colors(pixels))])

    return attempt


def _in_one_band(plain: Attempt) -> Attempt:
    return lambda frame: plain(frame[0].copy(interpretation="b-w"))


def _exact(colors: Pixels) -> Attempt:
    keys = packed_colors(colors[np.newaxis])
    return _indexed(colors, lambda pixels: np.searchsorted(keys, packed_colors(pixels)).astype(np.uint8))


def _all_colors(frame: Image) -> Pixels | None:
    """All colors of the frame in the order of packed_colors(); None if it has more than 256."""
    colors: NDArray[Any] = np.empty(0, np.uint32)
    bands = frame.bands
    for pixels in _strips(frame):
        colors = distinct(np.concatenate([colors, distinct(packed_colors(pixels))]))
        bands = pixels.shape[2]
        if len(colors) > COLORS:
            return None
    return unpacked_colors(colors, bands)


def _cells(frame: Image, size: CellSize) -> Cells:
    """The cells that occur in the frame, without the cell of each pixel."""
    counts = sum(np.bincount(size.codes(flat_colors(pixels)), minlength=size.count) for pixels in _strips(frame))
    return size.cells(np.empty(0, np.int32), np.asarray(counts))


def _indexed(palette: Pixels, indices_of: Callable[[Pixels], NDArray[Any]]) -> Attempt:
    """Encodes with this palette; `indices_of` returns the index of each pixel of a strip, in a row."""

    def encoded(frame: Image) -> bytes:
        compressor = zlib.compressobj(6)
        parts = [
            compressor.compress(stored_rows(Indexed(palette, indices_of(pixels).reshape(pixels.shape[:2]))))
            for pixels in _strips(frame)
        ]
        return indexed_file(palette, frame.width, frame.height, b"".join((*parts, compressor.flush())))

    return encoded
