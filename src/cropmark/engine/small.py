"""Encodes still images as PNG or GIF with few colors, if their source has a palette (docs/decisions/0163)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from struct import pack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

from cropmark.engine.animated_gif import MOST_COLORS, encode_animation
from cropmark.engine.image import DecodedImage
from cropmark.engine.packed_colors import distinct, flat_colors, packed_colors, unpacked_colors
from cropmark.engine.palette import ColorLimit, Pixels, bit_depth, cells_of, lookup_table, nearest, palette_for

COLORS: Final = 256
LIMITS: Final = (
    *(ColorLimit(COLORS, quality) for quality in (100, 90, 75, 60, 45, 30)),
    ColorLimit(16, 30),
    ColorLimit(4, 30),
    ColorLimit(2, 30),
)
"""The limits for the palettes that are tried, from many colors to few."""
GIF_LIMITS: Final = tuple(limit._replace(colors=min(limit.colors, MOST_COLORS.colors)) for limit in LIMITS)
"""The limits for GIF, which needs one of 256 indices for transparent pixels."""
_PROBED_PIXELS: Final = 2048


@dataclass(frozen=True, slots=True)
class Indexed:
    """A frame with a palette of at most 256 colors, and the palette index of each pixel."""

    palette: Pixels
    indices: NDArray[Any]


def small_gif(frame: Image, max_bytes: int) -> bytes:
    """The frame as a GIF of at most `max_bytes`, with as many colors as fit. If nothing fits, the smallest attempt."""
    still = DecodedImage((frame,), (0,), 1)
    return _first_within(max_bytes, (encode_animation(still, limit) for limit in GIF_LIMITS))


def small_png(pixels: Pixels, plain: bytes, max_bytes: int) -> bytes:
    """The frame as a PNG of at most `max_bytes`: lossless if that fits, else with as many colors as fit.

    If nothing fits, the smallest attempt. `plain` is the lossless PNG without a palette; it has one band if the pixels
    are gray.
    """
    return _first_within(max_bytes, _attempts(pixels, plain))


def is_gray(pixels: Pixels) -> bool:
    """True if the pixels have no alpha band, and their three bands are equal."""
    opaque = pixels.shape[2] == 3
    return opaque and all(np.array_equal(pixels[..., 0], pixels[..., band]) for band in (1, 2))


def _attempts(pixels: Pixels, plain: bytes) -> Iterator[bytes]:
    """Yields the frame as lossless PNGs, the best first, and then as PNGs with fewer and fewer colors."""
    exact = _exact(pixels)
    if exact is None:
        yield plain
    elif is_gray(pixels) and bit_depth(len(exact.palette)) == 8:
        yield plain  # with as many bits for each pixel, and a filter
        yield _png(exact)
    else:
        yield min(plain, _png(exact), key=len)
    colors = flat_colors(pixels)
    cells = cells_of(colors)
    for limit in LIMITS:
        palette = palette_for(colors, cells, limit)
        indices = lookup_table(cells, nearest(palette, cells))[cells.of_pixels]
        yield _png(Indexed(palette, indices.reshape(pixels.shape[:2])))


def _first_within(max_bytes: int, bodies: Iterator[bytes]) -> bytes:
    """The first of the encoded files that has at most `max_bytes`; if all are larger, the smallest."""
    smallest = next(bodies)
    while len(smallest) > max_bytes and (body := next(bodies, None)) is not None:
        smallest = min(smallest, body, key=len)
    return smallest


def _exact(pixels: Pixels) -> Indexed | None:
    """The frame with a palette of all its colors; None if there are more than 256."""
    if is_gray(pixels):
        gray = pixels[..., 0]
        levels = np.flatnonzero(np.bincount(gray.ravel(), minlength=COLORS))
        table = np.searchsorted(levels, np.arange(COLORS)).astype(np.uint8)
        return Indexed(np.stack([levels] * 3, axis=1).astype(np.uint8), table[gray])
    packed = packed_colors(pixels)
    if len(distinct(packed[:: max(1, len(packed) // _PROBED_PIXELS) | 1])) > COLORS:
        return None
    colors = distinct(packed)
    if len(colors) > COLORS:
        return None
    indices = np.searchsorted(colors, packed).astype(np.uint8).reshape(pixels.shape[:2])
    return Indexed(unpacked_colors(colors, pixels.shape[2]), indices)


def _png(image: Indexed) -> bytes:
    """The frame as a PNG with a palette."""
    height, width = image.indices.shape
    return indexed_file(image.palette, width, height, [zlib.compress(stored_rows(image), 6)])


def indexed_file(palette: Pixels, width: int, height: int, data: Iterable[bytes]) -> bytes:
    """The PNG file with this palette. `data` has its compressed rows of indices, in parts.

    Source: https://www.w3.org/TR/png-3/
    """
    header = pack(">IIBBBBB", width, height, bit_depth(len(palette)), 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette[:, :3].tobytes())]
    if palette.shape[1] == 4 and int(palette[:, 3].min()) < 255:
        chunks.append((b"tRNS", palette[:, 3].tobytes()))
    chunks += [(b"IDAT", part) for part in data if part]
    chunks.append((b"IEND", b""))
    framed = (
        (pack(">I", len(part)), name, part, pack(">I", zlib.crc32(part, zlib.crc32(name)))) for name, part in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chain.from_iterable(framed))


def stored_rows(image: Indexed) -> bytes:
    """The rows of indices as PNG stores them.

    Each row begins with a filter byte of 0. Small indices share a byte.
    """
    bits = bit_depth(len(image.palette))
    height, width = image.indices.shape
    per_byte = 8 // bits
    padded = np.zeros((height, -(-width // per_byte) * per_byte), np.uint8)
    padded[:, :width] = image.indices
    rows = np.zeros((height, 1 + padded.shape[1] // per_byte), np.uint8)
    for at in range(per_byte):
        rows[:, 1:] |= padded[:, at::per_byte] << np.uint8(8 - bits * (at + 1))
    return rows.tobytes()
