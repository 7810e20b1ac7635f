"""Where the content puts a window in a frame: whole faces first, else what stands out. Pure, without numpy, < 1 ms.

A window of a given shape and the largest size slides along one axis only, so this is a search along a line. Floats
serve to compare places; the place itself is an exact share of the spare room, the same at every output size.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from cropmark.geometry.findings import Analysis
from cropmark.geometry.smart_faces import WeightedFace, facing
from cropmark.geometry.smart_profile import CELLS, SaliencyProfile, axes, line
from cropmark.geometry.view import SmartPlacement, View

PLACES = 100
"""Steps in which the spare room is tried, beside the places where a face begins or ends."""
FINEST = 10_000
"""A place is a whole number of these parts of the spare room."""

# What a place is worth. All that stands out is 1; the rest was set on annotated photographs (benchmarks/SMART.md).
FACES = 2.7
WHOLE, ROOM = 0.5, 0.5
"""Of a face's worth: for keeping it whole, and for the room around it."""
NARROWLY = 0.3
"""So much of that for a face without a margin: the detector's box may be too small."""
CUT_FACE = 0.2
OFF_CENTER = 0.045
OFF_BALANCE = 0.1
"""For what is kept lying at the window's edge instead of where it lies best."""
CUT_AT_SIDE, CUT_ABOVE, CUT_BELOW = 0.09, 0.16, 0.06
"""For an edge through what stands out; heads are above."""

MARGIN = 0.06
ROOM_BESIDE, ROOM_ABOVE = 0.2, 0.3
"""Of a face's box, on each side: what it takes to be whole, and what a good picture leaves around it."""
FACES_ACROSS, FACES_DOWN = 0.5, 0.45
"""Where in the window the middle of the faces that it keeps lies best."""

LEAST_FACES = 0.1
"""Weight of all faces together, below which they decide nothing."""
LEAST_SURE = 0.5
NEAR = 1e-6


def smart_window(window: tuple[Fraction, Fraction], view: View, analysis: Analysis) -> SmartPlacement | None:
    """The place of a window of that width and height, in px of the frame, that the content asks for.

    None where the content decides nothing: nothing stands out, or there is no room to slide in.
    """
    across = view.frame.width - window[0]
    down = view.frame.height - window[1]
    vertical = down * view.frame.width > across * view.frame.height
    side = view.frame.height if vertical else view.frame.width
    spare = down if vertical else across
    track = _track(view, analysis, vertical=vertical, length=float(1 - spare / side)) if spare > 0 else None
    if track is None:
        return None
    part = track.best()
    by, before = track.decided_by(part), spare * part
    if vertical:
        return SmartPlacement(max(across, Fraction(0)) / 2, before, by)
    return SmartPlacement(before, max(down, Fraction(0)) / 2, by)


@dataclass(frozen=True, slots=True)
class _FaceSpan:
    """A face along the axis, cut at the frame's edges; with a margin; with the room that it would like."""

    face: tuple[float, float]
    margin: tuple[float, float]
    room: tuple[float, float]
    weight: float


@dataclass(frozen=True, slots=True)
class _WindowAxis:
    """The axis that a window of `length` (a share of the side) slides along, and what lies there."""

    vertical: bool
    length: float
    line: SaliencyProfile
    faces: tuple[_FaceSpan, ...]
    weight: float
    """Of all faces, at most 1."""

    def best(self) -> Fraction:
        """The part of the spare room that lies before the best place; of equals the one nearest to the center."""
        spare = 1 - self.length
        parts = set(range(0, FINEST + 1, FINEST // PLACES))
        for span in self.faces:
            for begin, end in (span.room, span.margin, span.face):
                # Rounded outwards, so that the face is still inside.
                parts |= {floor(begin / spare * FINEST), ceil((end - self.length) / spare * FINEST)}
        tried = sorted((part for part in parts if 0 <= part <= FINEST), key=lambda part: abs(2 * part - FINEST))
        worths = self.worths([part / FINEST * spare for part in tried])
        return Fraction(tried[worths.index(max(worths))], FINEST)

    def decided_by(self, part: Fraction) -> str:
        """Faces where the window there has any of them, else the map that the line is of."""
        start = float(part) * (1 - self.length)
        if _held(self.faces, start, start + self.length)[0] > 0:
            return "faces"
        return "subject" if self.line.sure >= LEAST_SURE else "residual"

    def worths(self, starts: list[float]) -> list[float]:
        """What windows that begin there are worth, by all that is to be weighed."""
        kept = _kept(self.line, starts, self.length, self.vertical)
        aim = FACES_DOWN if self.vertical else FACES_ACROSS
        worths = []
        for start, (worth, middle) in zip(starts, kept, strict=True):
            if self.faces:
                held, middle = _held(self.faces, start, start + self.length)
                worth += self.weight * (FACES * held - OFF_BALANCE * abs((middle - start) / self.length - aim))
            else:
                worth -= OFF_BALANCE * abs((middle - start) / self.length - 0.5)
            worths.append(worth - OFF_CENTER * abs(start + self.length / 2 - 0.5))
        return worths


def _track(view: View, analysis: Analysis, *, vertical: bool, length: float) -> _WindowAxis | None:
    across, down = axes(view)
    along, other = (down, across) if vertical else (across, down)
    found = line(analysis, along, other)
    faces = facing(analysis, view)
    total = sum(face.weight for face in faces)
    if total < LEAST_FACES:
        if found is None or found.flat:
            return None
        faces, total = (), 0.0
    found = found or SaliencyProfile((1 / CELLS,) * CELLS, 0.0)
    spans = tuple(_span(face, face.weight / total, vertical) for face in faces)
    return _WindowAxis(vertical, length, found.from_top() if vertical else found, spans, min(total, 1.0))


def _span(face: WeightedFace, weight: float, vertical: bool) -> _FaceSpan:
    start, end = (face.top, face.bottom) if vertical else (face.left, face.right)
    length = end - start

    def with_room(share: float) -> tuple[float, float]:
        return max(start - share * length, 0.0), min(end + share * length, 1.0)

    return _FaceSpan(with_room(0.0), with_room(MARGIN), with_room(ROOM_ABOVE if vertical else ROOM_BESIDE), weight)


# Written out over lists, without a call for each place: a choice must not take a millisecond.


def _kept(line: SaliencyProfile, starts: list[float], length: float, vertical: bool) -> list[tuple[float, float]]:
    """How much of what stands out each window keeps, less what its edges cut through, and where its middle lies."""
    sums, moments, dense = line.sums(), line.moments(), line.densities()
    first_cut, last_cut = (CUT_ABOVE, CUT_BELOW) if vertical else (CUT_AT_SIDE, CUT_AT_SIDE)
    found = []
    for start in starts:
        mass = moment = cuts = 0.0
        for edge, sign, cut in ((start, -1, first_cut), (start + length, 1, last_cut)):
            place = min(max(edge, 0.0), 1.0) * CELLS
            cell = min(int(place), CELLS - 1)
            part = place - cell
            mass += sign * (sums[cell] + part * (sums[cell + 1] - sums[cell]))
            moment += sign * (moments[cell] + part * (moments[cell + 1] - moments[cell]))
            if 1e-9 < edge < 1 - 1e-9:  # the frame's own edges cut nothing
                cuts += cut * (dense[cell] + part * (dense[cell + 1] - dense[cell]))
        found.append((mass - cuts, moment / mass if mass > 1e-6 else start + length / 2))
    return found


def _held(spans: tuple[_FaceSpan, ...], start: float, end: float) -> tuple[float, float]:
    """What the faces in a window are worth, 1 for all of them with room, and where the middle of those kept lies."""
    worth = weight = moment = 0.0
    for span in spans:
        room_first, room_last = span.room
        room = (room_last if room_last < end else end) - (room_first if room_first > start else start)
        if room <= 0:
            continue
        value = ROOM * room / (room_last - room_first)
        first, last = span.face
        inside = (last if last < end else end) - (first if first > start else start)
        part = inside / (last - first) if inside > 0 else 0.0
        if start <= span.margin[0] + NEAR and end >= span.margin[1] - NEAR:
            value += WHOLE
        elif part >= 1 - NEAR:
            value += WHOLE * NARROWLY
        else:  # half a face is worth less than none
            value -= CUT_FACE * 4 * part * (1 - part)
        worth += span.weight * value
        if part > 0.5:
            weight += span.weight
            moment += span.weight * (first + last) / 2
    return worth, moment / weight if weight else (start + end) / 2
