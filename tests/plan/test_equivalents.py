"""Two forms of one request: both directions, and that they show the same window within a pixel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import px

from cropmark.geometry.normalize import SAMPLE_INFOS
from cropmark.geometry.placement import shape_size
from cropmark.geometry.recipe import OriginalBytes, Recipe
from cropmark.geometry.resize import coverage, requested_size
from cropmark.geometry.resolve import resolve
from cropmark.model.values import FULL_LENGTH, WHITE, Pixels, Point, Ratio, Share, Size
from cropmark.plan.equivalents import with_covering_resizes, with_ratio_crops
from cropmark.plan.plan import Plan
from cropmark.plan.steps import Align, AnyStep, Crop, Dimensions, Fit, Flatten, Focus, Offset, Resize


def ratio(width: int, height: int) -> Ratio:
    return Ratio(Fraction(width), Fraction(height))


SMART = Focus.SMART
COVER = Resize(px(300), px(200), Fit.COVER)
SMART_COVER = replace(COVER, focus=SMART)
DOUBLED = replace(COVER, dpr=Fraction(2))

# fmt: off
JOINED: list[tuple[Crop, Resize, Resize | None]] = [
    # crop                                       resize                                       both as one resize
    (Crop(ratio(3, 2)),                          Resize(px(300), px(200)),                    COVER),
    (Crop(ratio(6, 4), focus=SMART),             Resize(px(300), px(200)),                    SMART_COVER),
    (Crop(ratio(3, 2)),                          Resize(px(300), px(200), Fit.COVER),         COVER),
    (Crop(ratio(3, 2)),                          Resize(px(300), None),                       COVER),
    (Crop(ratio(3, 2)),                          Resize(None, px(200), dpr=Fraction(2)),      DOUBLED),
    (Crop(ratio(3, 2)),                          Resize(px(300), px(201)),                    None),
    (Crop(ratio(3, 2), x=Offset(px(0))),         Resize(px(300), px(200)),                    None),
    (Crop(ratio(3, 2), y=Align(Fraction(0))),    Resize(px(300), px(200)),                    None),
    (Crop(Dimensions(px(300), px(200))),         Resize(px(300), px(200)),                    None),
    (Crop(ratio(1, 1)),                          Resize(FULL_LENGTH, FULL_LENGTH),            None),
    (Crop(ratio(3, 2)),                          Resize(px(300), px(200), zoom=Fraction(2)),  None),
]
SPLIT: list[tuple[Resize, bool]] = [
    (replace(COVER, focus=SMART),                                        True),
    (COVER,                                                              False),   # `fit=crop` is its word
    (replace(COVER, focus=Point(Fraction(0), Fraction(0))),              False),
    (replace(COVER, focus=SMART, zoom=Fraction(2)),                      False),
    (replace(COVER, focus=SMART, height=Share(Fraction(1, 2))),          False),
    (replace(COVER, focus=SMART, height=None),                           False),
    (Resize(px(300), px(200)),                                           False),
]
# fmt: on


@pytest.mark.parametrize(("crop", "resize", "joined"), JOINED)
def test_a_crop_to_a_ratio_and_its_resize_become_one(crop: Crop, resize: Resize, joined: Resize | None) -> None:
    assert with_covering_resizes((crop, resize)) == ((crop, resize) if joined is None else (joined,))


@pytest.mark.parametrize(("resize", "is_split"), SPLIT)
def test_a_smart_covering_resize_becomes_a_crop_and_a_resize(resize: Resize, is_split: bool) -> None:
    steps = with_ratio_crops((resize,))
    assert (len(steps) == 2) is is_split
    assert with_covering_resizes(steps) == (resize,)


def test_other_steps_stay_in_their_order() -> None:
    white = Flatten(WHITE)
    steps: tuple[AnyStep, ...] = (white, Crop(ratio(3, 2)), white, Resize(px(300), px(200)))
    assert with_covering_resizes(steps) == steps
    assert with_ratio_crops(steps) == steps


@given(*(st.integers(1, 3000) for _ in range(4)), st.sampled_from([Fraction(1), Fraction(3, 2), Fraction(5, 2)]))
@settings(max_examples=150, deadline=None)
def test_both_forms_give_the_same_size_and_the_same_window(
    frame_width: int, frame_height: int, width: int, height: int, dpr: Fraction
) -> None:
    frame = Size(frame_width, frame_height)
    resize = Resize(px(width), px(height), Fit.COVER, focus=SMART, dpr=dpr)
    crop = with_ratio_crops((resize,))[0]
    assert isinstance(crop, Crop)
    covered, region = coverage(frame, requested_size(resize, frame)), shape_size(crop.shape, frame)
    assert abs(covered.width - region.width) < 1
    assert abs(covered.height - region.height) < 1
    assert _size_of(Plan((resize,)), frame) == _size_of(Plan(with_ratio_crops((resize,))), frame)


def _size_of(plan: Plan, frame: Size) -> Size:
    found = resolve(plan, [replace(SAMPLE_INFOS[0], stored_size=frame)])
    if isinstance(found, OriginalBytes):
        return frame
    assert isinstance(found, Recipe)
    return found.size


def test_a_length_in_pixels_stays_exact() -> None:
    (joined,) = with_covering_resizes((Crop(ratio(16, 9)), Resize(px(500), None)))
    assert isinstance(joined, Resize)
    assert joined.height == Pixels(Fraction(1125, 4))
