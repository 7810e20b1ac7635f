"""Where the content puts a window in a frame: whole faces first, else what stands out. Pure, without numpy, < 1 ms.

A window of a given shape and the largest size slides along one axis only, so this is a search along a line. Floats
serve to compare places; the place itself is an exact share of the spare room, the same at every output size.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.content import CELLS, Line, axes, line
from cropmark.geometry.facing import Facing, facing
from cropmark.geometry.findings import Analysis
from cropmark.geometry.view import Placed, View

PLACES = 100
"""Steps in which the spare room is tried, beside the places where a face begins or ends."""
FINEST = 10_000
"""A place is a whole number of these parts of the spare room."""

# What a place is worth. All that stands out is 1; the rest was set on annotated photographs (benchmarks/SMART.md).
FACES = 2.7
WHOLE, ROOM = 0.5, 0.5
"""Of a face's worth, for keeping it whole and for the room around it."""
CUT_FACE = 0.1
FACES_OFF_PLACE = 0.05
OFF_BALANCE = 0.05
OFF_CENTRE = 0.045
CUT_AT_SIDE, CUT_ABOVE, CUT_BELOW = 0.09, 0.16, 0.06
"""For an edge through what stands out: heads are above."""
TOP_HEAVY = 0.5
"""How much more than the middle the top of what stands out counts, and its foot less, in a window that slides down."""

MARGIN = 0.06
ROOM_BESIDE, ROOM_ABOVE = 0.2, 0.3
"""Of a face's box, on each side: what it takes to be whole, and what a good picture leaves around it."""
FACES_ACROSS, FACES_DOWN = 0.5, 0.45
"""Where in the window the faces' middle lies best."""

LEAST_FACES = 0.1
"""Weight of all faces together, below which they decide nothing."""
LEAST_SURE = 0.5


def smart_window(window: tuple[Fraction, Fraction], view: View, analysis: Analysis) -> Placed | None:
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
    before = spare * track.best()
    if vertical:
        return Placed(max(across, Fraction(0)) / 2, before, track.by)
    return Placed(before, max(down, Fraction(0)) / 2, track.by)


@dataclass(frozen=True, slots=True)
class _Span:
    """A face along the axis, cut at the frame's edges; with a margin; with the room that it would like."""

    face: tuple[float, float]
    margin: tuple[float, float]
    room: tuple[float, float]
    weight: float


@dataclass(frozen=True, slots=True)
class _Track:
    """The axis that a window of `length` (a share of the side) slides along, and what lies there."""

    vertical: bool
    length: float
    line: Line
    faces: tuple[_Span, ...]
    weight: float
    """Of all faces, at most 1."""

    @property
    def by(self) -> str:
        if self.faces:
            return "faces"
        return "subject" if self.line.sure >= LEAST_SURE else "residual"

    def best(self) -> Fraction:
        """The part of the spare room that lies before the best place; of equals the one nearest to the centre."""
        spare = 1 - self.length
        parts = set(range(0, FINEST + 1, FINEST // PLACES))
        for span in self.faces:
            for begin, end in (span.room, span.margin):
                parts |= {round(start / spare * FINEST) for start in (begin, end - self.length) if 0 < start < spare}
        tried = sorted(parts, key=lambda part: abs(2 * part - FINEST))
        worths = self.worths([part / FINEST * spare for part in tried])
        return Fraction(tried[worths.index(max(worths))], FINEST)

    def worths(self, starts: list[float]) -> list[float]:
        """What windows that begin there are worth, by all that is to be weighed."""
        kept = _kept(self.line, starts, self.length, self.vertical)
        middle = _middle(self.faces) if self.faces else self.line.middle
        aim = (FACES_DOWN if self.vertical else FACES_ACROSS) if self.faces else 0.5
        pull = self.weight * FACES_OFF_PLACE if self.faces else OFF_BALANCE
        half = self.length / 2
        worths = [
            worth - OFF_CENTRE * abs(start + half - 0.5) - pull * abs((middle - start) / self.length - aim)
            for worth, start in zip(kept, starts, strict=True)
        ]
        for span in self.faces:
            worths = _with_face(worths, span, starts, self.length, FACES * self.weight * span.weight)
        return worths


def _track(view: View, analysis: Analysis, *, vertical: bool, length: float) -> _Track | None:
    across, down = axes(view)
    along, other = (down, across) if vertical else (across, down)
    found = line(analysis, along, other)
    faces = facing(analysis, view)
    total = sum(face.weight for face in faces)
    if total < LEAST_FACES:
        if found is None or found.flat:
            return None
        faces, total = (), 0.0
    found = found or Line((1 / CELLS,) * CELLS, 0.0)
    spans = tuple(_span(face, face.weight / total, vertical) for face in faces)
    return _Track(vertical, length, found.leaning(TOP_HEAVY) if vertical else found, spans, min(total, 1.0))


def _span(face: Facing, weight: float, vertical: bool) -> _Span:
    start, end = (face.top, face.bottom) if vertical else (face.left, face.right)
    length = end - start

    def with_room(share: float) -> tuple[float, float]:
        return max(start - share * length, 0.0), min(end + share * length, 1.0)

    return _Span(with_room(0.0), with_room(MARGIN), with_room(ROOM_ABOVE if vertical else ROOM_BESIDE), weight)


def _middle(faces: tuple[_Span, ...]) -> float:
    return sum(span.weight * (span.face[0] + span.face[1]) / 2 for span in faces)


# Written out over lists, without a call for each place: a choice must not take a millisecond.


def _kept(line: Line, starts: list[float], length: float, vertical: bool) -> list[float]:
    """How much of what stands out each window keeps, less what its edges cut through; frame edges cut nothing."""
    sums, dense = line.sums(), line.densities()
    first_cut, last_cut = (CUT_ABOVE, CUT_BELOW) if vertical else (CUT_AT_SIDE, CUT_AT_SIDE)
    found = []
    for start in starts:
        worth = 0.0
        for edge, sign, cut in ((start, -1, first_cut), (start + length, 1, last_cut)):
            place = min(max(edge, 0.0), 1.0) * CELLS
            cell = min(int(place), CELLS - 1)
            worth += sign * (sums[cell] + (place - cell) * (sums[cell + 1] - sums[cell]))
            if 1e-9 < edge < 1 - 1e-9:
                worth -= cut * (dense[cell] + (place - cell) * (dense[cell + 1] - dense[cell]))
        found.append(worth)
    return found


def _with_face(worths: list[float], span: _Span, starts: list[float], length: float, scale: float) -> list[float]:
    """The worths with that of keeping a face added; the half of a face is worth less than none of it."""
    (face_start, face_end), (start_needed, end_needed), (room_start, room_end) = span.face, span.margin, span.room
    face_length, room_length = face_end - face_start, room_end - room_start
    near = 1e-6
    found = []
    for worth, start in zip(worths, starts, strict=True):
        end = start + length
        room = (room_end if room_end < end else end) - (room_start if room_start > start else start)
        value = ROOM * room / room_length if room > 0 else 0.0
        if start <= start_needed + near and end >= end_needed - near:
            value += WHOLE
        else:
            inside = (face_end if face_end < end else end) - (face_start if face_start > start else start)
            part = inside / face_length if inside > 0 else 0.0
            value -= CUT_FACE * 4 * part * (1 - part)
        found.append(worth + scale * value)
    return found
