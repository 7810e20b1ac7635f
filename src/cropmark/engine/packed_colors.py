"""Packs each color into one number, so that colors can be counted and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropmark.engine.palette import Pixels


def flat_colors(pixels: Pixels) -> Pixels:
    """The pixels as a list of colors.

    All fully transparent pixels get the same color, so that they need only one palette entry.
    """
    flat = pixels.reshape(-1, pixels.shape[-1])
    if flat.shape[1] == 3 or flat[:, 3].all():
        return flat
    whole = np.ascontiguousarray(flat).view("<u4")  # alpha is in the highest bits
    return np.where(whole >> 24, whole, np.uint32(0)).view(np.uint8)


def packed_colors(pixels: Pixels) -> NDArray[Any]:
    """The color of each pixel as one number. The first band is in the highest bits."""
    bands = pixels.reshape(-1, pixels.shape[-1]).T
    packed: NDArray[Any] = bands[0].astype(np.uint32)
    for band in bands[1:]:
        packed <<= np.uint32(8)
        packed |= band
    return packed


def unpacked_colors(packed: NDArray[Any], bands: int) -> Pixels:
    """The colors that packed_colors() made into these numbers."""
    return np.stack([packed >> 8 * (bands - 1 - band) & 255 for band in range(bands)], axis=1).astype(np.uint8)


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The different values in ascending order. np.unique() would import a module, which the sandbox forbids."""
    ordered = np.sort(values)
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    distinct: NDArray[Any] = ordered[is_first]
    return distinct
