"""Placing a window by content: around whole faces first, else around salient regions. Pure, no numpy, under 1 ms.

The largest window of a given shape can move along one axis only, so this is a search along a line. Floats only compare
positions; the position itself is an exact share of the free length, the same at every output size.
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
"""A position is a whole number of these parts of the free length."""

# Weights of the score. All saliency together scores 1; the rest was tuned on annotated photos (benchmarks/SMART.md).
FACE_WORTH = 2.7
WHOLE_FACE, FACE_SPACE = 0.5, 0.5
"""The parts of a face's score for showing it whole, and for the space around it."""
TIGHT_FACTOR = 0.3
"""The part of WHOLE_FACE for a face without a margin, because the detector's box may be too small."""
CUT_FACE_PENALTY = 0.2
OFF_CENTER_PENALTY = 0.045
OFF_BALANCE_PENALTY = 0.1
"""For content centered at the window's edge instead of at its target position."""
CUT_SIDE_PENALTY, CUT_TOP_PENALTY, CUT_BOTTOM_PENALTY = 0.09, 0.16, 0.06
"""For an edge through salient content; the top costs most because heads are there."""

MARGIN = 0.06
"""The margin on each side, as a share of the face, that a face needs to count as whole."""
SPACE_BESIDE, SPACE_ABOVE = 0.2, 0.3
"""The preferred space on each side, as a share of the face."""
FACES_TARGET_X, FACES_TARGET_Y = 0.5, 0.45
"""The best position in the window for the center of its faces."""

MIN_FACE_WEIGHT = 0.1
"""Faces with a total weight below this are ignored."""
MIN_CERTAINTY = 0.5
EPSILON = 1e-6


def smart_placement(window: tuple[Fraction, Fraction], view: View, analysis: Analysis) -> SmartPlacement | None:
    """The best position for a window of that width and height, in px of the frame.

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
    """The extent of a face along the axis, clipped to the frame: alone, with MARGIN, and with the preferred space."""

    face: tuple[float, float]
    with_margin: tuple[float, float]
    with_space: tuple[float, float]
    weight: float


@dataclass(frozen=True, slots=True)
class _WindowAxis:
    """The axis that a window of `length` (a share of the side) moves along, with the saliency and faces on it."""

    vertical: bool
    length: float
    profile: SaliencyProfile
    faces: tuple[_FaceSpan, ...]
    face_weight: float
    """The total weight of all faces, at most 1."""

    def best(self) -> Fraction:
        """The best position as a share of the free length; among equal ones, the nearest to the center."""
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
        """The reason for the position: faces if the window there shows any, else the saliency map with more weight."""
        start = float(part) * (1 - self.length)
        if _face_score(self.faces, start, start + self.length)[0] > 0:
            return "faces"
        return "subject" if self.profile.certainty >= MIN_CERTAINTY else "residual"

    def scores(self, starts: list[float]) -> list[float]:
        """The score of each window that begins at one of `starts`."""
        saliency = _saliency_scores(self.profile, starts, self.length, self.vertical)
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
            scores.append(score - OFF_CENTER_PENALTY * abs(start + self.length / 2 - 0.5))
        return scores


def _window_axis(view: View, analysis: Analysis, *, vertical: bool, length: float) -> _WindowAxis | None:
    across, down = frame_axes(view)
    along, other = (down, across) if vertical else (across, down)
    profile = saliency_profile(analysis, along, other)
    faces = weighted_faces(analysis, view)
    total = sum(face.weight for face in faces)
    if total < MIN_FACE_WEIGHT:
        if profile is None or profile.is_flat:
            return None
        faces, total = (), 0.0
    profile = profile or SaliencyProfile((1 / CELLS,) * CELLS, 0.0)
    spans = tuple(_span(face, face.weight / total, vertical) for face in faces)
    return _WindowAxis(vertical, length, profile.weighted_to_top() if vertical else profile, spans, min(total, 1.0))


def _span(face: WeightedFace, weight: float, vertical: bool) -> _FaceSpan:
    start, end = (face.top, face.bottom) if vertical else (face.left, face.right)
    length = end - start

    def extended(share: float) -> tuple[float, float]:
        return max(start - share * length, 0.0), min(end + share * length, 1.0)

    return _FaceSpan(extended(0.0), extended(MARGIN), extended(SPACE_ABOVE if vertical else SPACE_BESIDE), weight)


# The two functions below loop over lists without a call for each position: a placement must take less than 1 ms.


def _saliency_scores(
    profile: SaliencyProfile, starts: list[float], length: float, vertical: bool
) -> list[tuple[float, float]]:
    """For each window, the saliency inside it minus the penalties for its edges, and the center of that saliency."""
    sums, moments, dense = profile.sums(), profile.moments(), profile.densities()
    first_cut, last_cut = (CUT_TOP_PENALTY, CUT_BOTTOM_PENALTY) if vertical else (CUT_SIDE_PENALTY, CUT_SIDE_PENALTY)
    scores = []
    for start in starts:
        mass = moment = cuts = 0.0
        for edge, sign, cut in ((start, -1, first_cut), (start + length, 1, last_cut)):
            position = min(max(edge, 0.0), 1.0) * CELLS
            cell = min(int(position), CELLS - 1)
            part = position - cell
            mass += sign * (sums[cell] + part * (sums[cell + 1] - sums[cell]))
            moment += sign * (moments[cell] + part * (moments[cell + 1] - moments[cell]))
            if 1e-9 < edge < 1 - 1e-9:  # the frame's own edges cut nothing
                cuts += cut * (dense[cell] + part * (dense[cell + 1] - dense[cell]))
        scores.append((mass - cuts, moment / mass if mass > 1e-6 else start + length / 2))
    return scores


def _face_score(spans: tuple[_FaceSpan, ...], start: float, end: float) -> tuple[float, float]:
    """The score of the faces in a window, 1 if all have their preferred space, and the center of the visible ones."""
    score = weight = moment = 0.0
    for span in spans:
        space_first, space_last = span.with_space
        space = (space_last if space_last < end else end) - (space_first if space_first > start else start)
        if space <= 0:
            continue
        value = FACE_SPACE * space / (space_last - space_first)
        first, last = span.face
        inside = (last if last < end else end) - (first if first > start else start)
        part = inside / (last - first) if inside > 0 else 0.0
        if start <= span.with_margin[0] + EPSILON and end >= span.with_margin[1] - EPSILON:
            value += WHOLE_FACE
        elif part >= 1 - EPSILON:
            value += WHOLE_FACE * TIGHT_FACTOR
        else:  # half a face is worse than no face
            value -= CUT_FACE_PENALTY * 4 * part * (1 - part)
        score += span.weight * value
        if part > 0.5:
            weight += span.weight
            moment += span.weight * (first + last) / 2
    return score, moment / weight if weight else (start + end) / 2
