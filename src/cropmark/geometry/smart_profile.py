"""The maps of the source laid along one axis of a frame: a line of how much stands out where."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.geometry.orientation import LAID, mirrored
from cropmark.geometry.region import UNIT
from cropmark.geometry.view import View

CELLS = 64
"""Cells of a line. Maps come with 32 along their long side."""

# The map of the subject counts by this power of its values: half-sure cells hardly.
SUBJECT_POWER = 1.8
SUBJECT_WORTH = tuple((value / 255) ** SUBJECT_POWER for value in range(256))
RESIDUAL_WORTH = tuple(value / 255 for value in range(256))
# Where the map says yes anywhere, and of more than a speck, the residual has this small part only.
SURE_OF_ONE = 0.6
SURE_OF_MEAN = 0.01
LEAST_RESIDUAL = 0.04
# A head is a tenth of a body, and what people look for.
SLENDER_POWER = 0.65
TOP_HEAVY = 0.5
"""How much more than its middle the top of what stands out counts, and its foot less."""
FLAT = 0.05
"""A line whose cells differ by less than that part of their mean says nothing."""


@dataclass(frozen=True, slots=True)
class SourceAxis:
    """Where the source lies along an axis of a frame: its beginning and length in shares of the frame's side."""

    start: float
    length: float
    reversed: bool
    of_rows: bool
    """Whether the axis runs along the source's columns of pixels, from row to row."""

    def place(self, start: float, length: float) -> tuple[float, float]:
        """Beginning and end, in shares of the frame's side, of what the source has at these shares of its own."""
        first = 1 - start - length if self.reversed else start
        return self.start + first * self.length, self.start + (first + length) * self.length


def axes(view: View) -> tuple[SourceAxis, SourceAxis]:
    """The frame's two axes, across and down."""
    whole = view.place(UNIT)
    width, height = view.frame.width, view.frame.height
    against_x, against_y = mirrored(view.turn)
    swaps = LAID[view.turn].swaps
    return (
        SourceAxis(float(whole.left / width), float(whole.width / width), against_x, of_rows=swaps),
        SourceAxis(float(whole.top / height), float(whole.height / height), against_y, of_rows=not swaps),
    )


@dataclass(frozen=True, slots=True)
class SaliencyProfile:
    """How what stands out is spread along an axis: CELLS cells of equal length, together 1."""

    cells: tuple[float, ...]
    sure: float
    """How far it is the subject's, 0 to 1, and not the residual's."""

    @property
    def flat(self) -> bool:
        return (max(self.cells) - min(self.cells)) * CELLS < FLAT

    def sums(self) -> list[float]:
        """What lies before each cell's beginning, and after the last cell all of it."""
        return [0.0, *accumulate(self.cells)]

    def moments(self) -> list[float]:
        """The same, each cell times the place of its middle: a moment by a sum is where the middle of a part lies."""
        return [0.0, *accumulate(cell * (i + 0.5) / CELLS for i, cell in enumerate(self.cells))]

    def densities(self) -> list[float]:
        """How dense it is at each cell's beginning and at the end; 1 everywhere if it is spread evenly."""
        cells = self.cells
        between = [(one + two) * CELLS / 2 for one, two in pairwise(cells)]
        return [cells[0] * CELLS, *between, cells[-1] * CELLS]

    def from_top(self) -> SaliencyProfile:
        """A line that runs down, made to value heads: what is slender counts nearly as what is broad, the top more."""
        slender = [cell**SLENDER_POWER for cell in self.cells]
        whole, before = sum(slender), [0.0, *accumulate(slender)]
        leant = [
            cell * (1 + TOP_HEAVY * (1 - (2 * start + cell) / whole))
            for cell, start in zip(slender, before, strict=False)
        ]
        total = sum(leant)
        return replace(self, cells=tuple(cell / total for cell in leant))


def line(analysis: Analysis, along: SourceAxis, other: SourceAxis) -> SaliencyProfile | None:
    """The subject's map with a little of the residual, or the other way round where no subject is sure.

    None where neither map has anything inside the frame.
    """
    seen = _inside(analysis.subject, along, other)
    values = b"".join(cells for _, _, cells in seen)
    sure = min(1.0, max(values) / 255 / SURE_OF_ONE) * min(1.0, sum(values) / len(values) / 255 / SURE_OF_MEAN)
    subject = _spread(seen, SUBJECT_WORTH)
    residual = _spread(_inside(analysis.residual, along, other), RESIDUAL_WORTH)
    if subject is None or residual is None:
        only = subject or residual
        return None if only is None else SaliencyProfile(only, sure)
    share = (1 - LEAST_RESIDUAL) * sure
    return SaliencyProfile(tuple(share * s + (1 - share) * r for s, r in zip(subject, residual, strict=True)), sure)


def _inside(grid: SaliencyMap, along: SourceAxis, other: SourceAxis) -> list[tuple[float, float, bytes]]:
    """The grid cut into slices across an axis: where each begins and ends in the frame, and its cells inside."""
    slices, deep = (grid.rows, grid.columns) if along.of_rows else (grid.columns, grid.rows)
    within = [i for i in range(deep) if 0 <= sum(other.place(i / deep, 1 / deep)) / 2 <= 1]
    first, last = (within[0], within[-1] + 1) if within else (0, deep)
    found = []
    for k in range(slices):
        start, end = along.place(k / slices, 1 / slices)
        if end > 0 and start < 1:
            cells = grid.cells[k * deep : (k + 1) * deep] if along.of_rows else grid.cells[k :: grid.columns]
            found.append((start, end, cells[first:last]))
    return found or [(0.0, 1.0, b"\0")]


def _spread(slices: list[tuple[float, float, bytes]], worth: tuple[float, ...]) -> tuple[float, ...] | None:
    """The slices' worth on the cells of a line, together 1; None where they are worth nothing."""
    cells = [0.0] * CELLS
    for start, end, values in slices:
        dense = sum([worth[value] for value in values]) / (end - start)
        for i in range(max(0, int(start * CELLS)), min(CELLS, math.ceil(end * CELLS))):
            cells[i] += dense * (min(end, (i + 1) / CELLS) - max(start, i / CELLS))
    total = sum(cells)
    return tuple(cell / total for cell in cells) if total > 0 else None
