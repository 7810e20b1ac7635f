"""What stands out: a network that outlines the subject, and the spectral residual where it sees none."""

from __future__ import annotations

import math

import numpy as np
import numpy.fft as _fft  # numpy would load it at its first use, which a sandbox forbids
from numpy.typing import NDArray

from cropmark.analysis.resample import Plane, resampled
from cropmark.analysis.sessions import ModelSession
from cropmark.geometry.findings import SaliencyMap

GRID_SIDE = 32
"""Cells along the long side of a stored map."""

# 192 px on the long side take a third of the time that 320 take, and mostly show as much. A thing of a tenth of the
# side is hardly seen there, and the network tells so by answers between yes and no: then it looks again, closer. Time
# and memory go with the area: 256 by 256 px are 0.2 s and 160 MB for that moment.
QUICK_SIDE = 192
CLOSE_AREA = 256 * 256
CLOSE_SIDE = 352
MOST_DOUBT = 0.2
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)

RESIDUAL_SIDE = 64
RESIDUAL_BLUR = 2.5
LEAST_CONTRAST = 1.0
"""Standard deviation of gray, in levels of 255, below which a picture is one color and noise."""


def subject(network: ModelSession, rgb: NDArray[np.uint8]) -> SaliencyMap:
    """How surely each cell of an upright picture belongs to its subject, 0 to 255."""
    height, width = rgb.shape[:2]
    seen = outlined(network, rgb, scale=QUICK_SIDE / max(height, width))
    if doubt(seen) > MOST_DOUBT:
        closer = min(math.sqrt(CLOSE_AREA / (height * width)), CLOSE_SIDE / max(height, width))
        seen = outlined(network, rgb, scale=closer)
    return gridded(seen, width, height)


def outlined(network: ModelSession, rgb: NDArray[np.uint8], *, scale: float) -> Plane:
    """What the network answers, 0 to 1, for a copy of that scale, its sides rounded to multiples of 32 px.

    Source: U²-Net, https://github.com/xuebinqin/U-2-Net, the small network; its output d0.
    """
    small = resampled(rgb, *(max(32, round(side * scale / 32) * 32) for side in rgb.shape[:2]))
    normal = (small / max(float(small.max()), 1.0) - MEAN) / DEVIATION
    (seen,) = network.run(np.ascontiguousarray(normal.transpose(2, 0, 1)[None], dtype=np.float32))
    return np.asarray(np.clip(seen[0, 0], 0, 1), np.float32)


def doubt(seen: Plane) -> float:
    """How far a map is from saying yes or no, 0 to 1: the mean of 1 - v over its cells, weighed by v."""
    total = float(seen.sum())
    return float((seen * (1 - seen)).sum()) / total if total > 0 else 0.0


def residual(rgb: NDArray[np.uint8]) -> SaliencyMap:
    """What the picture's spectrum does not foretell of each cell, 0 to 255, the greatest 255; all 0 if one color.

    Source: Hou and Zhang, "Saliency detection: a spectral residual approach", CVPR 2007.
    """
    height, width = rgb.shape[:2]
    gray = resampled(rgb, RESIDUAL_SIDE, RESIDUAL_SIDE) @ np.array((0.299, 0.587, 0.114), np.float32)
    if float(gray.std()) < LEAST_CONTRAST:
        return gridded(np.zeros_like(gray), width, height)
    spectrum = _fft.fft2(gray)
    strength = np.log(np.abs(spectrum) + 1e-8)
    unforeseen = np.exp(strength - _mean_of_nine(strength) + 1j * np.angle(spectrum))
    seen = _blurred(np.abs(_fft.ifft2(unforeseen)) ** 2)
    return gridded(np.asarray(seen / seen.max(), np.float32), width, height)


def _mean_of_nine(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return np.asarray(np.mean([np.roll(plane, shift, axis=(0, 1)) for shift in shifts], axis=0))


def _blurred(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian of RESIDUAL_BLUR px along both axes; edges are repeated, not wrapped round."""
    reach = round(3 * RESIDUAL_BLUR)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * RESIDUAL_BLUR**2))
    weights /= weights.sum()
    padded = np.pad(plane, reach, mode="edge")
    across = np.apply_along_axis(np.convolve, 1, padded, weights, mode="valid")
    return np.apply_along_axis(np.convolve, 0, across, weights, mode="valid")


def gridded(plane: Plane, width: int, height: int) -> SaliencyMap:
    """A map of values 0 to 1 in as many cells as a picture of that size is kept in."""
    scale = GRID_SIDE / max(width, height)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    cells = resampled(np.asarray(plane, np.float32), rows, columns)
    return SaliencyMap(columns, rows, np.rint(np.clip(cells, 0, 1) * 255).astype(np.uint8).tobytes())
