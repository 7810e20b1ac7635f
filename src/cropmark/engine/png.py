"""Chooses the filter and the compression level of a PNG by its pixels."""

from __future__ import annotations

import zlib
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyvips import Image

Tiles = NDArray[Any]
"""Parts of an image as an array with the axes tile, row, column and band."""

_TILES, _ROWS, _COLUMNS = 16, 5, 256
_SMOOTH_SHARE: Final = 0.6
"""The least share of smooth pixels (see _smooth_share) of an image that does not count as a photograph.

Photographs have 0.1 to 0.55. Screenshots, blurred images and gradients have 0.65 and more.
"""
_SAMPLE_FACTOR: Final = 1.12
"""The image counts as a drawing if its sample is small enough without a filter.

It is small enough if it has less than this factor times the bytes of the filtered sample. The factor is above 1,
because the tiles of a sample repeat less than the whole image.
"""


class Settings(NamedTuple):
    """The arguments of libvips' pngsave that are chosen."""

    filter: str
    compression: int


PHOTOGRAPH: Final = Settings("paeth", 3)
FLAT: Final = Settings("none", 6)
SMOOTH: Final = Settings("sub", 6)


def settings_for(frame: Image) -> Settings:
    """The settings for a frame of 8-bit samples in memory, chosen by a sample of its pixels (docs/decisions/0153).

    - Photographs: most neighboring pixels differ. The filter "paeth" is best, and a higher level saves nothing more.
    - Drawings and screenshots: equal pixels repeat, which a filter would hide from the compression.
    - Gradients: they are smooth, but never repeat. A filter and a high level are best.
    """
    tiles = _sample(frame)
    if _smooth_share(tiles) < _SMOOTH_SHARE:
        return PHOTOGRAPH
    plain, filtered = _compressed_bytes(tiles[:, 1:]), _compressed_bytes(_paeth(tiles))
    return FLAT if plain < _SAMPLE_FACTOR * filtered else SMOOTH


def _sample(frame: Image) -> Tiles:
    """Tiles of the frame, spread over its whole height, at changing distances from its left edge."""
    pixels = np.frombuffer(frame.write_to_memory(), np.uint8).reshape(frame.height, frame.width, frame.bands)
    rows, columns = min(_ROWS, frame.height), min(_COLUMNS, frame.width)
    tops = [(frame.height - rows) * (2 * at + 1) // (2 * _TILES) for at in range(_TILES)]
    lefts = [(frame.width - columns) * ((5 * at + 2) % _TILES) // (_TILES - 1) for at in range(_TILES)]
    return np.stack([pixels[y : y + rows, x : x + columns] for y, x in zip(tops, lefts, strict=True)])


def _smooth_share(tiles: Tiles) -> float:
    """The share of pixels that differ from their left neighbor by at most one level in each band."""
    if tiles.shape[2] == 1:
        return 1.0
    differences = tiles[:, :, 1:] - tiles[:, :, :-1]  # modulo 256: -1 is 255
    return float((differences + np.uint8(1) <= 2).all(axis=3).mean())


def _paeth(tiles: Tiles) -> Tiles:
    """The tiles after PNG's filter "paeth", without the first row of each tile.

    Source: https://www.w3.org/TR/png-3/#9Filter-type-4-Paeth
    """
    values = tiles.astype(np.int16)
    left = np.zeros_like(values)
    left[:, :, 1:] = values[:, :, :-1]
    a, b, c = left[:, 1:], values[:, :-1], left[:, :-1]
    by_a, by_b, by_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    predicted = np.where((by_a <= by_b) & (by_a <= by_c), a, np.where(by_b <= by_c, b, c))
    return (values[:, 1:] - predicted).astype(np.uint8)


def _compressed_bytes(tiles: Tiles) -> int:
    return len(zlib.compress(tiles.tobytes(), 1))
