"""Reduces colors to a palette with a lookup table, without dithering (docs/decisions/0162).

Similar colors form a cell: in each band, their first bits are equal. The nearest palette entry is searched once for
each cell, not for each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

Pixels = NDArray[Any]
"""8-bit colors; the last axis holds red, green and blue, and alpha if it has four entries."""

_BITS: Final = {3: ((6, 6, 6), (5, 5, 5)), 4: ((5, 5, 5, 4), (4, 4, 4, 4))}
_MAX_CELLS: Final = 50_000
"""If more cells contain pixels, larger cells are used.

Photographs have up to 40,000 of the smaller cells. Noise has all 262,144, for which a search takes a second.
"""
_SAMPLE_PIXELS: Final = 100_000
_SAMPLE_WIDTH: Final = 64
_SEARCHED_AT_ONCE: Final = 4096
_MAJORITY: Final = 3
"""An entry gets the most frequent color of its pixels if at least one pixel in this number has the color."""


class ColorLimit(NamedTuple):
    """The maximum number of colors in a palette, and the quality of libvips' quantization, from 1 to 100.

    At a lower quality libvips chooses fewer colors.
    """

    colors: int
    quality: int = 100


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of some pixels. `of_pixels` has the number of the cell of each pixel.

    The other arrays have an entry for each cell that contains a pixel: the number of the cell, the number of its
    pixels, and its central color.
    """

    of_pixels: NDArray[Any]
    used: NDArray[Any]
    counts: NDArray[Any]
    centers: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Mapping:
    """The nearest palette entry for each cell that contains a pixel.

    `error` is the mean squared distance from the center of a pixel's cell to its palette entry.
    """

    entries: NDArray[Any]
    error: float


@dataclass(frozen=True, slots=True)
class CellSize:
    """The size of cells: for each band, the number of first bits that all colors of a cell share."""

    bits: tuple[int, ...]

    @classmethod
    def for_pixels(cls, pixels: Pixels) -> CellSize:
        """The size of the cells that cells_of() uses for these pixels."""
        fine, coarse = _BITS[pixels.shape[1]]
        is_fine = int((np.bincount(cls(fine).codes(pixels)) > 0).sum()) <= _MAX_CELLS
        return cls(fine if is_fine else coarse)

    @property
    def count(self) -> int:
        return 1 << sum(self.bits)

    def codes(self, pixels: Pixels) -> NDArray[Any]:
        """The number of the cell of each pixel."""
        codes: NDArray[Any] = (pixels[:, 0] >> (8 - self.bits[0])).astype(np.int32)
        for band, kept in enumerate(self.bits[1:], start=1):
            codes <<= kept
            codes |= pixels[:, band] >> (8 - kept)
        return codes

    def cells(self, codes: NDArray[Any], counts: NDArray[Any]) -> Cells:
        """The Cells of pixels with the cell numbers `codes`.

        `counts` has the number of pixels of each possible cell.
        """
        used = np.flatnonzero(counts)
        return Cells(codes, used, counts[used], _centers(self.bits)[used])


def cells_of(pixels: Pixels) -> Cells:
    """The Cells of a list of pixels. If more than _MAX_CELLS contain a pixel, larger cells are used."""
    fine, coarse = map(CellSize, _BITS[pixels.shape[1]])
    cells = _cells(pixels, fine)
    return cells if len(cells.used) <= _MAX_CELLS else _cells(pixels, coarse)


def _cells(pixels: Pixels, size: CellSize) -> Cells:
    codes = size.codes(pixels)
    return size.cells(codes, np.bincount(codes, minlength=size.count))


def palette_for(pixels: Pixels, cells: Cells, limit: ColorLimit) -> Pixels:
    """A palette for the pixels, sorted from the darkest to the brightest color. Without pixels, it is only black."""
    if not len(pixels):
        return np.zeros((1, pixels.shape[1]), np.uint8)
    step = max(1, len(pixels) // _SAMPLE_PIXELS) | 1  # odd: an even step would see only some columns
    sample, sampled = pixels[::step], cells.of_pixels[::step]
    centers = cells.centers.astype(np.uint8)
    # Each cell that occurs counts once more, so that rare colors are seen.
    is_exact = len(centers) <= limit.colors and limit.quality == 100
    start = centers if is_exact else _quantized(np.concatenate([sample, centers]), limit)
    table = lookup_table(cells, nearest(start, cells))
    refined = _refined(start, sample, table[sampled])
    return refined[_brightness(refined).argsort(kind="stable")]


def bit_depth(colors: int) -> int:
    """The number of bits per pixel of a PNG with a palette of `colors` colors: 1, 2, 4 or 8."""
    return next(bits for bits in (1, 2, 4, 8) if colors <= 1 << bits)


def nearest(palette: Pixels, cells: Cells) -> Mapping:
    """The nearest entry of the palette for each cell."""
    colors = palette.astype(np.float32)
    half_squares = (colors * colors).sum(axis=1) / 2
    entries, squares = np.empty(len(cells.used), np.uint8), np.empty(len(cells.used), np.float32)
    for at in range(0, len(cells.used), _SEARCHED_AT_ONCE):
        part = slice(at, at + _SEARCHED_AT_ONCE)
        centers = cells.centers[part]
        distances = half_squares - centers @ colors.T
        entries[part] = best = distances.argmin(axis=1)
        squares[part] = 2 * distances[np.arange(len(best)), best] + (centers * centers).sum(axis=1)
    return Mapping(entries, float((cells.counts * squares).sum() / max(1, cells.counts.sum())))


def lookup_table(cells: Cells, mapping: Mapping) -> NDArray[Any]:
    """A table with the palette entry of a cell at the index of the cell. Cells without a pixel have the entry 0."""
    table = np.zeros(int(cells.used[-1]) + 1 if len(cells.used) else 1, np.uint8)
    table[cells.used] = mapping.entries
    return table


@cache
def _centers(bits: tuple[int, ...]) -> NDArray[Any]:
    """The central color of every possible cell, for cells of this size."""
    cells = np.arange(1 << sum(bits))
    bands, below = [], sum(bits)
    for kept in bits:
        below -= kept
        bands.append(((cells >> below & (1 << kept) - 1) + 0.5) * (256 >> kept) - 0.5)
    return np.stack(bands, axis=1).astype(np.float32)


def _quantized(sample: Pixels, limit: ColorLimit) -> Pixels:
    """The palette that libvips chooses for the sample."""
    rows = -(-len(sample) // _SAMPLE_WIDTH)
    whole = np.resize(sample, (rows * _SAMPLE_WIDTH, sample.shape[1]))
    image = Image.new_from_memory(whole, _SAMPLE_WIDTH, rows, sample.shape[1], "uchar").copy(interpretation="srgb")
    options = {
        "palette": True,
        "bitdepth": bit_depth(limit.colors),
        "Q": limit.quality,
        "effort": 7,
        "dither": 0,
        "compression": 0,
    }
    body = bytes(image.pngsave_buffer(**options, keep="none"))
    return _png_palette(body, sample.shape[1])[: limit.colors]


def _png_palette(body: bytes, bands: int) -> Pixels:
    """The palette of a PNG file. With four `bands`, the colors have alpha."""
    chunks, at = {}, 8
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        chunks[body[at + 4 : at + 8]] = body[at + 8 : at + 8 + size]
        at += 12 + size
    colors = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    if bands == 3:
        return colors
    alpha = np.full((len(colors), 1), 255, np.uint8)
    stored = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)
    alpha[: len(stored), 0] = stored
    return np.concatenate([colors, alpha], axis=1)


def _refined(palette: Pixels, sample: Pixels, entries: NDArray[Any]) -> Pixels:
    """The palette with better colors: each entry becomes the most frequent color of its pixels, or else their mean.

    The most frequent color is used if at least one in _MAJORITY of the pixels has it. `entries` has the palette entry
    of each pixel of `sample`.
    """
    size, bands = palette.shape
    counts = np.bincount(entries, minlength=size)
    refined = palette.copy()
    for band in range(bands):
        means = np.bincount(entries, sample[:, band], size) / np.maximum(counts, 1)
        refined[counts > 0, band] = np.rint(means[counts > 0])
    packed = entries.astype(np.int64)
    for band in range(bands):
        packed = packed << 8 | sample[:, band]
    packed.sort()
    firsts = np.flatnonzero(np.diff(packed, prepend=-1))
    lengths = np.diff(firsts, append=len(packed))
    colors = packed[firsts]
    of_entry = colors >> 8 * bands
    order = np.lexsort((lengths, of_entry))
    most = order[np.flatnonzero(np.diff(of_entry[order], append=size))]  # the last of each entry: its longest
    most = most[lengths[most] * _MAJORITY >= counts[of_entry[most]]]
    for band in range(bands):
        refined[of_entry[most], band] = colors[most] >> 8 * (bands - 1 - band) & 255
    return refined


def _brightness(colors: Pixels) -> NDArray[Any]:
    red, green, blue = colors[:, :3].astype(np.int32).T
    brightness: NDArray[Any] = 3 * red + 6 * green + blue
    return brightness
