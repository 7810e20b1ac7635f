"""The source's faces in the coordinates of a frame, and the weight of each for placing a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.smart_profile import SourceAxis, frame_axes
from cropmark.geometry.view import View

MIN_SCORE = 0.6
CERTAIN_SCORE = 0.85
"""From MIN_SCORE - 0.15 up to this, a face's weight grows with the detector's confidence."""
MIN_VISIBLE = 0.5
"""Faces of which the frame shows a smaller part are ignored."""
MAX_FACES = 12

# Within a group, distance can halve a face's size; a face of a third of the tallest one's height is a passer-by.
BYSTANDER_RATIO = 0.35
BYSTANDER_WEIGHT = 0.05

SMALL_FACE = 0.09
"""A share of the frame's short side: smaller faces get less weight."""

# A head cut by the side of the frame, or almost, was not the photographer's subject.
EDGE_DISTANCE = 0.15
SMALL_EDGE_FACE = 0.25
EDGE_WEIGHT = 0.25

FAINT_WEIGHT = 0.35
"""The weight of a small face outside the subject's saliency: probably a passer-by."""
LARGE_FACE = 0.2
"""A share of the frame's short side: faces of this size get full weight with any saliency."""


@dataclass(frozen=True, slots=True)
class WeightedFace:
    """A face's box in shares of the frame's sides, which may extend outside, and its weight, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float
    weight: float


def weighted_faces(analysis: Analysis, view: View) -> tuple[WeightedFace, ...]:
    """The faces visible in the frame, highest weight first, at most MAX_FACES."""
    short_side = min(view.frame.width, view.frame.height) / view.frame.height
    across, down = frame_axes(view)
    in_frame = (FaceInFrame(face, across, down, short_side) for face in analysis.faces)
    relevant = [face for face in in_frame if face.is_relevant]
    tallest = max((face.height for face in relevant), default=1.0)
    weighted = [
        face.weighted(face.size_weight(tallest) * face.certainty * face.subject_weight(analysis.subject))
        for face in relevant
    ]
    return tuple(sorted(weighted, key=lambda face: -face.weight)[:MAX_FACES])


class FaceInFrame:
    """A face of the source, in shares of the frame's sides."""

    def __init__(self, face: Face, across: SourceAxis, down: SourceAxis, short_side: float) -> None:
        x, y = (face.left, face.width), (face.top, face.height)
        self.face = face
        self.left, self.right = across.to_frame(*(y if across.vertical else x))
        self.top, self.bottom = down.to_frame(*(y if down.vertical else x))
        self.height = (self.bottom - self.top) / short_side
        """A share of the frame's short side."""

    def weighted(self, weight: float) -> WeightedFace:
        return WeightedFace(self.left, self.top, self.right, self.bottom, weight)

    @property
    def is_relevant(self) -> bool:
        """True if the detector is confident enough and the frame shows at least MIN_VISIBLE of the face."""
        inside = _length_inside(self.left, self.right) * _length_inside(self.top, self.bottom)
        whole = (self.right - self.left) * (self.bottom - self.top)
        return self.face.score >= MIN_SCORE and inside >= MIN_VISIBLE * whole

    @property
    def certainty(self) -> float:
        """The weight for the detector's score."""
        zero = MIN_SCORE - 0.15
        return min(1.0, (self.face.score - zero) / (CERTAIN_SCORE - zero))

    def size_weight(self, tallest: float) -> float:
        """The weight for the size, relative to the tallest face and to the frame; less for a small face at the edge."""
        ratio = self.height / tallest
        weight = math.sqrt(ratio) if ratio >= BYSTANDER_RATIO else BYSTANDER_WEIGHT * ratio
        weight *= min(1.0, self.height / SMALL_FACE)
        at_edge = min(self.left, 1 - self.right) < EDGE_DISTANCE * (self.right - self.left)
        return weight * EDGE_WEIGHT if at_edge and self.height < SMALL_EDGE_FACE else weight

    def subject_weight(self, subject: SaliencyMap) -> float:
        """The weight for the subject's saliency under the face. The smaller the face, the more the saliency counts."""
        faint = max(FAINT_WEIGHT, min(1.0, FAINT_WEIGHT + (self.height - SMALL_FACE) / (LARGE_FACE - SMALL_FACE)))
        return faint + (1 - faint) * _max_value_under(self.face, subject) / 255


def _length_inside(start: float, end: float) -> float:
    """The length of the part of a span between 0 and 1."""
    return max(0.0, min(end, 1.0) - max(start, 0.0))


def _max_value_under(face: Face, saliency: SaliencyMap) -> int:
    first, last = _cells(face.left, face.width, saliency.columns)
    rows = range(*_cells(face.top, face.height, saliency.rows))
    return max(max(saliency.cells[row * saliency.columns + first : row * saliency.columns + last]) for row in rows)


def _cells(start: float, length: float, cells: int) -> tuple[int, int]:
    """The first and the end (exclusive) of the cells that a span touches; `start` and `length` are shares."""
    first = min(max(int(start * cells), 0), cells - 1)
    return first, max(first + 1, min(math.ceil((start + length) * cells), cells))
