from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.resize import RequestedSize, coverage, inside_size, outside_size, requested_size, stretch_size
from cropmark.geometry.rounding import round_side
from cropmark.model.values import Pixels, Share, Size
from cropmark.plan.steps import Resize

W = Size(1600, 900)


def box(width: str | int | None, height: str | int | None, *, enlarge: bool = False) -> RequestedSize:
    across, down = (None if side is None else Fraction(side) for side in (width, height))
    return RequestedSize(across, down, enlarge)


# fmt: off
STRETCHED = [
    # one side: the other follows from the rounded side
    (W,             box("532.8", None),            Size(533, 300)),   # 299.8 up
    (W,             box(2000, None),               Size(1600, 900)),
    (W,             box(2000, None, enlarge=True), Size(2000, 1125)),
    (W,             box(None, 450),                Size(800, 450)),
    (Size(1000, 1), box(10, None),                 Size(10, 1)),      # never 0
    (Size(3, 1000), box("0.4", None),              Size(1, 333)),     # 1 from 0.4, then 1000/3
    # both: each is limited by itself
    (W,             box(2000, 400),                Size(1600, 400)),
    (W,             box(2000, 1000, enlarge=True), Size(2000, 1000)),
]

INSIDE = [
    (W,                box(400, 400),                 Size(400, 225)),
    (W,                box(2000, 2000),               Size(1600, 900)),
    (W,                box(2000, 2000, enlarge=True), Size(2000, 1125)),
    (Size(640, 400),   box(2000, 200),                Size(320, 200)),
    (Size(640, 400),   box(2000, None),               Size(640, 400)),
    (Size(300, 200),   box(100, 100),                 Size(100, 67)),
    (Size(5184, 3456), box(1600, None),               Size(1600, 1067)),
    (Size(1000, 500),  box(800, 600, enlarge=True),   Size(800, 400)),
]

OUTSIDE = [
    (W, box(400, 400),                Size(711, 400)),
    (W, box(2000, 100),               Size(1600, 900)),
    (W, box(2000, 100, enlarge=True), Size(2000, 1125)),
    (W, box(None, 450),               Size(800, 450)),
]

COVERED = [
    # frame           request                        zoom  result            shows
    (W,               box(400, 400),                 1,    Size(400, 400),   (900, 900)),
    (W,               box(600, 200),                 1,    Size(600, 200),   (1600, Fraction(1600, 3))),
    (W,               box(2000, 2000),               1,    Size(900, 900),   (900, 900)),
    (W,               box(2000, 2000, enlarge=True), 1,    Size(2000, 2000), (900, 900)),
    (W,               box(800, None),                1,    Size(800, 450),   (1600, 900)),
    # focal point with zoom
    (Size(1000, 500), box(100, 100),                 2,    Size(100, 100),   (250, 250)),
    (Size(1200, 900), box(1200, 900),                3,    Size(400, 300),   (400, 300)),
    (Size(1000, 500), box(300, 300),                 2,    Size(250, 250),   (250, 250)),
    (Size(1000, 500), box(100, 100),                 1000, Size(1, 1),       (Fraction(1, 2), Fraction(1, 2))),
]

ASKED = [
    # step                                                 of 1600x900
    (Resize(Pixels(Fraction(200)), None, dpr=Fraction(2)), box(400, None)),
    (Resize(Share(Fraction(1, 2)), Share(Fraction(1, 2))), box(800, 450)),
    (Resize(None, None, dpr=Fraction(3, 2), enlarge=True), box(2400, 1350, enlarge=True)),
]
# fmt: on


@pytest.mark.parametrize(("frame", "wanted", "size"), STRETCHED)
def test_stretch_size(frame: Size, wanted: RequestedSize, size: Size) -> None:
    assert stretch_size(frame, wanted) == size


@pytest.mark.parametrize(("frame", "wanted", "size"), INSIDE)
def test_inside_size(frame: Size, wanted: RequestedSize, size: Size) -> None:
    assert inside_size(frame, wanted) == size


@pytest.mark.parametrize(("frame", "wanted", "size"), OUTSIDE)
def test_outside_size(frame: Size, wanted: RequestedSize, size: Size) -> None:
    assert outside_size(frame, wanted) == size


@pytest.mark.parametrize(("frame", "wanted", "zoom", "size", "window"), COVERED)
def test_coverage(frame: Size, wanted: RequestedSize, zoom: int, size: Size, window: tuple[Fraction, Fraction]) -> None:
    found = coverage(frame, wanted, Fraction(zoom))
    assert (found.size, (found.width, found.height)) == (size, window)


@pytest.mark.parametrize(("step", "wanted"), ASKED)
def test_requested_size(step: Resize, wanted: RequestedSize) -> None:
    assert requested_size(step, W) == wanted


@pytest.mark.parametrize(("width", "height"), [(None, None), (0, 10), (10, -1)])
def test_requested_lengths_must_be_above_0(width: int | None, height: int | None) -> None:
    with pytest.raises(ValueError, match="lengths above 0"):
        box(width, height)


lengths = st.fractions(min_value=Fraction(1, 100), max_value=5000, max_denominator=100)
frames = st.builds(Size, st.integers(1, 3000), st.integers(1, 3000))
boxes = st.builds(RequestedSize, lengths, lengths, st.booleans())


@settings(deadline=None)
@given(frames, boxes)
def test_inside_fits_and_outside_covers(frame: Size, wanted: RequestedSize) -> None:
    assert wanted.width is not None
    assert wanted.height is not None
    small, large = inside_size(frame, wanted), outside_size(frame, wanted)
    assert small.width <= round_side(wanted.width)
    assert small.height <= round_side(wanted.height)
    assert small.width <= large.width
    assert small.height <= large.height
    if wanted.enlarge:
        assert large.width >= round_side(wanted.width)
        assert large.height >= round_side(wanted.height)


@settings(deadline=None)
@given(frames, boxes)
def test_nothing_grows_without_enlarge(frame: Size, wanted: RequestedSize) -> None:
    if wanted.enlarge:
        return
    for size in (
        stretch_size(frame, wanted),
        inside_size(frame, wanted),
        outside_size(frame, wanted),
        coverage(frame, wanted).size,
    ):
        assert size.width <= frame.width
        assert size.height <= frame.height


@settings(deadline=None)
@given(frames, boxes, st.fractions(min_value=1, max_value=100, max_denominator=10))
def test_a_covering_window_has_the_shape_of_the_box(frame: Size, wanted: RequestedSize, zoom: Fraction) -> None:
    assert wanted.width is not None
    assert wanted.height is not None
    found = coverage(frame, wanted, zoom)
    assert found.width * wanted.height == found.height * wanted.width
    assert max(found.width / frame.width, found.height / frame.height) == 1 / zoom
