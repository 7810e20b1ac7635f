"""Computes the saliency of the source along one axis of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.geometry.orientation import AXIS_MAPS, mirrored_axes
from cropmark.geometry.region import UNIT
from cropmark.geometry.view import View

CELLS = 64
"""The number of cells of a profile. A saliency map has 32 along its long side."""

# A cell of a profile is the Euclidean norm of the map's values across the axis. The sum would count a head little,
# because it is a tenth as wide as the body below it; the maximum would count noise.
SQUARES = tuple((value / 255) ** 2 for value in range(256))
TOP_WEIGHT = 0.7
"""The extra weight of the top of the salient content, because heads are there. The bottom loses the same weight."""
MIN_CONTRAST = 0.05
"""A profile is flat, and places no window, if its cells differ by less than this share of their mean."""


@dataclass(frozen=True, slots=True)
class SourceAxis:
    """The position of the source along an axis of a frame: its start and length in shares of the frame's side.

    `reversed` is True if the frame shows the source mirrored along this axis.
    """

    start: float
    length: float
    reversed: bool
    vertical: bool
    """True if the axis is the source's vertical axis."""

    def to_frame(self, start: float, length: float) -> tuple[float, float]:
        """The start and end of a span in shares of the frame's side, for a span in shares of the source's side."""
        first = 1 - start - length if self.reversed else start
        return self.start + first * self.length, self.start + (first + length) * self.length


def frame_axes(view: View) -> tuple[SourceAxis, SourceAxis]:
    """The position of the source along the horizontal and along the vertical axis of the frame."""
    source = view.to_frame(UNIT)
    width, height = view.frame.width, view.frame.height
    mirrored_x, mirrored_y = mirrored_axes(view.orientation)
    swaps = AXIS_MAPS[view.orientation].swaps
    return (
        SourceAxis(float(source.left / width), float(source.width / width), mirrored_x, vertical=swaps),
        SourceAxis(float(source.top / height), float(source.height / height), mirrored_y, vertical=not swaps),
    )


@dataclass(frozen=True, slots=True)
class SaliencyProfile:
    """The distribution of saliency along an axis, as CELLS cells of equal length with a sum of 1."""

    cells: tuple[float, ...]
    certainty: float
    """The weight of the subject map in the profile, 0 to 1; the residual map has the remaining weight."""

    @property
    def is_flat(self) -> bool:
        return (max(self.cells) - min(self.cells)) * CELLS < MIN_CONTRAST

    def sums(self) -> list[float]:
        """The running sums of the cells: CELLS + 1 numbers from 0 to 1."""
        return [0.0, *accumulate(self.cells)]

    def moments(self) -> list[float]:
        """The running sums of each cell times the position of its center, 0 to 1.

        The difference of two moments, divided by the difference of the two sums, is a center of mass.
        """
        return [0.0, *accumulate(cell * (i + 0.5) / CELLS for i, cell in enumerate(self.cells))]

    def densities(self) -> list[float]:
        """The density of saliency at the CELLS + 1 borders of cells; between two cells, the mean of both.

        With evenly distributed saliency, each density is 1.
        """
        cells = self.cells
        between = [(one + two) * CELLS / 2 for one, two in pairwise(cells)]
        return [cells[0] * CELLS, *between, cells[-1] * CELLS]

    def weighted_to_top(self) -> SaliencyProfile:
        """This vertical profile with more weight at the top of the content and less at its bottom."""
        weighted = [
            cell * (1 + TOP_WEIGHT * (1 - 2 * before - cell))
            for cell, before in zip(self.cells, self.sums(), strict=False)
        ]
        total = sum(weighted)
        return replace(self, cells=tuple(cell / total for cell in weighted))


def saliency_profile(analysis: Analysis, along: SourceAxis, other: SourceAxis) -> SaliencyProfile | None:
    """The saliency profile along the axis `along`: the weighted mean of the subject map and the residual map.

    The weight of the subject map is the difference between its highest and its lowest value, because a map with the
    same value everywhere shows nothing. None if both maps are zero inside the frame.
    """
    slices = _slices_inside(analysis.subject, along, other)
    values = b"".join(cells for _, _, cells in slices)
    certainty = (max(values) - min(values)) / 255
    subject = _profile_cells(slices)
    residual = _profile_cells(_slices_inside(analysis.residual, along, other))
    if subject is None or residual is None:
        only = subject or residual
        return None if only is None else SaliencyProfile(only, certainty)
    cells = tuple(certainty * s + (1 - certainty) * r for s, r in zip(subject, residual, strict=True))
    return SaliencyProfile(cells, certainty)


def _slices_inside(grid: SaliencyMap, along: SourceAxis, other: SourceAxis) -> list[tuple[float, float, bytes]]:
    """The slices of the map at right angles to `along`: the start, the end and the visible cells of each slice.

    Start and end are in shares of the frame's side. Slices outside the frame are left out.
    """
    slices, deep = (grid.rows, grid.columns) if along.vertical else (grid.columns, grid.rows)
    within = [i for i in range(deep) if 0 <= sum(other.to_frame(i / deep, 1 / deep)) / 2 <= 1]
    first, last = (within[0], within[-1] + 1) if within else (0, deep)
    inside = []
    for k in range(slices):
        start, end = along.to_frame(k / slices, 1 / slices)
        if end > 0 and start < 1:
            cells = grid.cells[k * deep : (k + 1) * deep] if along.vertical else grid.cells[k :: grid.columns]
            inside.append((start, end, cells[first:last]))
    return inside or [(0.0, 1.0, b"\0")]


def _profile_cells(slices: list[tuple[float, float, bytes]]) -> tuple[float, ...] | None:
    """The cells of a profile from the slices of a map; None if all values are 0.

    The norm of each slice is distributed over the cells that the slice covers. The sum of the cells is 1.
    """
    cells = [0.0] * CELLS
    for start, end, values in slices:
        density = math.sqrt(sum([SQUARES[value] for value in values])) / (end - start)
        for i in range(max(0, int(start * CELLS)), min(CELLS, math.ceil(end * CELLS))):
            cells[i] += density * (min(end, (i + 1) / CELLS) - max(start, i / CELLS))
    total = sum(cells)
    return tuple(cell / total for cell in cells) if total > 0 else None
