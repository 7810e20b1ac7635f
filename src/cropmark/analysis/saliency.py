"""Computes saliency maps of an image.

A neural network segments the subject. The spectral residual is for images without a clear subject.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.fft as _fft  # imported now: numpy would load it at its first use, which the sandbox forbids
from numpy.typing import NDArray

from cropmark.analysis.resample import Plane, resample
from cropmark.analysis.sessions import ModelSession
from cropmark.geometry.findings import SaliencyMap

GRID_SIDE = 32
"""The number of cells along the long side of a saliency map."""

# A copy of 192 px on the long side takes a third of the time of a copy of 320 px, and is mostly as good. But it hardly
# shows a subject of a tenth of the side: the output is then neither near 0 nor near 1. If a small subject is on a
# pattern, the network takes the whole image as subject. In both cases it runs again on a larger copy, at most twice.
# Time and memory grow with the area: 256 by 256 px take 0.2 s and temporarily 160 MB, 320 by 320 px take 0.35 s and
# 250 MB.
QUICK_SIDE = 192
CLOSER_SIDES = (256, 320)
"""The sizes of the larger copies. A copy has the area of a square with this side."""
MAX_STRETCH = 1.4
"""The longest side of a larger copy, relative to the side of the square with the same area."""
MAX_UNCERTAINTY = 0.15
MAX_COVERAGE = 0.7
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)

RESIDUAL_SIDE = 64
RESIDUAL_BLUR = 2.5
MIN_CONTRAST = 1.0
"""An image with a lower standard deviation of gray (0 to 255) counts as one color with noise."""


def subject_map(network: ModelSession, rgb: NDArray[np.uint8]) -> SaliencyMap:
    """The subject map of an upright image.

    The value of a cell is the confidence, from 0 to 255, that it shows the subject.
    """
    height, width = rgb.shape[:2]
    plane = run_subject_network(network, rgb, scale=QUICK_SIDE / max(height, width))
    for side in CLOSER_SIDES:
        if not needs_closer_look(plane):
            break
        closer = min(side / math.sqrt(height * width), MAX_STRETCH * side / max(height, width))
        plane = run_subject_network(network, rgb, scale=closer)
    return saliency_map(plane, width, height)


def run_subject_network(network: ModelSession, rgb: NDArray[np.uint8], *, scale: float) -> Plane:
    """The output of the network, from 0 to 1, for a scaled copy of the image. Its sides are multiples of 32 px.

    Source: U²-Net, https://github.com/xuebinqin/U-2-Net, the small network; its output d0.
    """
    small = resample(rgb, *(max(32, round(side * scale / 32) * 32) for side in rgb.shape[:2]))
    normal = (small / max(float(small.max()), 1.0) - MEAN) / DEVIATION
    (output,) = network.run(np.ascontiguousarray(normal.transpose(2, 0, 1)[None], dtype=np.float32))
    return np.asarray(np.clip(output[0, 0], 0, 1), np.float32)


def needs_closer_look(plane: Plane) -> bool:
    """True if the map shows no clear subject.

    This is so if most values are neither near 0 nor near 1, or if nearly all values are near 1.
    """
    return uncertainty(plane) > MAX_UNCERTAINTY or float(plane.mean()) > MAX_COVERAGE


def uncertainty(plane: Plane) -> float:
    """The uncertainty of a map, from 0 (clear) to 1.

    It is the mean of 1 - v over all cells, weighted by v, the value of the cell.
    """
    total = float(plane.sum())
    return float((plane * (1 - plane)).sum()) / total if total > 0 else 0.0


def residual_map(rgb: NDArray[np.uint8]) -> SaliencyMap:
    """The spectral residual of each cell of the image, scaled to a maximum of 255; all 0 for an image of one color.

    Source: Hou and Zhang, "Saliency detection: a spectral residual approach", CVPR 2007.
    """
    height, width = rgb.shape[:2]
    gray = resample(rgb, RESIDUAL_SIDE, RESIDUAL_SIDE) @ np.array((0.299, 0.587, 0.114), np.float32)
    if float(gray.std()) < MIN_CONTRAST:
        return saliency_map(np.zeros_like(gray), width, height)
    spectrum = _fft.fft2(gray)
    strength = np.log(np.abs(spectrum) + 1e-8)
    unexpected = np.exp(strength - _box_mean(strength) + 1j * np.angle(spectrum))
    salient = _blur(np.abs(_fft.ifft2(unexpected)) ** 2)
    return saliency_map(np.asarray(salient / salient.max(), np.float32), width, height)


def _box_mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return np.asarray(np.mean([np.roll(plane, shift, axis=(0, 1)) for shift in shifts], axis=0))


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane after a Gaussian blur with a sigma of RESIDUAL_BLUR px. Its edges are repeated, not wrapped around."""
    reach = round(3 * RESIDUAL_BLUR)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * RESIDUAL_BLUR**2))
    weights /= weights.sum()
    padded = np.pad(plane, reach, mode="edge")
    across = np.apply_along_axis(np.convolve, 1, padded, weights, mode="valid")
    return np.apply_along_axis(np.convolve, 0, across, weights, mode="valid")


def saliency_map(plane: Plane, width: int, height: int) -> SaliencyMap:
    """The SaliencyMap of an image of `width` by `height` px, from a plane of values from 0 to 1 of any size."""
    scale = GRID_SIDE / max(width, height)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    cells = resample(np.asarray(plane, np.float32), rows, columns)
    return SaliencyMap(columns, rows, np.rint(np.clip(cells, 0, 1) * 255).astype(np.uint8).tobytes())
