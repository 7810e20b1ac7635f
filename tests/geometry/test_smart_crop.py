"""Smart windows in scenes of plain rectangles: salient areas are 255 in a map, faces are boxes."""

from __future__ import annotations

import sys
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.smart_crop import smart_placement
from cropmark.geometry.view import View
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Orientation

Area = tuple[float, float, float, float]
"""Left, top, width, height in shares of the upright source."""

WIDE = Size(1000, 500)
TALL = Size(500, 1000)


def grid(frame: Size, *areas: Area, value: int = 255) -> SaliencyMap:
    """A map with `value` in every cell that has its center in one of the areas."""
    scale = 32 / max(frame.width, frame.height)
    columns, rows = round(frame.width * scale), round(frame.height * scale)
    cells = bytearray(columns * rows)
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
            if any(left <= x < left + width and top <= y < top + height for left, top, width, height in areas):
                cells[row * columns + column] = value
    return SaliencyMap(columns, rows, bytes(cells))


def scene(
    frame: Size, *, faces: tuple[Area, ...] = (), subject: tuple[Area, ...] = (), residual: tuple[Area, ...] = ()
) -> Analysis:
    detected = tuple(Face(*area, score=0.92) for area in faces)
    return Analysis(1, detected, grid(frame, *subject), grid(frame, *residual))


def window(frame: Size, width: int, height: int, analysis: Analysis) -> tuple[float, float, float, float, str]:
    """The window in shares of the frame: left, top, right, bottom, and the reason for its position."""
    placed = smart_placement((Fraction(width), Fraction(height)), View(frame), analysis)
    assert placed is not None
    left, top = float(placed.left / frame.width), float(placed.top / frame.height)
    return left, top, left + width / frame.width, top + height / frame.height, placed.decided_by


def holds(window: tuple[float, float, float, float, str], area: Area) -> bool:
    left, top, right, bottom, _ = window
    return (
        left <= area[0] + 1e-6
        and top <= area[1] + 1e-6
        and right >= area[0] + area[2] - 1e-6
        and bottom >= area[1] + area[3] - 1e-6
    )


FACE_LEFT: Area = (0.10, 0.20, 0.10, 0.24)
FACE_NEXT: Area = (0.35, 0.20, 0.10, 0.24)
FACE_RIGHT: Area = (0.80, 0.20, 0.10, 0.24)
BYSTANDER: Area = (0.90, 0.30, 0.03, 0.06)
CUT_HEAD: Area = (0.965, 0.40, 0.035, 0.08)
UNCERTAIN = Face(*FACE_LEFT, score=0.5)
BODY: Area = (0.05, 0.15, 0.20, 0.85)
BLOB_LEFT: Area = (0.05, 0.25, 0.20, 0.50)
BLOB_RIGHT: Area = (0.70, 0.25, 0.20, 0.50)
SMALL_BLOB: Area = (0.80, 0.40, 0.06, 0.12)
EVERYTHING: Area = (0, 0, 1, 1)

# fmt: off
KEPT = [
    # scene of a 500 px square in 1000x500                      shows whole             decided by
    (scene(WIDE, faces=(FACE_LEFT,)),                           [FACE_LEFT],            "faces"),
    (scene(WIDE, faces=(FACE_LEFT, FACE_NEXT)),                 [FACE_LEFT, FACE_NEXT], "faces"),
    (scene(WIDE, faces=(FACE_LEFT, FACE_NEXT, FACE_RIGHT)),     [FACE_LEFT, FACE_NEXT], "faces"),
    (scene(WIDE, faces=(FACE_LEFT, BYSTANDER)),                 [FACE_LEFT],            "faces"),
    (scene(WIDE, faces=(FACE_LEFT,), subject=(BLOB_RIGHT,)),    [FACE_LEFT],            "faces"),
    (scene(WIDE, faces=(CUT_HEAD,), subject=(BLOB_LEFT,)),      [BLOB_LEFT],            "subject"),
    (scene(WIDE, subject=(BLOB_RIGHT,)),                        [BLOB_RIGHT],           "subject"),
    (scene(WIDE, subject=(BLOB_LEFT,), residual=(BLOB_RIGHT,)), [BLOB_LEFT],            "subject"),
    (scene(WIDE, residual=(SMALL_BLOB,)),                       [SMALL_BLOB],           "residual"),
    (scene(WIDE, subject=(EVERYTHING,), residual=(SMALL_BLOB,)), [SMALL_BLOB],          "residual"),
]
# fmt: on


@pytest.mark.parametrize(("analysis", "areas", "by"), KEPT)
def test_a_square_of_a_wide_image_shows(analysis: Analysis, areas: list[Area], by: str) -> None:
    kept = window(WIDE, 500, 500, analysis)
    assert kept[4] == by
    for area in areas:
        assert holds(kept, area), (kept, area)


def test_two_faces_that_just_fit_are_both_shown() -> None:
    # 0.30..0.78 is 480 of the window's 500 px: 10 px next to each face, less than the preferred space.
    faces: tuple[Area, Area] = ((0.30, 0.2, 0.10, 0.24), (0.68, 0.2, 0.10, 0.24))
    kept = window(WIDE, 500, 500, scene(WIDE, faces=faces))
    assert all(holds(kept, face) for face in faces)


def test_of_two_distant_faces_one_is_whole_and_none_is_cut() -> None:
    kept = window(WIDE, 300, 500, scene(WIDE, faces=(FACE_LEFT, FACE_RIGHT)))
    assert holds(kept, FACE_LEFT) != holds(kept, FACE_RIGHT)
    assert kept[2] <= FACE_RIGHT[0] or kept[0] >= FACE_LEFT[0] + FACE_LEFT[2]


def test_of_two_distant_subjects_one_is_whole() -> None:
    kept = window(WIDE, 280, 500, scene(WIDE, subject=(BLOB_LEFT, BLOB_RIGHT)))
    assert holds(kept, BLOB_LEFT) or holds(kept, BLOB_RIGHT)


def test_the_top_of_a_figure_without_a_face_is_shown() -> None:
    head, body = (0.44, 0.10, 0.12, 0.16), (0.30, 0.26, 0.40, 0.62)
    kept = window(TALL, 500, 500, scene(TALL, subject=(head, body)))
    assert holds(kept, head)


def test_a_single_face_is_centered_horizontally() -> None:
    left, _, right, _, _ = window(WIDE, 400, 500, scene(WIDE, faces=((0.55, 0.2, 0.1, 0.24),)))
    assert (left + right) / 2 == pytest.approx(0.6, abs=0.02)


def test_a_single_face_is_a_little_above_the_center() -> None:
    _, top, _, bottom, _ = window(TALL, 500, 400, scene(TALL, faces=((0.4, 0.45, 0.2, 0.12),)))
    assert (0.51 - top) / (bottom - top) == pytest.approx(0.45, abs=0.06)


# fmt: off
LONG_FACES = [
    # frame, a face too long for the window    of the window      turned to                            the eyes are at
    (TALL, (0.20, 0.30, 0.60, 0.30),           (500, 167),        Orientation.NONE,                    0.42),
    (TALL, (0.20, 0.05, 0.60, 0.30),           (500, 167),        Orientation.NONE,                    0.17),
    (TALL, (0.20, 0.65, 0.60, 0.30),           (500, 167),        Orientation.NONE,                    0.77),
    (TALL, (0.05, 0.10, 0.90, 0.60),           (500, 281),        Orientation.NONE,                    0.34),
    (TALL, (0.20, 0.30, 0.60, 0.30),           (500, 167),        Orientation.ROTATE_180,              0.58),
    (WIDE, (0.30, 0.10, 0.30, 0.80),           (167, 500),        Orientation.NONE,                    0.45),
    (TALL, (0.20, 0.30, 0.60, 0.30),           (167, 500),        Orientation.ROTATE_90,               0.58),
    (TALL, (0.20, 0.30, 0.60, 0.30),           (167, 500),        Orientation.ROTATE_270,              0.42),
]
# fmt: on


@pytest.mark.parametrize(("frame", "face", "sides", "turn", "eyes"), LONG_FACES)
@pytest.mark.parametrize("subject", [(), ((0.1, 0.05, 0.8, 0.95),)], ids=["no subject", "a body"])
def test_of_a_face_longer_than_the_window_the_eyes_are_shown(
    frame: Size, face: Area, sides: tuple[int, int], turn: Orientation, eyes: float, subject: tuple[Area, ...]
) -> None:
    view = View(frame).rotated(turn)
    width, height = (Fraction(side) for side in sides)
    placed = smart_placement((width, height), view, scene(frame, faces=(face,), subject=subject))
    assert placed is not None
    assert placed.decided_by == "faces"
    start, length, side = (
        (placed.top, height, view.frame.height) if width > height else (placed.left, width, view.frame.width)
    )
    assert (eyes * side - float(start)) / float(length) == pytest.approx(0.5, abs=0.15)


def test_a_face_that_just_fits_is_whole() -> None:
    face: Area = (0.2, 0.3, 0.6, 0.165)  # 165 of the window's 167 px
    assert holds(window(TALL, 500, 167, scene(TALL, faces=(face,), subject=((0.1, 0.1, 0.8, 0.9),))), face)


# fmt: off
UNDECIDED = [
    # reason                     frame  window      analysis
    ("nothing was found",        WIDE, (500, 500),  scene(WIDE)),
    ("the map is flat",          WIDE, (500, 500),  scene(WIDE, subject=((0, 0, 1, 1),))),
    ("flat along the axis",      WIDE, (500, 500),  scene(WIDE, subject=((0, 0.4, 1, 0.2),))),
    ("the window cannot move",   WIDE, (1000, 500), scene(WIDE, faces=(FACE_LEFT,))),
    ("a face of low confidence", WIDE, (500, 500),  Analysis(1, (UNCERTAIN,), grid(WIDE), grid(WIDE))),
]
# fmt: on


@pytest.mark.parametrize(("why", "frame", "sides", "analysis"), UNDECIDED)
def test_the_content_decides_nothing_if(why: str, frame: Size, sides: tuple[int, int], analysis: Analysis) -> None:
    assert smart_placement((Fraction(sides[0]), Fraction(sides[1])), View(frame), analysis) is None, why


# ---------------------------------------------------------------------------------------------- through steps before


def test_a_trimmed_frame_uses_only_its_visible_part() -> None:
    view = View(WIDE).extracted(Box(0, 0, 700, 500))
    analysis = scene(WIDE, faces=(FACE_LEFT, FACE_RIGHT))  # the right one is cut off
    placed = smart_placement((Fraction(300), Fraction(500)), view, analysis)
    assert placed is not None
    assert placed.left <= 100
    assert placed.left + 300 >= 200


def test_a_face_cut_by_a_trim_is_ignored() -> None:
    view = View(WIDE).extracted(Box(160, 0, 840, 500))  # 40 px remain of the face at 100..200
    placed = smart_placement((Fraction(500), Fraction(500)), view, scene(WIDE, faces=(FACE_LEFT,)))
    assert placed is None


# fmt: off
TURNS = [
    # after the rotation, the face at the left of 1000x500 is at
    (Orientation.NONE,            "left"),
    (Orientation.FLIP_HORIZONTAL, "right"),
    (Orientation.ROTATE_180,      "right"),
    (Orientation.FLIP_VERTICAL,   "left"),
    (Orientation.ROTATE_90,       "top"),
    (Orientation.ROTATE_270,      "bottom"),
    (Orientation.TRANSPOSE,       "top"),
    (Orientation.TRANSVERSE,      "bottom"),
]
# fmt: on


@pytest.mark.parametrize(("turn", "where"), TURNS)
@pytest.mark.parametrize("what", ["face", "subject"])
def test_findings_rotate_with_the_frame(turn: Orientation, where: str, what: str) -> None:
    area: Area = (0.02, 0.3, 0.12, 0.3)
    analysis = scene(WIDE, faces=(area,)) if what == "face" else scene(WIDE, subject=(area,))
    placed = smart_placement((Fraction(300), Fraction(300)), View(WIDE).rotated(turn), analysis)
    assert placed is not None
    spare = Fraction(700)
    match where:
        case "left":
            assert placed.left < spare / 10
        case "right":
            assert placed.left > spare * 9 / 10
        case "top":
            assert placed.top < spare / 10
        case _:
            assert placed.top > spare * 9 / 10


# ---------------------------------------------------------------------------------------------- laws

parts, sides = st.floats(0, 0.8), st.floats(0.03, 0.4)
areas = st.tuples(parts, parts, sides, sides)
analyses = st.builds(
    lambda frame, faces, subject, residual: (frame, scene(frame, faces=faces, subject=subject, residual=residual)),
    st.builds(Size, st.integers(100, 1000), st.integers(100, 1000)),
    st.lists(areas, max_size=5).map(tuple),
    st.lists(areas, max_size=3).map(tuple),
    st.lists(areas, max_size=3).map(tuple),
)
ratios = st.tuples(st.integers(1, 16), st.integers(1, 16))


def largest(frame: Size, ratio: tuple[int, int]) -> tuple[Fraction, Fraction]:
    scale = min(Fraction(frame.width, ratio[0]), Fraction(frame.height, ratio[1]))
    return ratio[0] * scale, ratio[1] * scale


@given(analyses, ratios)
@settings(max_examples=100, deadline=None)
def test_a_window_is_inside_its_frame(found: tuple[Size, Analysis], ratio: tuple[int, int]) -> None:
    frame, analysis = found
    width, height = largest(frame, ratio)
    placed = smart_placement((width, height), View(frame), analysis)
    if placed is not None:
        assert 0 <= placed.left <= frame.width - width
        assert 0 <= placed.top <= frame.height - height


@given(analyses, ratios, st.integers(2, 9))
@settings(max_examples=100, deadline=None)
def test_the_same_window_at_every_size(found: tuple[Size, Analysis], ratio: tuple[int, int], times: int) -> None:
    frame, analysis = found
    width, height = largest(frame, ratio)
    small = smart_placement((width, height), View(frame), analysis)
    large_frame = Size(frame.width * times, frame.height * times)
    large = smart_placement((width * times, height * times), View(frame).scaled(large_frame), analysis)
    assert (small is None) == (large is None)
    if small is not None and large is not None:
        assert (large.left, large.top, large.decided_by) == (small.left * times, small.top * times, small.decided_by)


def test_a_placement_is_little_work() -> None:
    faces = tuple((0.05 + 0.11 * i, 0.2, 0.08, 0.2) for i in range(8))
    analysis = scene(WIDE, faces=faces, subject=(BODY, BLOB_RIGHT), residual=(SMALL_BLOB,))

    calls: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _argument: calls.update((event,)))
    try:
        smart_placement((Fraction(500), Fraction(500)), View(WIDE), analysis)
    finally:
        sys.setprofile(None)
    assert 1_000 < calls["call"] + calls["c_call"] < 5_000  # of functions; about a millisecond
