"""Converts the faces of the source to coordinates of a frame, and weights them for placing a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.smart_profile import SourceAxis, frame_axes
from cropmark.geometry.view import View

MIN_SCORE = 0.6
MIN_VISIBLE = 0.5
"""A face is ignored if the frame shows less than this share of it."""
MAX_FACES = 12
LARGE_FACE = 0.3
"""A face of this height, as a share of the frame's short side, has full weight; a smaller one only if it is salient."""
EYE_LINE = 0.4
"""The height of the eyes in a face's box, as a share of the box from its top."""


@dataclass(frozen=True, slots=True)
class WeightedFace:
    """The box of a face in shares of the frame's sides, and the weight of the face, 0 to 1.

    The box may extend outside the frame.
    """

    left: float
    top: float
    right: float
    bottom: float
    eyes: tuple[float, float]
    """The point between the eyes, in shares of the frame's sides."""
    weight: float


def weighted_faces(analysis: Analysis, view: View) -> tuple[WeightedFace, ...]:
    """The faces that the frame shows, those with the highest weight first, at most MAX_FACES."""
    short_side = min(view.frame.width, view.frame.height) / view.frame.height
    across, down = frame_axes(view)
    in_frame = (FaceInFrame(face, across, down, short_side) for face in analysis.faces)
    relevant = [face for face in in_frame if face.is_relevant]
    tallest = max((face.height for face in relevant), default=1.0)
    weighted = [face.weighted(face.size_weight(tallest) * face.subject_weight(analysis.subject)) for face in relevant]
    return tuple(sorted(weighted, key=lambda face: -face.weight)[:MAX_FACES])


class FaceInFrame:
    """A face of the source in shares of the frame's sides, with functions for its weight."""

    def __init__(self, face: Face, across: SourceAxis, down: SourceAxis, short_side: float) -> None:
        x, y = (face.left, face.width), (face.top, face.height)
        eyes_x, eyes_y = (face.left + face.width / 2, 0.0), (face.top + EYE_LINE * face.height, 0.0)
        self.face = face
        self.left, self.right = across.to_frame(*(y if across.vertical else x))
        self.top, self.bottom = down.to_frame(*(y if down.vertical else x))
        self.eyes = (
            across.to_frame(*(eyes_y if across.vertical else eyes_x))[0],
            down.to_frame(*(eyes_y if down.vertical else eyes_x))[0],
        )
        self.height = (self.bottom - self.top) / short_side
        """The height of the face as a share of the frame's short side."""

    def weighted(self, weight: float) -> WeightedFace:
        return WeightedFace(self.left, self.top, self.right, self.bottom, self.eyes, weight)

    @property
    def is_relevant(self) -> bool:
        """True if the detector is confident enough and the frame shows at least MIN_VISIBLE of the face."""
        inside = _length_inside(self.left, self.right) * _length_inside(self.top, self.bottom)
        whole = (self.right - self.left) * (self.bottom - self.top)
        return self.face.score >= MIN_SCORE and inside >= MIN_VISIBLE * whole

    def size_weight(self, tallest: float) -> float:
        """The weight by size relative to the tallest face. A small face is probably a passer-by's."""
        return self.height / tallest

    def subject_weight(self, subject: SaliencyMap) -> float:
        """The weight by the size of the face in the frame or by its saliency, whichever is larger."""
        return max(min(1.0, self.height / LARGE_FACE) ** 2, _max_value_under(self.face, subject) / 255)


def _length_inside(start: float, end: float) -> float:
    """The length of the part of a span that is between 0 and 1."""
    return max(0.0, min(end, 1.0) - max(start, 0.0))


def _max_value_under(face: Face, saliency: SaliencyMap) -> int:
    first, last = _cells(face.left, face.width, saliency.columns)
    rows = range(*_cells(face.top, face.height, saliency.rows))
    return max(max(saliency.cells[row * saliency.columns + first : row * saliency.columns + last]) for row in rows)


def _cells(start: float, length: float, cells: int) -> tuple[int, int]:
    """The range of cells that a span touches: the index of the first, and the index after the last.

    `start` and `length` of the span are shares of the side.
    """
    first = min(max(int(start * cells), 0), cells - 1)
    return first, max(first + 1, min(math.ceil((start + length) * cells), cells))
