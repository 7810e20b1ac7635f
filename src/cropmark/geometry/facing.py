"""The faces of the source as a frame holds them, and how much each counts when a window is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cropmark.geometry.content import Axis, axes
from cropmark.geometry.findings import Analysis, Face, Grid
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
"""Of a face where the map of the subject says no; it can be wrong."""


@dataclass(frozen=True, slots=True)
class Facing:
    """A face's box in shares of the frame's sides, perhaps reaching outside, and its weight, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float
    weight: float


def facing(analysis: Analysis, view: View) -> tuple[Facing, ...]:
    """The faces that the frame holds, heaviest first, at most MOST_FACES."""
    across, down = axes(view)
    short_side = min(view.frame.width, view.frame.height) / view.frame.height
    there = [(face, box) for face in analysis.faces if _is_there(box := _box(face, across, down), face)]
    tallest = max((bottom - top for _, (_, top, _, bottom) in there), default=1.0)
    found = [
        Facing(*box, weight=_weight(box, tallest, short_side) * _trust(face) * _shown(face, analysis.subject))
        for face, box in there
    ]
    return tuple(sorted(found, key=lambda face: -face.weight)[:MOST_FACES])


Box = tuple[float, float, float, float]
"""Left, top, right, bottom in shares of the frame's sides."""


def _box(face: Face, across: Axis, down: Axis) -> Box:
    x, y = (face.left, face.width), (face.top, face.height)
    left, right = across.place(*(y if across.of_rows else x))
    top, bottom = down.place(*(y if down.of_rows else x))
    return left, top, right, bottom


def _is_there(box: Box, face: Face) -> bool:
    left, top, right, bottom = box
    inside = max(0.0, min(right, 1) - max(left, 0)) * max(0.0, min(bottom, 1) - max(top, 0))
    return face.score >= LEAST_SCORE and inside >= LEAST_LEFT * (right - left) * (bottom - top)


def _weight(box: Box, tallest: float, short_side: float) -> float:
    """By size, against the tallest face and against the frame, and by place. Heights are shares of the frame's."""
    left, top, right, bottom = box
    height = bottom - top
    ratio = height / tallest
    weight = math.sqrt(ratio) if ratio >= BYSTANDER else BYSTANDER_WEIGHT * ratio
    weight *= min(1.0, height / (SMALL * short_side))
    if height < SMALL_AT_EDGE * short_side and min(left, 1 - right) < AT_EDGE * (right - left):
        weight *= AT_EDGE_WEIGHT
    return weight


def _trust(face: Face) -> float:
    least = LEAST_SCORE - 0.15
    return min(1.0, max(0.0, (face.score - least) / (SURE_SCORE - least)))


def _shown(face: Face, subject: Grid) -> float:
    """By what the map of the subject says under the face."""
    first, last = _cells(face.left, face.width, subject.columns)
    top, bottom = _cells(face.top, face.height, subject.rows)
    under = [
        max(subject.cells[row * subject.columns + first : row * subject.columns + last]) for row in range(top, bottom)
    ]
    return FAINT_WEIGHT + (1 - FAINT_WEIGHT) * max(under) / 255


def _cells(start: float, length: float, cells: int) -> tuple[int, int]:
    """The cells that a part of a side touches, at least one."""
    first = min(max(int(start * cells), 0), cells - 1)
    return first, max(first + 1, min(math.ceil((start + length) * cells), cells))
