from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.region import Region
from cropmark.geometry.view import View
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Orientation

WHOLE = View(Size(1000, 500))
FACE = Region(Fraction(3, 4), Fraction(1, 5), Fraction(1, 10), Fraction(2, 5))  # 750..850 by 100..300 of 1000x500

WINDOW = Region(Fraction(500), Fraction("1.25"), Fraction(500), Fraction(500))

# fmt: off
PLACES = [
    # view                                       the face's box in the frame
    (WHOLE,                                      (750, 100, 100, 200)),
    (WHOLE.extracted(Box(500, 100, 500, 400)),   (250,   0, 100, 200)),
    (WHOLE.extracted(Box(0, 0, 500, 500)),       (750, 100, 100, 200)),   # outside the frame
    (WHOLE.scaled(Size(100, 100)),               ( 75,  20,  10,  40)),
    (WHOLE.resampled(WINDOW, Size(200, 400)),    (100,  79,  40, 160)),   # a window with a fractional edge
    (WHOLE.rotated(Orientation.ROTATE_90),       (200, 750, 200, 100)),   # top right becomes bottom right
    (WHOLE.rotated(Orientation.FLIP_HORIZONTAL), (150, 100, 100, 200)),
    (WHOLE.rotated(Orientation.ROTATE_90).extracted(Box(100, 700, 400, 300)), (100, 50, 200, 100)),
    (WHOLE.extracted(Box(-10, -20, 1100, 600)),  (760, 120, 100, 200)),   # space added around it
]
# fmt: on


@pytest.mark.parametrize(("view", "box"), PLACES)
def test_the_position_of_a_face_in_the_frame(view: View, box: tuple[int, int, int, int]) -> None:
    assert view.to_frame(FACE) == Region.from_box(Box(*box))


boxes = st.builds(Box, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 300), st.integers(1, 300))
sizes = st.builds(Size, st.integers(1, 300), st.integers(1, 300))
shares = st.fractions(min_value=-1, max_value=2, max_denominator=20)
regions = st.builds(Region, shares, shares, shares, shares)
changes = st.lists(st.one_of(boxes, sizes, st.sampled_from(Orientation)), max_size=6)


@settings(deadline=None)
@given(sizes, changes, regions)
def test_to_frame_and_to_source_are_inverse(
    source: Size, changes: list[Box | Size | Orientation], region: Region
) -> None:
    view = View(source)
    for change in changes:
        match change:
            case Box():
                view = view.extracted(change)
            case Size():
                view = view.scaled(change)
            case Orientation():
                view = view.rotated(change)
    assert view.to_source(view.to_frame(region)) == region
