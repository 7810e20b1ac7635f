"""Regions: which part of the source a body shows, and how it is turned, read from the source's colors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.conformance.runner.sources import Pixels, Source

Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Point = tuple[Any, Any]  # numbers or numpy scalars

# How the upright source's x and y change along the body's x (first two) and y (last two).
_TURNS = {
    (1, 0, 0, 1): "as-is",
    (0, 1, -1, 0): "l",
    (0, -1, 1, 0): "r",
    (-1, 0, 0, 1): "h",
    (1, 0, 0, -1): "v",
    (-1, 0, 0, -1): "hv",
    (0, 1, 1, 0): "transposed",
    (0, -1, -1, 0): "transversed",
}
_SAMPLES = 60_000  # pixels that a plane is fitted to


@dataclass(frozen=True, slots=True)
class Region:
    """The shown part of the upright source, in source pixels: left, top, width, height."""

    box: tuple[float, float, float, float]
    turn: str
    resolution: tuple[float, float]  # the precision of this reading on each axis, in source pixels


@dataclass(frozen=True, slots=True)
class NoRegion:
    reason: str


def read_region(pixels: Pixels, source: Source) -> Region | NoRegion:
    """Read the region from the first frame of a body (RGBA)."""
    match source["kind"]:
        case "gradient":
            return _gradient_region(pixels, source)
        case "exact":
            return _exact_region(pixels, source)
        case "framed":
            return _framed_region(pixels, source)
        case kind:
            return NoRegion(f"no region can be read from a {kind} source")


def upright_size(source: Source) -> tuple[int, int]:
    """Width and height of the source with its Exif orientation applied."""
    width, height = int(source["width"]), int(source["height"])
    return (height, width) if int(source.get("orientation", 1)) >= 5 else (width, height)


def _upright(source: Source, x: Any, y: Any) -> Point:
    """A stored position as an upright one; both are continuous coordinates."""
    width, height = source["width"], source["height"]
    return (
        (x, y),
        (width - x, y),
        (width - x, height - y),
        (x, height - y),
        (y, x),
        (height - y, x),
        (height - y, width - x),
        (y, width - x),
    )[int(source.get("orientation", 1)) - 1]


def _gradient_region(pixels: Pixels, source: Source) -> Region | NoRegion:
    """Fit a plane to red and to green: its values at the corners are positions in the source."""
    opaque: Mask = pixels[..., 3] >= 250
    if opaque.mean() < 0.02:
        return NoRegion("the body is transparent nearly everywhere")
    box, mask = _gradient_box(pixels, source, opaque)
    xs, ys = _sample(box, mask)
    if len(xs) < 4:
        return NoRegion("too few pixels to read a region from")
    values = pixels.astype(np.float64)
    red, red_error = _plane(xs + 0.5, ys + 0.5, values[ys, xs, 0])
    green, green_error = _plane(xs + 0.5, ys + 0.5, values[ys, xs, 1])
    error = max(red_error, green_error)
    if error > 12:
        return NoRegion(
            f"the body's colors are not ramps (median error {error:.0f} levels): another source, or changed colors"
        )

    def position(x: int, y: int) -> Point:
        scale_x, scale_y = source["width"] / 255, source["height"] / 255
        return _upright(source, (red @ (1, x, y)) * scale_x, (green @ (1, x, y)) * scale_y)

    left, top, right, bottom = box
    corners = [position(left, top), position(right, top), position(left, bottom), position(right, bottom)]
    region = _bounds(corners)
    return Region(region, _gradient_turn(corners), _gradient_resolution(region, source))


def _gradient_box(pixels: Pixels, source: Source, opaque: Mask) -> tuple[tuple[int, int, int, int], Mask]:
    """The part of the body that shows the source, known by its blue; the rest is padding or a canvas."""
    blue = 0 if int(source.get("frames", 1)) > 1 else 128
    similar: Mask = opaque & (np.abs(pixels[..., 2].astype(np.float64) - blue) <= 24)
    share = similar.mean() / opaque.mean()
    if 0.05 < share < 0.97:
        return _mask_box(similar), similar
    height, width = pixels.shape[:2]
    return (0, 0, width, height), similar if share >= 0.97 else opaque


def _sample(box: tuple[int, int, int, int], mask: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions in the box that the mask holds, without a margin of 3 px where the box is large enough."""
    left, top, right, bottom = box
    margin = 3 if min(right - left, bottom - top) > 30 else 0
    ys, xs = np.nonzero(mask[top + margin : bottom - margin, left + margin : right - margin])
    if len(xs) < 12:
        margin = 0
        ys, xs = np.nonzero(mask[top:bottom, left:right])
    step = len(xs) // _SAMPLES + 1 if len(xs) > _SAMPLES else 1
    return (xs + left + margin)[::step], (ys + top + margin)[::step]


def _plane(xs: Floats, ys: Floats, values: Floats) -> tuple[Floats, float]:
    """Coefficients of values = a + b·x + c·y by repeated least squares without outliers, and the median error."""
    matrix = np.stack([np.ones_like(xs), xs, ys], 1)
    inliers = np.ones(len(values), bool)
    for _ in range(3):
        coefficients: Floats = np.linalg.lstsq(matrix[inliers], values[inliers], rcond=None)[0]
        errors = np.abs(matrix @ coefficients - values)
        limit = max(3.0, 3 * float(np.median(errors[inliers])))
        closer = errors <= limit
        if closer.sum() < max(12, 0.3 * len(values)) or (closer == inliers).all():
            break
        inliers = closer
    return coefficients, float(np.median(np.abs(matrix[inliers] @ coefficients - values[inliers])))


def _gradient_turn(corners: list[Point]) -> str:
    first, right, below, _ = corners
    x_along, y_along = right[0] - first[0], right[1] - first[1]
    x_down, y_down = below[0] - first[0], below[1] - first[1]
    if abs(x_along) + abs(y_down) >= abs(y_along) + abs(x_down):
        return _TURNS[(1 if x_along >= 0 else -1, 0, 0, 1 if y_down >= 0 else -1)]
    return _TURNS[(0, 1 if y_along >= 0 else -1, 1 if x_down >= 0 else -1, 0)]


def _gradient_resolution(box: tuple[float, float, float, float], source: Source) -> tuple[float, float]:
    """Half a level of an 8-bit ramp, less where the body spans many levels."""
    width, height = upright_size(source)
    levels_x, levels_y = box[2] / width * 255, box[3] / height * 255
    return (
        0.5 * width / 255 * min(1, 4 / max(levels_x, 0.1)),
        0.5 * height / 255 * min(1, 4 / max(levels_y, 0.1)),
    )


def _exact_region(pixels: Pixels, source: Source) -> Region | NoRegion:
    """Read each pixel's stored position from its color; all must fit one turn and one offset."""
    opaque = pixels[..., 3] >= 250
    if not opaque.any():
        return NoRegion("the body is transparent everywhere")
    source_x, source_y = _exact_positions(pixels, source)
    ys, xs = np.nonzero(opaque)
    best = (-1.0, (1, 0, 0, 1), 0, 0)
    for turn in _TURNS:
        offsets_x = source_x[ys, xs] - (turn[0] * xs + turn[2] * ys)
        offsets_y = source_y[ys, xs] - (turn[1] * xs + turn[3] * ys)
        x, y = int(np.median(offsets_x)), int(np.median(offsets_y))
        share = float(((offsets_x == x) & (offsets_y == y)).mean())
        best = max(best, (share, turn, x, y), key=lambda candidate: candidate[0])
    share, turn, x, y = best
    if share < 0.98:
        return NoRegion(f"pixel positions are not those of a plain crop ({share:.0%} agree)")

    def stored(u: int, v: int) -> tuple[int, int]:
        return x + turn[0] * u + turn[2] * v, y + turn[1] * u + turn[3] * v

    height, width = source_x.shape
    centers = [stored(u, v) for u in (0, width - 1) for v in (0, height - 1)]
    left, top, wide, high = _bounds([_upright(source, cx + 0.5, cy + 0.5) for cx, cy in centers])
    box = (left - 0.5, top - 0.5, wide + 1, high + 1)
    return Region(box, _upright_turn(source, stored(0, 0), stored(1, 0), stored(0, 1)), (0, 0))


def _exact_positions(pixels: Pixels, source: Source) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    colors = pixels[..., :3].astype(np.int64)
    if int(source.get("frames", 1)) > 1:  # blue numbers the frames
        return colors[..., 0], colors[..., 1]
    return colors[..., 0] + 256 * (colors[..., 2] >> 4), colors[..., 1] + 256 * (colors[..., 2] & 15)


def _upright_turn(source: Source, first: Point, right: Point, below: Point) -> str:
    """The turn relative to the upright source, from three neighboring stored positions."""
    a, b, c = (_upright(source, *point) for point in (first, right, below))
    along, down = (b[0] - a[0], b[1] - a[1]), (c[0] - a[0], c[1] - a[1])
    return _TURNS[(round(along[0]), round(along[1]), round(down[0]), round(down[1]))]


def _framed_region(pixels: Pixels, source: Source) -> Region | NoRegion:
    """Find the rectangle and compute the position of the body's edges from it."""
    if int(source.get("orientation", 1)) != 1:
        return NoRegion("the region of a framed source with an orientation cannot be read")
    color = np.array(list(source["color"])[:3], float)
    background = np.array(list(source["background"])[:3], float)
    distance = np.abs(pixels[..., :3].astype(float) - color).max(-1)
    similar: Mask = distance <= np.maximum(16, np.abs(color - background).max() / 2 - 1)
    if not similar.any():
        return NoRegion("the rectangle is not in the body")
    height, width = similar.shape
    x0, y0, x1, y1 = _mask_box(similar)
    left, top, box_width, box_height = source["box"]
    # An edge at the body's edge may be cut off: the scale is read from edges inside the body, else it is 1.
    scale_x = (x1 - x0) / box_width if (x0 > 0 and x1 < width) or (x1 - x0) <= box_width else None
    scale_y = (y1 - y0) / box_height if (y0 > 0 and y1 < height) or (y1 - y0) <= box_height else None
    across = scale_x or scale_y or 1.0
    down = scale_y or across
    box = (left - x0 / across, top - y0 / down, width / across, height / down)
    return Region(box, "as-is", (max(0, 1 / across - 1), max(0, 1 / down - 1)))


def _mask_box(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the rows and columns that are filled at least half as much as the fullest."""
    rows, columns = mask.mean(1), mask.mean(0)
    ys = np.nonzero(rows > 0.5 * rows.max())[0]
    xs = np.nonzero(columns > 0.5 * columns.max())[0]
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _bounds(points: list[Point]) -> tuple[float, float, float, float]:
    """Left, top, width, height of the smallest box around the points."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
