"""Places a window by the content of the image: around whole faces, or else around salient regions.

The largest window of a given shape can move along one axis only, so positions along a line are compared. Floats are
used only for the comparison. The position itself is an exact share of the free length, and is the same at every
output size. Pure, without numpy, in less than 1 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from cropmark.geometry.findings import Analysis
from cropmark.geometry.smart_faces import WeightedFace, weighted_faces
from cropmark.geometry.smart_profile import CELLS, SaliencyProfile, frame_axes, saliency_profile
from cropmark.geometry.view import SmartPlacement, View

COARSE_STEPS = 100
"""The number of equal steps at which positions are tried, in addition to those where a face begins or ends."""
FINE_STEPS = 10_000
"""The number of equal parts of the free length. A position is a whole number of parts."""

# Weights of the score. All saliency together scores 1. Tuned on annotated photos (benchmarks/SMART.md); a third more or
# less of any of them changes no score by a point (docs/decisions/0074).
FACE_WORTH = 3
"""Added if all faces are whole and have their preferred space; less if only a part of them has."""
OFF_BALANCE_PENALTY = 0.1
"""Subtracted for content that is not at its target position, times the distance as a share of the window's length."""
CUT_PENALTY = 0.08
"""Subtracted for each edge of the window that cuts content, times the density of saliency there (1 if it is even)."""

MARGIN = 0.06
"""A face counts as whole with this margin on each side, as a share of the face; with less in a short window."""
SPACE = 0.2
"""The preferred space on each side, as a share of the face."""
FACES_TARGET_X, FACES_TARGET_Y = 0.5, 0.45
"""The best position in the window for the center of its faces."""

MIN_FACE_WEIGHT = 0.1
"""All faces are ignored if their total weight is below this."""
MIN_CERTAINTY = 0.5
TOLERANCE = 1 / FINE_STEPS
"""Rounding error of a position. Because of it, a face as long as the window counts as whole at the nearest position."""


def smart_placement(window: tuple[Fraction, Fraction], view: View, analysis: Analysis) -> SmartPlacement | None:
    """The best position for a window of this width and height, in pixels of the frame.

    None if nothing in the image is salient, or if the window cannot move.
    """
    free_x = view.frame.width - window[0]
    free_y = view.frame.height - window[1]
    vertical = free_y * view.frame.width > free_x * view.frame.height
    side = view.frame.height if vertical else view.frame.width
    free = free_y if vertical else free_x
    axis = _window_axis(view, analysis, vertical=vertical, length=float(1 - free / side)) if free > 0 else None
    if axis is None:
        return None
    part = axis.best()
    decided_by, before = axis.decided_by(part), free * part
    if vertical:
        return SmartPlacement(max(free_x, Fraction(0)) / 2, before, decided_by)
    return SmartPlacement(before, max(free_y, Fraction(0)) / 2, decided_by)


@dataclass(frozen=True, slots=True)
class _FaceSpan:
    """The start and end of a face along the axis, clipped to the frame.

    `with_margin` adds MARGIN on both sides, `with_space` adds SPACE.
    """

    face: tuple[float, float]
    with_margin: tuple[float, float]
    with_space: tuple[float, float]
    weight: float


@dataclass(frozen=True, slots=True)
class _WindowAxis:
    """The axis along which a window moves, with the saliency and the faces on it.

    `length` is the length of the window, as a share of the frame's side.
    """

    vertical: bool
    length: float
    profile: SaliencyProfile
    faces: tuple[_FaceSpan, ...]
    face_weight: float
    """The total weight of all faces, at most 1."""

    def best(self) -> Fraction:
        """The best position of the window, as a share of the free length.

        If several positions are equally good, the nearest to the center wins.
        """
        free = 1 - self.length
        parts = set(range(0, FINE_STEPS + 1, FINE_STEPS // COARSE_STEPS))
        for span in self.faces:
            for begin, end in (span.with_space, span.with_margin, span.face):
                # Rounded outwards, so that the face is still inside.
                parts |= {floor(begin / free * FINE_STEPS), ceil((end - self.length) / free * FINE_STEPS)}
        tried = sorted((part for part in parts if 0 <= part <= FINE_STEPS), key=lambda part: abs(2 * part - FINE_STEPS))
        scores = self.scores([part / FINE_STEPS * free for part in tried])
        return Fraction(tried[scores.index(max(scores))], FINE_STEPS)

    def decided_by(self, part: Fraction) -> str:
        """The reason for the position of the window: `faces`, `subject` or `residual`.

        It is `faces` if the window shows a face. Otherwise it is the saliency map with the greater weight.
        """
        start = float(part) * (1 - self.length)
        if _face_score(self.faces, start, start + self.length)[0] > 0:
            return "faces"
        return "subject" if self.profile.certainty >= MIN_CERTAINTY else "residual"

    def scores(self, starts: list[float]) -> list[float]:
        """The score of the window at each of the start positions."""
        saliency = _saliency_scores(self.profile, starts, self.length)
        target = FACES_TARGET_Y if self.vertical else FACES_TARGET_X
        scores = []
        for start, (score, center) in zip(starts, saliency, strict=True):
            if self.faces:
                face_score, center = _face_score(self.faces, start, start + self.length)
                score += self.face_weight * (
                    FACE_WORTH * face_score - OFF_BALANCE_PENALTY * abs((center - start) / self.length - target)
                )
            else:
                score -= OFF_BALANCE_PENALTY * abs((center - start) / self.length - 0.5)
            scores.append(score)
        return scores


def _window_axis(view: View, analysis: Analysis, *, vertical: bool, length: float) -> _WindowAxis | None:
    across, down = frame_axes(view)
    along, other = (down, across) if vertical else (across, down)
    profile = saliency_profile(analysis, along, other)
    is_flat = profile is None or profile.is_flat
    faces = weighted_faces(analysis, view)
    total = sum(face.weight for face in faces)
    if total < MIN_FACE_WEIGHT:
        if is_flat:
            return None
        faces, total = (), 0.0
    if profile is None or is_flat:
        profile = SaliencyProfile((1 / CELLS,) * CELLS, 0.0)
    elif vertical:
        profile = profile.weighted_to_top()
    spans = tuple(_span(face, face.weight / total, vertical, length) for face in faces)
    return _WindowAxis(vertical, length, profile, spans, min(total, 1.0))


def _span(face: WeightedFace, weight: float, vertical: bool, window: float) -> _FaceSpan:
    """The span of the face along the axis.

    A face that is longer than the window is cut to the length of the window, around its eyes.
    """
    start, end = (face.top, face.bottom) if vertical else (face.left, face.right)
    if end - start > window:
        start = min(max(face.eyes[vertical] - window / 2, 0.0), 1 - window)
        end = start + window
    length = end - start

    def extended(space: float) -> tuple[float, float]:
        return max(start - space, 0.0), min(end + space, 1.0)

    margin = min(MARGIN * length, (window - length) / 2)
    return _FaceSpan(extended(0.0), extended(margin), extended(SPACE * length), weight)


# The two functions below loop over lists without a call for each position: a placement must take less than 1 ms.


def _saliency_scores(profile: SaliencyProfile, starts: list[float], length: float) -> list[tuple[float, float]]:
    """For each start position of the window, its saliency score and the center of the saliency inside it.

    The score is the saliency inside the window, minus penalties for the edges of the window that cut content.
    """
    sums, moments, dense = profile.sums(), profile.moments(), profile.densities()
    scores = []
    for start in starts:
        mass = moment = cuts = 0.0
        for edge, sign in ((start, -1), (start + length, 1)):
            position = min(max(edge, 0.0), 1.0) * CELLS
            cell = min(int(position), CELLS - 1)
            part = position - cell
            mass += sign * (sums[cell] + part * (sums[cell + 1] - sums[cell]))
            moment += sign * (moments[cell] + part * (moments[cell + 1] - moments[cell]))
            if 1e-9 < edge < 1 - 1e-9:  # the frame's own edges cut nothing
                cuts += CUT_PENALTY * (dense[cell] + part * (dense[cell + 1] - dense[cell]))
        scores.append((mass - cuts, moment / mass if mass > 1e-6 else start + length / 2))
    return scores


def _face_score(spans: tuple[_FaceSpan, ...], start: float, end: float) -> tuple[float, float]:
    """The score of the faces in a window, and the center of the visible faces.

    The score is 1 if all faces are in the window with their preferred space.
    """
    score = weight = moment = 0.0
    for span in spans:
        space_first, space_last = span.with_space
        space = (space_last if space_last < end else end) - (space_first if space_first > start else start)
        if space <= 0:
            continue
        value = space / (space_last - space_first) / 2
        if start <= span.with_margin[0] + TOLERANCE and end >= span.with_margin[1] - TOLERANCE:
            value += 0.5
        first, last = span.face
        inside = (last if last < end else end) - (first if first > start else start)
        part = inside / (last - first)
        score += span.weight * value
        if part > 0.5:
            weight += span.weight
            moment += span.weight * (first + last) / 2
    return score, moment / weight if weight else (start + end) / 2
