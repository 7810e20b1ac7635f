"""Arrays made smaller by averaging areas: each new cell is the mean of what it covers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def resampled(picture: NDArray[np.uint8] | Plane, height: int, width: int) -> Plane:
    """A picture (height x width, perhaps x bands) at another size; edges of cells may fall inside pixels."""
    rows = np.tensordot(_shares(picture.shape[0], height), picture.astype(np.float32), axes=(1, 0))
    columns = np.tensordot(_shares(picture.shape[1], width), rows, axes=(1, 1))
    return np.ascontiguousarray(np.swapaxes(columns, 0, 1))


@lru_cache(maxsize=32)
def _shares(old: int, new: int) -> Plane:
    """How much of each of `old` pixels goes into each of `new` cells: new x old, every row sums to 1."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = np.clip(overlap, 0, None)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)
