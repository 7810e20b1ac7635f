"""Encodes large still images as PNG or GIF with few colors, strip by strip (docs/decisions/0163).

Only the pixels of the frame are in memory as a whole. Encoding a large frame takes seconds, so each palette is first
tried with a sample of the strips.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

from cropmark.engine import lzw
from cropmark.engine.animated_gif import index_bits, opaque_mask, still_file
from cropmark.engine.image import image_of
from cropmark.engine.packed_colors import distinct, flat_colors, packed_colors, unpacked_colors
from cropmark.engine.palette import CellSize, ColorLimit, Pixels, bit_depth, nearest, palette_for
from cropmark.engine.small import COLORS, GIF_LIMITS, LIMITS, Indexed, indexed_file, is_gray, stored_rows

_STRIP_PIXELS: Final = 250_000
_GIF_STRIP_PIXELS: Final = 1_000_000
"""The compression of a GIF begins again in each strip, so that strips must not be small."""
_SAMPLED: Final = 8
"""One of this number of strips belongs to the sample, but at most _MOST_SAMPLED strips."""
_MOST_SAMPLED: Final = 12
_MARGIN: Final = 1.1
"""The whole frame is encoded only if the sample seems to fit.

It fits if it has at most this factor times the bytes that its share of the file may have.
"""
_COLOR_SAMPLE: Final = 100_000
"""The number of pixels from which a palette is chosen."""

Attempt = Callable[[Pixels], bytes]
"""A function that encodes the frame, or its sample, in one way."""
IndicesOf = Callable[[Pixels], NDArray[Any]]
"""A function that returns the palette index of each color in a list."""


class _FileType(NamedTuple):
    limits: tuple[ColorLimit, ...]
    colors: Callable[[Pixels], Pixels]
    """Returns a list of the colors that the palette must contain or approximate."""
    codes: Callable[[CellSize, Pixels], NDArray[Any]]
    """Returns the numbers of the cells of these colors."""
    encoded: Callable[[Pixels, Pixels, IndicesOf], bytes]
    """Encodes the frame with a palette."""


def large_small_png(frame: Pixels, plain: Callable[[Image], bytes], max_bytes: int) -> bytes:
    """The frame as a PNG of at most `max_bytes`, with as many colors as fit.

    If even two colors do not fit, the PNG has two colors and is larger. `plain` makes the lossless PNG without a
    palette.
    """
    sample = _sample(frame)
    most = _most_of_sample(frame, sample, max_bytes)
    for attempt in _lossless(frame, plain):
        if len(attempt(sample)) <= most and len(body := attempt(frame)) <= max_bytes:
            return body
    return _reduced(frame, sample, _FileType(LIMITS, flat_colors, _codes, _png), max_bytes)


def large_small_gif(frame: Pixels, max_bytes: int) -> bytes:
    """The frame as a GIF of at most `max_bytes`, with as many colors as fit.

    If even two colors do not fit, the GIF has two colors and is larger.
    """
    return _reduced(frame, _sample(frame), _FileType(GIF_LIMITS, _opaque_colors, _opaque_codes, _gif), max_bytes)


def _reduced(frame: Pixels, sample: Pixels, kind: _FileType, max_bytes: int) -> bytes:
    most = _most_of_sample(frame, sample, max_bytes)
    reduced = cache(_reduction(frame, sample, kind))

    def seems_to_fit(limit: ColorLimit) -> bool:
        return len(reduced(limit)(sample)) <= most

    # Fewer colors take fewer bytes, so that at most five of the nine limits are tried.
    limits = kind.limits
    first = 0 if seems_to_fit(limits[0]) else bisect_left(limits, True, lo=1, key=seems_to_fit)
    for limit in limits[first:-1]:
        if len(body := reduced(limit)(frame)) <= max_bytes:
            return body
    return reduced(limits[-1])(frame)


def _most_of_sample(frame: Pixels, sample: Pixels, max_bytes: int) -> int:
    return int(_MARGIN * max_bytes * len(sample) / len(frame))


def _sample(frame: Pixels) -> Pixels:
    """Some strips of the frame, joined to a smaller frame."""
    rows = _rows_at_once(frame, _STRIP_PIXELS)
    step = max(_SAMPLED, len(frame) // (rows * _MOST_SAMPLED))
    tops = range(rows * (step // 2), len(frame) - rows + 1, rows * step) or (0,)
    return np.concatenate([frame[top : top + rows] for top in tops])


def _strips(frame: Pixels, most_pixels: int | None = None) -> Iterator[Pixels]:
    """Yields the frame in strips of up to `most_pixels` pixels, from top to bottom."""
    rows = _rows_at_once(frame, most_pixels or _STRIP_PIXELS)
    return (frame[top : top + rows] for top in range(0, len(frame), rows))


def _rows_at_once(frame: Pixels, most_pixels: int) -> int:
    return max(1, most_pixels // int(frame.shape[1]))


def _lossless(frame: Pixels, plain: Callable[[Image], bytes]) -> Iterator[Attempt]:
    """Yields functions that encode a frame as a lossless PNG, each in another way, the best first."""
    gray = all(map(is_gray, _strips(frame)))
    colors = _all_colors(frame)

    def lossless(frame: Pixels) -> bytes:
        return plain(image_of(frame[..., :1] if gray else frame))

    if colors is None:
        yield lossless
    elif gray and bit_depth(len(colors)) == 8:
        yield lossless  # with as many bits for each pixel, and a filter
        yield _exact(colors)
    else:
        yield _exact(colors)
        yield lossless


def _exact(colors: Pixels) -> Attempt:
    keys = packed_colors(colors)
    return lambda frame: _file(
        frame, colors, lambda pixels: np.searchsorted(keys, packed_colors(pixels)).astype(np.uint8)
    )


def _all_colors(frame: Pixels) -> Pixels | None:
    """All colors of the frame, sorted by their packed_colors(); None if there are more than 256."""
    colors: NDArray[Any] = np.empty(0, np.uint32)
    for pixels in _strips(frame):
        colors = distinct(np.concatenate([colors, distinct(packed_colors(pixels))]))
        if len(colors) > COLORS:
            return None
    return unpacked_colors(colors, frame.shape[2])


def _reduction(frame: Pixels, sample: Pixels, kind: _FileType) -> Callable[[ColorLimit], Attempt]:
    """A function that takes a limit of colors and returns an Attempt, which encodes with a palette of that limit."""
    sampled = kind.colors(sample)
    size = CellSize.for_pixels(sampled)
    counts = np.zeros(size.count, np.int64)
    for pixels in _strips(frame):
        counts += np.bincount(kind.codes(size, pixels), minlength=size.count)
    few = sampled[:: max(1, len(sampled) // _COLOR_SAMPLE) | 1]
    cells = size.cells(size.codes(few), counts)

    def attempt(limit: ColorLimit) -> Attempt:
        palette = palette_for(few, cells, limit)
        table = np.zeros(size.count, np.uint8)
        table[cells.used] = nearest(palette, cells).entries
        return lambda frame: kind.encoded(frame, palette, lambda colors: table[size.codes(colors)])

    return attempt


def _codes(size: CellSize, pixels: Pixels) -> NDArray[Any]:
    return size.codes(flat_colors(pixels))


def _png(frame: Pixels, palette: Pixels, indices_of: IndicesOf) -> bytes:
    return _file(frame, palette, lambda pixels: indices_of(flat_colors(pixels)))


def _file(frame: Pixels, palette: Pixels, indices_of: IndicesOf) -> bytes:
    """The frame as a PNG with this palette. `indices_of` returns the palette index of each pixel of a strip."""
    compressor = zlib.compressobj(6)
    parts = [
        compressor.compress(stored_rows(Indexed(palette, indices_of(pixels).reshape(pixels.shape[:2]))))
        for pixels in _strips(frame)
    ]
    height, width = frame.shape[:2]
    return indexed_file(palette, width, height, (*parts, compressor.flush()))


def _gif(frame: Pixels, palette: Pixels, indices_of: IndicesOf) -> bytes:
    def indices(pixels: Pixels) -> NDArray[Any]:
        found = indices_of(pixels.reshape(-1, pixels.shape[2])).reshape(pixels.shape[:2])
        opaque = opaque_mask(pixels)
        if opaque is not None:
            found[~opaque] = len(palette)
        return found

    height, width = frame.shape[:2]
    data = lzw.compressed(map(indices, _strips(frame, _GIF_STRIP_PIXELS)), index_bits(palette))
    return still_file(palette, width, height, data, has_alpha=frame.shape[2] == 4)


def _opaque_colors(pixels: Pixels) -> Pixels:
    opaque = opaque_mask(pixels)
    return pixels.reshape(-1, pixels.shape[2])[:, :3] if opaque is None else pixels[opaque][:, :3]


def _opaque_codes(size: CellSize, pixels: Pixels) -> NDArray[Any]:
    codes = size.codes(pixels.reshape(-1, pixels.shape[2]))
    opaque = opaque_mask(pixels)
    return codes if opaque is None else codes[opaque.ravel()]
