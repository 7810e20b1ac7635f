"""Resamples arrays: each new pixel is the mean of the area that it covers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def resample(image: NDArray[np.uint8] | Plane, height: int, width: int) -> Plane:
    """The image scaled to a new size. It has the axes height, width and optionally band.

    A pixel that a new pixel covers partly has less weight in the mean.
    """
    rows = np.tensordot(_weights(image.shape[0], height), image.astype(np.float32), axes=(1, 0))
    columns = np.tensordot(_weights(image.shape[1], width), rows, axes=(1, 1))
    return np.ascontiguousarray(np.swapaxes(columns, 0, 1))


@lru_cache(maxsize=32)
def _weights(old: int, new: int) -> Plane:
    """A matrix (new x old) with the weight of each old pixel in each new pixel. Every row sums to 1."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    lengths = np.clip(overlap, 0, None)
    return np.asarray(lengths / lengths.sum(axis=1, keepdims=True), dtype=np.float32)
