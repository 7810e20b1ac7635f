"""The documented examples of the Contentstack and PixLab dialects, as Plans."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cropmark.geometry.recipe import Compose, Embed, Scale
from cropmark.geometry.region import Region
from cropmark.model.formats import Format, Info
from cropmark.model.problems import CropOutOfBounds, OutputTooLarge
from cropmark.model.values import CLEAR, WHITE, Length, Ratio, Size
from cropmark.plan.plan import Limits, OverLimit, RequestWarning
from cropmark.plan.steps import (
    Align,
    AnyStep,
    Canvas,
    Dimensions,
    Edges,
    Middle,
    Offset,
    Overflow,
    Overlay,
    Pad,
    TrimEdges,
)
from tests.geometry.plans import (
    COVER,
    INSIDE,
    SAFE,
    UP,
    area,
    at,
    edges,
    frame_at_the_end,
    header,
    is_near,
    offset,
    part,
    plan,
    px,
    recipe_of,
    shape,
    shown,
    to,
)

K, F, T, E = Size(1000, 500), Size(400, 300), Size(300, 200), Size(500, 500)
LIMITS = Limits(over_limit=OverLimit.SHRINK)
OR_REFUSE = {"overflow": Overflow.CLIP_OR_REFUSE}


def trim(*lengths: Length) -> TrimEdges:
    return TrimEdges(Edges(*lengths))


# fmt: off
EXAMPLES = [
    # of  steps                                                             output        of the source
    # width, height, disable, dpr
    (K, [to(px(100), **UP)],                                                (100, 50),    (0, 0, 1000, 500)),
    (K, [to(None, px(100), **UP)],                                          (200, 100),   (0, 0, 1000, 500)),
    (K, [to(part("0.25"), **UP)],                                           (250, 125),   (0, 0, 1000, 500)),
    (K, [to(part("2.5"), **UP)],                                            (2500, 1250), (0, 0, 1000, 500)),
    (K, [to(px(200), part("0.5"), **UP)],                                   (200, 250),   (0, 0, 1000, 500)),
    (K, [to(px(300), px(300), **UP)],                                       (300, 300),   (0, 0, 1000, 500)),
    (T, [to(px(650), **UP)],                                                (650, 433),   (0, 0, 300, 200)),
    (T, [to(px(650))],                                                      (300, 200),   (0, 0, 300, 200)),
    (K, [to(None, px(50), **UP, dpr=Fraction(2))],                          (200, 100),   (0, 0, 1000, 500)),
    (K, [to(px(100), **UP, dpr=Fraction(3, 2))],                            (150, 75),    (0, 0, 1000, 500)),
    (K, [to(px(100), px(80), **UP, dpr=Fraction(3))],                       (300, 240),   (0, 0, 1000, 500)),
    (K, [to(part("0.25"), **UP, dpr=Fraction(2))],                          (500, 250),   (0, 0, 1000, 500)),
    # fit
    (K, [to(px(300), px(300), **UP, **INSIDE)],                             (300, 150),   (0, 0, 1000, 500)),
    (K, [to(part("0.5"), part("0.5"), **UP, **INSIDE)],                     (500, 250),   (0, 0, 1000, 500)),
    (K, [to(px(250), px(250), **UP, **COVER)],                              (250, 250),   (250, 0, 500, 500)),
    (T, [to(px(600), px(600), **UP, **COVER)],                              (600, 600),   (50, 0, 200, 200)),
    (T, [to(px(600), px(600), **COVER)],                                    (200, 200),   (50, 0, 200, 200)),
    # crop
    (K, [area(px(400), px(300))],                                           (400, 300),   (300, 100, 400, 300)),
    (K, [area(part("0.5"), part("0.6"))],                                   (500, 300),   (250, 100, 500, 300)),
    (K, [area(px(300), part("0.6"))],                                       (300, 300),   (350, 100, 300, 300)),
    (K, [shape(1, 1), to(px(200), **UP)],                                   (200, 200),   (250, 0, 500, 500)),
    (K, [area(px(300), px(400), **at(px(150), px(75)))],                    (300, 400),   (150, 75, 300, 400)),
    (K, [area(px(50), px(75), **at(part("0.1"), part("0.2")))],             (50, 75),     (100, 100, 50, 75)),
    (K, [area(px(400), px(300), **offset("x", "0.1"), **offset("y", "0.5"))], (400, 300),   (60, 100, 400, 300)),
    (K, [area(px(400), px(300), x=Offset(px(0)))],                          (400, 300),   (0, 100, 400, 300)),
    (K, [area(px(500), px(400), **at(px(700), px(200)), **SAFE)],           (300, 300),   (700, 200, 300, 300)),
    (K, [area(px(1500), px(400), **SAFE)],                                  (1000, 400),  (0, 50, 1000, 400)),
    (K, [area(px(400), px(200)), to(px(200), **UP)],                        (200, 100),   (300, 150, 400, 200)),
    # trim
    (F, [trim(px(25), px(50), px(75), px(100))],                            (250, 200),   (100, 25, 250, 200)),
    (F, [trim(px(25), px(50), px(75), px(50))],                             (300, 200),   (50, 25, 300, 200)),
    (F, [trim(px(50), px(100), px(50), px(100))],                           (200, 200),   (100, 50, 200, 200)),
    (F, [trim(px(50), px(50), px(50), px(50))],                             (300, 200),   (50, 50, 300, 200)),
    (E, [trim(part("0.1"), part("0.1"), part("0.1"), part("0.1"))],         (400, 400),   (50, 50, 400, 400)),
    # a computed size above the limit is scaled down
    (K, [to(part("20"), **UP)],                                             (8192, 4096), (0, 0, 1000, 500)),
    # PixLab: crop, resize, smartresize
    (Size(620, 388), [area(px(145), px(145), **at(px(164), px(95)), **OR_REFUSE)],
                                                                              (145, 145),   (164, 95, 145, 145)),
    (F, [area(px(100), px(100), **at(px(350), px(250)), **OR_REFUSE)],      (50, 50),     (350, 250, 50, 50)),
    (F, [area(px(100), px(60), **at(px(-20), px(10)), **OR_REFUSE)],        (80, 60),     (0, 10, 80, 60)),
    (F, [to(px(200), px(200), **UP)],                                       (200, 200),   (0, 0, 400, 300)),
    (K, [to(px(800), px(600), **UP, **INSIDE)],                             (800, 400),   (0, 0, 1000, 500)),
    (K, [to(px(2000), **UP, **INSIDE)],                                     (2000, 1000), (0, 0, 1000, 500)),
]

ROOM = [
    # of             steps                                                          output      image's corner
    (F,              [Pad(Edges(px(25), px(50), px(75), px(100)))],                 (550, 400), (100, 25)),
    (F,              [Pad(edges(px(10), px(10)))],                                  (420, 320), (10, 10)),
    (Size(400, 400), [Pad(edges(part("0.25"), part("0.25")))],                      (600, 600), (100, 100)),
    (F,              [Canvas(Dimensions(px(700), px(800)))],                        (700, 800), (150, 250)),
    (F,              [Canvas(Dimensions(px(700), px(800)), **at(px(150), px(75)))], (700, 800), (150, 75)),
    (F,             [Canvas(Dimensions(px(700), px(800)), **offset("x", "0.65"), **offset("y", "0.8"))],
                                                                                      (700, 800), (195, 400)),
    (F,             [Canvas(Dimensions(px(600), px(600)), **offset("x", "0.1"), **offset("y", "0.9"))],
                                                                                      (600, 600), (20, 270)),
    (F,              [Canvas(Dimensions(part("1.5"), part("2")))],                  (600, 600), (100, 150)),
    (F,              [Canvas(Ratio(Fraction(1), Fraction(1)))],                     (400, 400), (0, 50)),
]

REFUSED = [
    (K, [area(px(500), px(400), **at(px(700), px(200)))],           "500x400 at 700,200"),
    (F, [area(px(50), px(50), **at(px(400), px(10)), **OR_REFUSE)], "50x50 at 400,10"),
]

OVERLAYS = [
    # image 300x200, overlay 50x40                           left, top     its size
    (Overlay(1),                                             (125, 80),    (50, 40)),
    (Overlay(1, x=Align(Fraction(0)), y=Align(Fraction(1))), (0, 160),     (50, 40)),
    (Overlay(1, y=Align(Fraction(0))),                       (125, 0),     (50, 40)),
    (Overlay(1, width=px(100)),                              (100, 60),    (100, 80)),
    (Overlay(1, width=part("0.5")),                          (75, 40),     (150, 120)),
    (Overlay(1, width=px(10), height=px(90)),                (145, 55),    (10, 90)),
    (Overlay(1, x=Align(Fraction(0)), y=Align(Fraction(0)), edges=Edges(px(30), px(25), px(50), px(25))),
                                                 (0, 0),     (100, 120)),
    (Overlay(1, width=part("2")),                            (-150, -140), (600, 480)),   # cropped at the image's edges
    (Overlay(1, x=Middle(px(100)), y=Offset(px(-9))),        (75, -9),     (50, 40)),
    (Overlay(1, x=Middle(part("0.5")), y=Middle(px(0))),     (125, -20),   (50, 40)),
]

FILLS = [
    # overlay's header         white without alpha?  padding
    (header(kind=Format.JPEG), True,  WHITE),
    (header(kind=Format.JPEG), False, CLEAR),
    (header(kind=Format.PNG),  True,  CLEAR),
]
# fmt: on


@pytest.mark.parametrize(("size", "steps", "output", "region"), EXAMPLES)
def test_example(size: Size, steps: list[AnyStep], output: tuple[int, int], region: tuple[int, ...]) -> None:
    recipe = recipe_of(plan(*steps, limits=LIMITS), header(size))
    expected = Region(*map(Fraction, region))
    assert recipe.size == Size(*output)
    slack = max(expected.width / recipe.size.width, expected.height / recipe.size.height) / 2
    assert is_near(shown(recipe.ops, size), expected, slack)


@pytest.mark.parametrize(("size", "steps", "output", "corner"), ROOM)
def test_space_around(size: Size, steps: list[AnyStep], output: tuple[int, int], corner: tuple[int, int]) -> None:
    recipe = recipe_of(plan(*steps), header(size))
    last = recipe.ops[-1]
    assert isinstance(last, Embed)
    assert (recipe.size, last.left, last.top) == (Size(*output), *corner)


@pytest.mark.parametrize(("size", "steps", "words"), REFUSED)
def test_rejected(size: Size, steps: list[AnyStep], words: str) -> None:
    with pytest.raises(CropOutOfBounds, match=words) as caught:
        recipe_of(plan(*steps), header(size))
    assert caught.value.parameter == "crop"


def test_a_canvas_that_cuts_has_a_warning() -> None:
    small = Canvas(Dimensions(part("0.7"), part("0.8")), warn_if_cut=True)
    recipe = recipe_of(plan(small), header(F))
    assert (recipe.size, recipe.warnings[0].parameter) == (Size(280, 240), "canvas")
    assert recipe_of(plan(Canvas(Dimensions(px(700), px(800)), warn_if_cut=True)), header(F)).warnings == ()


# ------------------------------------------------------------------------------------------ overlays


def laid(step: Overlay, *infos: Info | None) -> Compose:
    last = recipe_of(plan(step), header(T), *infos).ops[-1]
    assert isinstance(last, Compose)
    return last


@pytest.mark.parametrize(("step", "corner", "size"), OVERLAYS)
def test_the_position_of_an_overlay(step: Overlay, corner: tuple[int, int], size: tuple[int, int]) -> None:
    info = header(Size(50, 40))
    over = laid(step, info)
    assert (over.left, over.top) == corner
    assert frame_at_the_end(over.ops, info.size, ()) == Size(*size)


def test_a_share_is_of_the_output() -> None:
    recipe = recipe_of(plan(to(px(600), **UP), Overlay(1, width=part("0.5"))), header(T), header(Size(50, 40)))
    assert recipe.ops[-1] == Compose(1, (Scale(Size(300, 240)),), 150, 80)


@pytest.mark.parametrize(("info", "opaque", "fill"), FILLS)
def test_padding_around_an_overlay(info: Info, opaque: bool, fill: object) -> None:
    over = laid(Overlay(1, edges=edges(px(5), px(5)), opaque_padding=opaque), info)
    assert isinstance(over.ops[-1], Embed)
    assert over.ops[-1].fill == fill


def test_an_overlay_is_tiled_along_the_requested_axes() -> None:
    over = laid(Overlay(1, repeat_across=True), header())
    assert (over.across, over.down) == (True, False)


@pytest.mark.parametrize("x", [-50, 300, 10**30])
def test_an_overlay_completely_outside_has_a_warning(x: int) -> None:
    recipe = recipe_of(plan(Overlay(1, x=Offset(px(x)))), header(T), header(Size(50, 40)))
    assert recipe.ops == ()
    assert recipe.warnings == (RequestWarning("overlay", "left out, it is completely outside of the image"),)


def test_tiles_of_an_overlay_outside_are_drawn() -> None:
    assert laid(Overlay(1, x=Offset(px(-50)), repeat_across=True), header(Size(50, 40))).left == -50


def test_an_unavailable_overlay_is_left_out() -> None:
    recipe = recipe_of(plan(Overlay(1)), header(T), None)
    assert (recipe.ops, recipe.warnings) == ((), ())  # the fetch has added a warning


# fmt: off
UNFIT = [
    (header(Size(12_001, 40)),     "12001x40"),
    (header(bytes=50 * 2**20 + 1), "52428801 bytes"),
    (header(kind=Format.SVG),      "svg"),
]
# fmt: on


@pytest.mark.parametrize(("info", "words"), UNFIT)
def test_an_unusable_overlay_is_left_out_with_a_warning(info: Info, words: str) -> None:
    recipe = recipe_of(plan(Overlay(1)), header(T), info)
    assert recipe.ops == ()
    assert recipe.warnings[0].parameter == "overlay"
    assert words in recipe.warnings[0].text


def test_an_overlay_of_absurd_size_is_rejected() -> None:
    with pytest.raises(OutputTooLarge, match="intermediate") as caught:
        laid(Overlay(1, width=part("1000")), header())
    assert caught.value.parameter == "overlay"
