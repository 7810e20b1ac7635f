from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from cropmark.geometry.recipe import Embed, Extract, GaussianBlur, Reason, Scale, UnsharpMask
from cropmark.geometry.region import Region
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import OutputTooLarge, SourceNotFound, SourceProblem, SourceTooLarge, SourceUnusable
from cropmark.model.values import CLEAR, WHITE, Box, Size
from cropmark.plan.plan import EncodingChoice, Fallback, Limits, OverLimit, Plan, RequestWarning
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import (
    Adjust,
    AnyStep,
    Blur,
    Canvas,
    Dimensions,
    Flatten,
    Orient,
    Orientation,
    Overflow,
    Pad,
    Sharpen,
    TrimBorder,
)
from tests.geometry.plans import COVER, HUNDRED, UP, area, at, edges, header, original_of, part, plan, px, recipe_of, to

GIF = Format.GIF
MEGA = Size(1000, 1000)
SHRINK = Limits(over_limit=OverLimit.SHRINK)

# fmt: off
SOURCES = [
    # header                                  problem         reason              words
    (header(kind=Format.SVG),                 SourceUnusable, Reason.UNSUPPORTED, "svg images"),
    (header(bytes=50 * 2**20 + 1),            SourceTooLarge, Reason.BYTES,       "52428801 bytes, at most 52428800"),
    (header(Size(12_001, 30)),                SourceTooLarge, Reason.DIMENSIONS,  "12001x30"),
    (header(Size(30, 12_001), orientation=6), SourceTooLarge, Reason.DIMENSIONS,  "30x12001"),   # as stored
    (header(kind=GIF, frames=1001),           SourceTooLarge, Reason.FRAMES,      "1001 frames, at most 1000"),
    (header(MEGA, kind=GIF, frames=151),      SourceTooLarge, Reason.DIMENSIONS,  "151000000 pixels in all frames"),
]

JUST_FIT = [
    header(bytes=50 * 2**20),
    header(Size(12_000, 30)),
    header(kind=GIF, frames=1000),
    header(Size(1000, 1000), kind=GIF, frames=150),
]

RESULTS = [
    # of              steps                                                 words
    (Size(9000, 90),  [],                                                   "9000x90, a side may have at most 8192 px"),
    (Size(90, 9000),  [to(px(10)), to(part("90"), **UP)],                   "900x90000"),
    (HUNDRED,         [Canvas(Dimensions(px(8193), px(10)))],               "8193x10"),
    # intermediate results: the final result may be small
    (HUNDRED,         [Canvas(Dimensions(px(10**9), px(10))), area(px(9), px(9))], "intermediate .* of 1000000000x10"),
    (Size(12_000, 9), [Pad(edges(px(9000), px(9000))), area(px(9), px(9))], "30000x18009"),
]
# fmt: on


@pytest.mark.parametrize(("info", "problem", "reason", "words"), SOURCES)
def test_a_source_that_is_rejected(info: Info, problem: type[SourceProblem], reason: Reason, words: str) -> None:
    with pytest.raises(problem, match=words):
        resolve(plan(), [info])
    generous = plan(on_unsupported=Fallback.ORIGINAL, on_unusable=Fallback.ORIGINAL)
    assert original_of(generous, info).reason is reason


@pytest.mark.parametrize("info", JUST_FIT)
def test_a_value_at_the_limit_passes(info: Info) -> None:
    assert recipe_of(plan(to(px(10))), info).size.width == 10


def test_unsupported_and_unusable_have_separate_fallbacks() -> None:
    mixed = plan(on_unsupported=Fallback.ORIGINAL, on_unusable=Fallback.PROBLEM)
    assert original_of(mixed, header(kind=Format.SVG)).reason is Reason.UNSUPPORTED
    with pytest.raises(SourceTooLarge):
        resolve(mixed, [header(Size(12_001, 1))])


def test_without_the_first_source_there_is_no_recipe() -> None:
    for infos in ([], [None, header()]):
        with pytest.raises(SourceNotFound):
            resolve(plan(), infos)


@pytest.mark.parametrize(("size", "steps", "words"), RESULTS)
def test_a_result_too_large_is_rejected(size: Size, steps: list[AnyStep], words: str) -> None:
    with pytest.raises(OutputTooLarge, match=words):
        resolve(plan(*steps), [header(size)])


def test_a_resize_above_the_limit_is_scaled_down_before_later_steps() -> None:
    recipe = recipe_of(plan(to(part("20"), **UP), Blur(px(10)), limits=SHRINK), header(Size(1000, 500)))
    assert recipe.ops == (Scale(Size(8192, 4096)), GaussianBlur(px(5).count))


# All frames of an animation may have as many pixels as the largest still image: 64 frames of 1024x1024.
def test_an_animation_above_its_area_is_rejected() -> None:
    moving = header(Size(1024, 1024), kind=GIF, frames=64)
    assert recipe_of(plan(), moving).size == Size(1024, 1024)
    with pytest.raises(OutputTooLarge, match="65 frames of 1024x1024"):
        resolve(plan(), [replace(moving, frames=65)])
    assert recipe_of(plan(choice=EncodingChoice(Format.PNG)), replace(moving, frames=65)).frames == 1


def test_an_animation_is_scaled_down_if_allowed() -> None:
    moving = header(Size(1000, 1000), kind=GIF, frames=100)
    recipe = recipe_of(plan(to(px(900)), limits=SHRINK), moving)
    assert recipe.ops == (Scale(Size(819, 819)),)  # scaled once; 100 frames of 820x820 are 131136 pixels too many
    assert recipe.frames == 100


def test_an_animation_scaled_down_shows_the_same_window() -> None:
    """900x700 of 1000x1000 shows 777.78 rows from row 111.11; one Scale gets the smaller size."""
    moving = header(Size(1000, 1000), kind=GIF, frames=100)
    recipe = recipe_of(plan(to(px(900), px(700), **COVER), limits=SHRINK), moving)
    window = Region(Fraction(0), Fraction(1, 9), Fraction(1000), Fraction(7000, 9))
    assert recipe.ops == (Extract(Box(0, 111, 1000, 778)), Scale(recipe.size, window=window))
    assert recipe.size.area * 100 <= 8192 * 8192


LARGE_SOURCE = Limits(over_limit=OverLimit.SHRINK_LARGE_SOURCE)
# fmt: off
OF_LARGE_SOURCES = [
    # source                                   steps                                       result; None: rejected
    (header(Size(9000, 90)),                   [],                                         Size(8192, 82)),
    (header(Size(300, 9000)),                  [to(px(300))],                              Size(273, 8192)),
    (header(Size(90, 9000), orientation=6),    [],                                         Size(8192, 82)),
    (header(Size(9000, 90)),                   [Pad(edges(px(10), px(10)))],               Size(8192, 100)),
    (header(Size(9000, 90)),                   [to(px(100))],                              Size(100, 1)),
    (header(Size(8192, 90)),                   [],                                         Size(8192, 90)),
    (header(Size(8192, 90)),                   [Pad(edges(px(1), px(1)))],                 None),
    (header(Size(1000, 90)),                   [to(part("9"), **UP)],                      None),
    (header(Size(90, 1000)),                   [Canvas(Dimensions(px(9000), px(10)))],     None),
    (header(MEGA, kind=GIF, frames=100),       [],                                         Size(819, 819)),
    (header(MEGA, kind=GIF, frames=60),        [to(part("2"), **UP)],                      None),
]
# fmt: on


@pytest.mark.parametrize(("info", "steps", "size"), OF_LARGE_SOURCES)
def test_only_a_size_that_the_request_made_is_rejected(info: Info, steps: list[AnyStep], size: Size | None) -> None:
    requested = plan(*steps, limits=LARGE_SOURCE)
    if size is None:
        with pytest.raises(OutputTooLarge):
            resolve(requested, [info])
        return
    recipe = recipe_of(requested, info)
    assert recipe.size == size
    is_shrunk = info.animated or (max(info.size.width, info.size.height) > 8192 and size.width > 200)
    assert ["largest size allowed" in warning.text for warning in recipe.warnings] == [True] * is_shrunk


# ------------------------------------------------------------------------------------------ originals

NO_GAIN = plan(choice=EncodingChoice(quality=50), larger_is_original=True)
JPEG = header(kind=Format.JPEG)

# fmt: off
LARGER = [
    # plan                                                      header                        compared?
    (NO_GAIN,                                                   JPEG,                         True),
    (NO_GAIN,                                                   replace(JPEG, orientation=3), False),
    (plan(larger_is_original=False),                            JPEG,                         False),
    (plan(to(px(50)), larger_is_original=True),                 JPEG,                         False),
    (plan(to(px(100)), larger_is_original=True),                JPEG,                         True),  # as it is
    (plan(choice=EncodingChoice(GIF), larger_is_original=True), JPEG,                         False),
    (plan(larger_is_original=True, first_frame=True),           header(kind=GIF, frames=2),   False),
]

SKIPPED = [
    # skipped for                    of a GIF   of a PNG
    (SourceFilter(frozenset({GIF})), (100, 80), (50, 40)),
    (SourceFilter(alpha=True),       (50, 40),  (50, 40)),
]
# fmt: on


@pytest.mark.parametrize(("order", "info", "compared"), LARGER)
def test_a_result_may_be_larger_than_its_source(order: Plan, info: Info, compared: bool) -> None:
    assert recipe_of(order, info).larger_is_original is compared


@pytest.mark.parametrize(("kind", "of_gif", "of_png"), SKIPPED)
def test_a_step_is_skipped_for_some_sources(
    kind: SourceFilter, of_gif: tuple[int, int], of_png: tuple[int, int]
) -> None:
    step = to(px(50), skipped_for=(kind,))
    assert recipe_of(plan(step), header(kind=GIF)).size == Size(*of_gif)
    assert recipe_of(plan(step), header()).size == Size(*of_png)


def test_a_skipped_step_has_its_warning() -> None:
    gifs = (SourceFilter(frozenset({GIF})),)
    silent, report = (TrimBorder(WHITE, skipped_for=gifs, warning_if_skipped=text) for text in (None, "not on a GIF"))
    recipe = recipe_of(
        plan(silent, report, Orient(Orientation.ROTATE_180, skipped_for=gifs, warning_if_skipped="neither")),
        header(kind=GIF),
    )
    assert [(w.parameter, w.text) for w in recipe.warnings] == [("trim-color", "not on a GIF"), ("orient", "neither")]


def test_a_clipped_crop_with_nothing_inside_is_skipped_with_a_warning() -> None:
    outside = area(px(10), px(10), **at(px(100), px(0)), overflow=Overflow.CLIP, parameter="precrop")
    recipe = recipe_of(plan(outside), header())
    assert recipe.ops == ()
    assert recipe.warnings == (RequestWarning("precrop", "crop region lies outside the image"),)


# ------------------------------------------------------------------------------------------ steps that change nothing

# fmt: off
IDLE = [
    to(px(100)),
    to(px(100), px(80)),
    area(part("1"), part("1")),
    Orient(Orientation.NONE),
    Pad(edges(px(0), px(0))),
    Canvas(Dimensions(part("1"), part("1"))),
    Adjust(),
    Sharpen(px(0).count, px(5), 0),
    Sharpen(px(1).count, px(0), 0),
    Flatten(WHITE),
]

SIGMAS = [
    # blur of a 100x80 frame                  sigma
    (Blur(px(5)),                             "2.5"),
    (Blur(part("0.1")),                       "4"),      # of the shorter side
    (Blur(part("0.001")),                     "0.25"),   # at least half a pixel
    (Blur(part("90")),                        "500"),    # at most a thousand
    (Blur(part("0.001"), min_px=px(0).count), "0.04"),
]
# fmt: on


@pytest.mark.parametrize("step", IDLE)
def test_steps_that_change_nothing_have_no_ops(step: AnyStep) -> None:
    assert recipe_of(plan(step), header()).ops == ()


@pytest.mark.parametrize(("step", "sigma"), SIGMAS)
def test_a_blur(step: Blur, sigma: str) -> None:
    assert recipe_of(plan(step), header()).ops == (GaussianBlur(Fraction(sigma)),)


def test_a_sharpening() -> None:
    recipe = recipe_of(plan(Sharpen(px(5).count, px(3), 7)), header())
    assert recipe.ops == (UnsharpMask(sigma=Fraction(3, 2), gain=Fraction(5, 2), threshold=7),)


def test_a_canvas_far_outside_shows_only_its_color() -> None:
    far = Canvas(Dimensions(px(50), px(40)), **at(px(10**12), px(-(10**12))))
    assert recipe_of(plan(far), header()).ops == (Embed(Size(50, 40), 50, -80, CLEAR),)


def test_a_canvas_inside_the_image_is_a_crop() -> None:
    assert recipe_of(plan(Canvas(Dimensions(px(50), px(40)))), header()).ops == (Extract(Box(25, 20, 50, 40)),)
