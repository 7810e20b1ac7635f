"""The documented examples of the Kontent.ai dialect, as Plans."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cropmark.geometry.recipe import Reason, Scale
from cropmark.geometry.region import Region
from cropmark.model.formats import Format, Info
from cropmark.model.values import WHITE, Point, Size
from cropmark.plan.plan import EncodingChoice, Fallback, Limits, OverLimit, Plan, TriState
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import AnyStep, Edges, Flatten, Overflow, Pad
from tests.geometry.plans import (
    COVER,
    INSIDE,
    UP,
    Words,
    area,
    at,
    header,
    is_near,
    original_of,
    part,
    plan,
    px,
    recipe_of,
    shown,
    to,
)

RECT = {"overflow": Overflow.CLIP_OR_ORIGINAL}
LIMITS = Limits(over_limit=OverLimit.SHRINK, source_side=12_000, animation_area=None)
A, B, C = Size(1080, 720), Size(1000, 500), Size(640, 400)


def around(x: str, y: str, zoom: str = "1") -> Words:
    return {**COVER, "focus": Point(Fraction(x), Fraction(y)), "zoom": Fraction(zoom)}


def kontent(*steps: AnyStep, choice: EncodingChoice | None = None) -> Plan:
    """A Plan of the dialect: the original is sent if nothing would change, or if nothing can be changed."""
    return plan(
        *steps,
        choice=choice or EncodingChoice(lossless=TriState.AS_SOURCE),
        same_is_original=(SourceFilter(),),
        limits=LIMITS,
        on_unsupported=Fallback.ORIGINAL,
        on_unusable=Fallback.ORIGINAL,
    )


# fmt: off
EXAMPLES = [
    # of              steps                                                         output       of the source
    (A,               [to(px(300), **INSIDE)],                                      (300, 200),  (0, 0, 1080, 720)),
    (A,               [to(None, part("0.1"), **INSIDE)],                            (108, 72),   (0, 0, 1080, 720)),
    (Size(300, 200),  [to(px(100), px(100), **INSIDE)],                             (100, 67),   (0, 0, 300, 200)),
    (A,               [to(px(600), px(500), **INSIDE)],                             (600, 400),  (0, 0, 1080, 720)),
    (C,               [to(px(2000), px(200), **INSIDE)],                            (320, 200),  (0, 0, 640, 400)),
    (B,               [to(px(400), part("0.5"), **INSIDE)],                         (400, 200),  (0, 0, 1000, 500)),
    (A,               [to(px(100), **INSIDE, dpr=Fraction(5))],                     (500, 333),  (0, 0, 1080, 720)),
    (A,               [to(px(1200), px(150), **UP)],                                (1200, 150), (0, 0, 1080, 720)),
    (A,               [to(px(300), px(150), **COVER)],                              (300, 150),  (0, 90, 1080, 540)),
    (Size(400, 300),  [to(px(500), px(500), **COVER)],                              (300, 300),  (50, 0, 300, 300)),
    (Size(500, 400),  [to(px(300), px(300), **COVER, dpr=Fraction(2))],             (400, 400),  (50, 0, 400, 400)),
    (B,               [area(part("0.7"), part("0.7"), **at(px(1), px(1)), **RECT)], (700, 350),  (1, 1, 700, 350)),
    (Size(640, 457), [area(px(300), px(200), **at(px(7), px(23)), **RECT), to(px(200), px(150), **INSIDE)],
                                                                                   (200, 133), (7, 23, 300, 200)),
    (B,               [area(px(500), px(300), **at(px(800), px(400)), **RECT)],     (200, 100),  (800, 400, 200, 100)),
    (B,              [area(px(200), px(100), **at(px(0), px(0)), **RECT), to(px(400), **INSIDE)],
                                                                                   (200, 100), (0, 0, 200, 100)),
    (B,               [to(px(200), px(200), **around("0.7", "0.5"))],               (200, 200),  (450, 0, 500, 500)),
    (B,               [to(px(100), px(100), **around("0.05", "0.9", "2"))],         (100, 100),  (0, 250, 250, 250)),
    (Size(1200, 900), [to(**around("0.5", "0.5", "3"))],                            (400, 300),  (400, 300, 400, 300)),
    (B,               [to(px(300), px(300), **around("0.5", "0.5", "2"))],          (250, 250),  (375, 125, 250, 250)),
    # one side of a crop's box follows the input's ratio
    (B,               [to(px(200), **COVER)],                                       (200, 100),  (0, 0, 1000, 500)),
]

THEMSELVES = [
    # of              steps                                                since
    (C,               [to(px(2000), **INSIDE)],                            Reason.NOTHING_TO_DO),
    (C,               [to(px(300), **INSIDE, dpr=Fraction(3))],            Reason.NOTHING_TO_DO),
    (Size(12100, 30), [to(px(100), **INSIDE)],                             Reason.DIMENSIONS),
    (B,               [area(px(5), px(5), **at(px(1000), px(0)), **RECT)], Reason.OUTSIDE),
]

CHANGES = [
    # header of the source              choice                                 result
    # nothing to do
    (header(),                          EncodingChoice(lossless=TriState.AS_SOURCE), None),
    (header(kind=Format.JPEG, progressive=True), EncodingChoice(),             None),
    (header(kind=Format.JPEG, orientation=6), EncodingChoice(),                None),    # 0014
    (header(kind=Format.WEBP, lossless=True), EncodingChoice(lossless=TriState.AS_SOURCE), None),
    (header(kind=Format.GIF, frames=3), EncodingChoice(),                      None),
    (header(),                          EncodingChoice(Format.PNG, quality=30), None),   # PNG ignores the quality
    (header(kind=Format.WEBP, lossless=True), EncodingChoice(quality=9, lossless=TriState.AS_SOURCE), None),
    # changes
    (header(kind=Format.JPEG, progressive=True), EncodingChoice(Format.JPEG),  Format.JPEG),
    (header(kind=Format.JPEG),          EncodingChoice(Format.JPEG, progressive=TriState.YES), Format.JPEG),
    (header(kind=Format.JPEG),          EncodingChoice(quality=30),            Format.JPEG),
    (header(),                          EncodingChoice(Format.PNG, palette=True), Format.PNG),
    (header(palette=True),              EncodingChoice(Format.PNG),            Format.PNG),
    (header(palette=True),              EncodingChoice(),                      None),
    (header(palette=True),              EncodingChoice(Format.PNG, palette=True), None),
    (header(kind=Format.WEBP),          EncodingChoice(lossless=TriState.YES), Format.WEBP),
    (header(kind=Format.WEBP, lossless=True), EncodingChoice(lossless=TriState.NO), Format.WEBP),
    (header(),                          EncodingChoice(Format.WEBP),           Format.WEBP),
]
# fmt: on


@pytest.mark.parametrize(("size", "steps", "output", "region"), EXAMPLES)
def test_example(size: Size, steps: list[AnyStep], output: tuple[int, int], region: tuple[int, ...]) -> None:
    recipe = recipe_of(kontent(*steps), header(size))
    expected = Region(*map(Fraction, region))
    assert recipe.size == Size(*output)
    slack = max(expected.width / recipe.size.width, expected.height / recipe.size.height) / 2
    assert is_near(shown(recipe.ops, size), expected, slack)


@pytest.mark.parametrize(("size", "steps", "reason"), THEMSELVES)
def test_the_original_is_sent(size: Size, steps: list[AnyStep], reason: Reason) -> None:
    assert original_of(kontent(*steps), header(size, lossless=True)).reason is reason


@pytest.mark.parametrize(("info", "choice", "made"), CHANGES)
def test_choices_that_change_an_image(info: Info, choice: EncodingChoice, made: Format | None) -> None:
    order = kontent(choice=choice)
    if made is None:
        assert original_of(order, info).reason is Reason.NOTHING_TO_DO
    else:
        assert recipe_of(order, info).encoding.format is made


def test_a_window_that_is_not_enlarged_is_not_resampled() -> None:
    recipe = recipe_of(kontent(to(px(500), px(500), **COVER)), header(Size(401, 300)))
    assert recipe.size == Size(300, 300)
    assert not any(isinstance(op, Scale) for op in recipe.ops)


def test_a_result_above_the_limit_is_scaled_down() -> None:
    recipe = recipe_of(kontent(choice=EncodingChoice(Format.PNG)), header(Size(9000, 90), Format.JPEG))
    assert (recipe.ops, recipe.size) == ((Scale(Size(8192, 82)),), Size(8192, 82))
    assert "scaled down from 9000x90 to 8192x82" in recipe.warnings[0].text


# fmt: off
SIZED_DOWN = [
    # of             steps                                               the warning
    (Size(9000, 90), [],                                                 ("source", "9000x90 to 8192x82")),
    (Size(9000, 90), [to(px(8500), **INSIDE, parameter="w")],            ("w", "8500x85 to 8192x82")),
    (A,              [to(px(20_000), px(10), **UP, parameter="w")],      ("w", "20000x10 to 8192x4")),
    (Size(9000, 90), [to(px(8500), px(85), **COVER, parameter="w")],     ("w", "8500x85 to 8192x82")),
    (Size(8000, 90), [to(px(80), **INSIDE), Pad(Edges(right=px(9000)))], ("pad", "9080x1 to 8192x1")),
]
# fmt: on


@pytest.mark.parametrize(("size", "steps", "warning"), SIZED_DOWN)
def test_the_warning_of_a_scaled_down_result_names_the_parameter_of_its_size(
    size: Size, steps: list[AnyStep], warning: tuple[str, str]
) -> None:
    (warned,) = recipe_of(kontent(*steps, choice=EncodingChoice(Format.PNG)), header(size, Format.JPEG)).warnings
    assert (warned.parameter, warned.text) == (warning[0], f"scaled down from {warning[1]}, the largest size allowed")


def test_a_region_outside_has_a_warning() -> None:
    outside = kontent(area(px(5), px(5), **at(px(1080), px(0)), **RECT, parameter="rect"))
    (warned,) = original_of(outside, header(A)).warnings
    assert (warned.parameter, warned.text) == ("rect", "entirely outside the image: the original was sent")


@pytest.mark.parametrize("steps", [(), (to(px(20_000), **INSIDE),)])
def test_an_original_is_not_scaled_down(steps: tuple[AnyStep, ...]) -> None:
    same = kontent(*steps, choice=EncodingChoice(Format.PNG))
    assert original_of(same, header(Size(9000, 90), Format.PNG)).reason is Reason.NOTHING_TO_DO


def test_fewer_frames_are_a_change() -> None:
    still = plan(
        choice=EncodingChoice(lossless=TriState.AS_SOURCE), same_is_original=(SourceFilter(),), first_frame=True
    )
    assert recipe_of(still, header(kind=Format.GIF, frames=3)).frames == 1


def test_a_background_matters_only_for_transparent_images() -> None:
    flat = kontent(Flatten(WHITE))
    assert original_of(flat, header(alpha=False)).reason is Reason.NOTHING_TO_DO
    assert recipe_of(flat, header(alpha=True)).ops
