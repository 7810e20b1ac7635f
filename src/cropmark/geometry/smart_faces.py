"""The faces of the source as a frame holds them, and how much each counts when a window is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.smart_profile import SourceAxis, axes
from cropmark.geometry.view import View

LEAST_SCORE = 0.6
SURE_SCORE = 0.85
"""Between LEAST_SCORE - 0.15 and this a face counts the more the surer the detector is."""
LEAST_LEFT = 0.5
"""The part of a face that the frame must hold, or it counts for nothing."""
MOST_FACES = 12

# Faces of one group differ by half for their distance; one of a third is somebody who walks by.
BYSTANDER = 0.35
BYSTANDER_WEIGHT = 0.05

SMALL = 0.09
"""Of the frame's short side: smaller faces count less."""

# A head that the side of the frame cuts, or nearly, was not what the photographer looked at.
AT_EDGE = 0.15
SMALL_AT_EDGE = 0.25
AT_EDGE_WEIGHT = 0.25

FAINT_WEIGHT = 0.35
"""Of a small face where the map of the subject says no: somebody who walks by what the picture is of."""
LARGE = 0.2
"""Of the frame's short side: such faces need no map to tell that they matter."""


@dataclass(frozen=True, slots=True)
class WeightedFace:
    """A face's box in shares of the frame's sides, perhaps reaching outside, and its weight, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float
    weight: float


def facing(analysis: Analysis, view: View) -> tuple[WeightedFace, ...]:
    """The faces that the frame holds, heaviest first, at most MOST_FACES."""
    short_side = min(view.frame.width, view.frame.height) / view.frame.height
    across, down = axes(view)
    there = [found for face in analysis.faces if (found := FaceInFrame(face, across, down, short_side)).counts]
    tallest = max((found.height for found in there), default=1.0)
    weighed = [
        found.facing(found.size_weight(tallest) * found.trust * found.told_by(analysis.subject)) for found in there
    ]
    return tuple(sorted(weighed, key=lambda face: -face.weight)[:MOST_FACES])


class FaceInFrame:
    """A face of the source where the frame has it, in shares of the frame's sides."""

    def __init__(self, face: Face, across: SourceAxis, down: SourceAxis, short_side: float) -> None:
        x, y = (face.left, face.width), (face.top, face.height)
        self.face = face
        self.left, self.right = across.place(*(y if across.of_rows else x))
        self.top, self.bottom = down.place(*(y if down.of_rows else x))
        self.height = (self.bottom - self.top) / short_side
        """Of the frame's short side."""

    def facing(self, weight: float) -> WeightedFace:
        return WeightedFace(self.left, self.top, self.right, self.bottom, weight)

    @property
    def counts(self) -> bool:
        inside = _inside(self.left, self.right) * _inside(self.top, self.bottom)
        whole = (self.right - self.left) * (self.bottom - self.top)
        return self.face.score >= LEAST_SCORE and inside >= LEAST_LEFT * whole

    @property
    def trust(self) -> float:
        """By the detector's score."""
        least = LEAST_SCORE - 0.15
        return min(1.0, (self.face.score - least) / (SURE_SCORE - least))

    def size_weight(self, tallest: float) -> float:
        """By size, against the tallest face and against the frame; less for a small one that the side cuts."""
        ratio = self.height / tallest
        weight = math.sqrt(ratio) if ratio >= BYSTANDER else BYSTANDER_WEIGHT * ratio
        weight *= min(1.0, self.height / SMALL)
        at_edge = min(self.left, 1 - self.right) < AT_EDGE * (self.right - self.left)
        return weight * AT_EDGE_WEIGHT if at_edge and self.height < SMALL_AT_EDGE else weight

    def told_by(self, subject: SaliencyMap) -> float:
        """By what the map of the subject says under the face: nothing about large ones, all about small ones."""
        faint = max(FAINT_WEIGHT, min(1.0, FAINT_WEIGHT + (self.height - SMALL) / (LARGE - SMALL)))
        return faint + (1 - faint) * _greatest_under(self.face, subject) / 255


def _inside(start: float, end: float) -> float:
    """The length of a span that lies between 0 and 1."""
    return max(0.0, min(end, 1.0) - max(start, 0.0))


def _greatest_under(face: Face, grid: SaliencyMap) -> int:
    first, last = _cells(face.left, face.width, grid.columns)
    rows = range(*_cells(face.top, face.height, grid.rows))
    return max(max(grid.cells[row * grid.columns + first : row * grid.columns + last]) for row in rows)


def _cells(start: float, length: float, cells: int) -> tuple[int, int]:
    """The cells that a part of a side touches, first and past the last; at least one."""
    first = min(max(int(start * cells), 0), cells - 1)
    return first, max(first + 1, min(math.ceil((start + length) * cells), cells))
