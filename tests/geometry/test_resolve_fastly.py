"""The documented examples of the Fastly dialect, as Plans."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cropmark.geometry.recipe import Embed, Extract, Scale
from cropmark.geometry.region import Region
from cropmark.model.problems import CropOutOfBounds, EmptyResult, OutputTooLarge, Problem
from cropmark.model.values import Box, Length, Ratio, Size
from cropmark.plan.steps import (
    Align,
    AnyStep,
    Canvas,
    Dimensions,
    Focus,
    Offset,
    Orient,
    Orientation,
    Pad,
    Rounding,
    TrimEdges,
)
from tests.geometry.plans import (
    COVER,
    INSIDE,
    OUTSIDE,
    SAFE,
    UP,
    Words,
    area,
    at,
    edges,
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

W = Size(1600, 900)
P = Size(800, 400)
SMART = {"focus": Focus.SMART}


def x(distance: Length) -> Words:
    return {"x": Offset(distance)}


# fmt: off
EXAMPLES = [
    # of              steps                        output        of the source: left, top, w, h
    (W,               [area(px(640), px(480))],    (640, 480),   (480, 210, 640, 480)),
    (W,               [area(px(640), px(480), **at(px(10), px(20)))], (640, 480), (10, 20, 640, 480)),
    (W,               [area(px(640), px(480), **x(px(10)))], (640, 480), (10, 210, 640, 480)),
    (W,               [area(part("0.5"), part("0.25"))], (800, 225), (400, 338, 800, 225)),
    (W,               [area(part("0.25"), part("1"), **x(part("0.75")))], (400, 900), (1200, 0, 400, 900)),
    (W,               [area(px(640), part("0.5"), **offset("x", "0"))], (640, 450), (0, 225, 640, 450)),
    (W,         [area(px(400), px(300), **offset("x", "0.3"), **offset("y", "0.6"))], (400, 300), (360, 360, 400, 300)),
    (W,               [area(px(400), px(300), **x(px(200)), **offset("y", "0.6"))], (400, 300), (200, 360, 400, 300)),
    (W,               [shape(4, 3)],               (1200, 900),  (200, 0, 1200, 900)),
    (Size(1000, 500), [shape(16, 9)],              (889, 500),   (56, 0, 889, 500)),
    (Size(1000, 500), [shape(16, 9, **offset("x", "0.3"))], (889, 500), (33, 0, 889, 500)),
    (Size(1000, 500), [shape(16, 9, rounding=Rounding.DOWN)], (888, 500), (56, 0, 888, 500)),
    (W,               [shape(21, 9)],              (1600, 686),  (0, 107, 1600, 686)),
    (W,               [shape(1, 1, **offset("x", "1"))], (900, 900), (700, 0, 900, 900)),
    (W,               [shape(4, 3), to(px(320))],  (320, 240),   (200, 0, 1200, 900)),
    (W,               [shape(4, 3), to(px(320), px(320))], (320, 320), (200, 0, 1200, 900)),
    (W,               [shape(4, 3), to(px(320), px(320), **COVER)], (320, 320), (350, 0, 900, 900)),
    (W,               [area(px(2000), px(500), **SAFE)], (1600, 500), (0, 200, 1600, 500)),
    (W,               [area(px(500), px(500), **at(px(1300), px(600)), **SAFE)], (300, 300), (1300, 600, 300, 300)),
    (W,               [area(px(800), px(900), **at(px(800), px(0))), shape(1, 1)], (800, 800), (800, 50, 800, 800)),
    (W, [TrimEdges(edges(px(50), px(100))), area(px(700), px(400), **at(px(0), px(0)))],
                                                                              (700, 400),  (100, 50, 700, 400)),
    (W, [area(px(1000), px(900), **at(px(0), px(0))), TrimEdges(edges(part("0.1"), part("0.1"))), shape(1, 1)],
                                                                              (720, 720),  (140, 90, 720, 720)),
    (Size(1600, 800), [area(px(3000), px(600), **x(px(100)), **SAFE)], (1500, 600), (100, 100, 1500, 600)),
    (W,               [shape("2.5", 1)],           (1600, 640),  (0, 130, 1600, 640)),
    # without an analysis the window is centered in the trimmed frame: 600, 300, 800, 400
    (Size(2000, 1000), [TrimEdges(edges(part("0.3"), part("0.3"))), shape(1, 1, **SMART), to(px(200))],
                                                                              (200, 200),  (800, 300, 400, 400)),
    (W,               [to(px(400))],               (400, 225),   (0, 0, 1600, 900)),
    (W,               [to(None, part("0.3"))],     (480, 270),   (0, 0, 1600, 900)),
    (W,               [to(part("0.333"))],         (533, 300),   (0, 0, 1600, 900)),
    (W,               [to(px(400), px(400))],      (400, 400),   (0, 0, 1600, 900)),
    (W,               [to(px(400), px(400), **INSIDE)], (400, 225), (0, 0, 1600, 900)),
    (W,               [to(px(400), px(400), **OUTSIDE)], (711, 400), (0, 0, 1600, 900)),
    (W,               [to(px(400), px(400), **COVER)], (400, 400), (350, 0, 900, 900)),
    (W,               [to(px(300), px(100), **COVER, dpr=Fraction(2))], (600, 200), (0, "183.3", 1600, "533.3")),
    (W,               [to(px(2000))],              (1600, 900),  (0, 0, 1600, 900)),
    (W,               [to(px(2000), **UP)],        (2000, 1125), (0, 0, 1600, 900)),
    (W,               [to(px(1000), dpr=Fraction(2))], (1600, 900), (0, 0, 1600, 900)),
    (W,               [to(px(2000), px(2000), **COVER)], (900, 900), (350, 0, 900, 900)),
    (W,               [to(px(2000), px(2000), **INSIDE)], (1600, 900), (0, 0, 1600, 900)),
    (W,               [Orient(Orientation.ROTATE_90), to(px(450))], (450, 800), (0, 0, 1600, 900)),
    (W,     [area(px(400), px(200), **at(px(0), px(0))), Orient(Orientation.ROTATE_270)], (200, 400), (0, 0, 400, 200)),
    # resize
    (Size(600, 400),  [to(px(1000), px(1000), **COVER)], (400, 400), (100, 0, 400, 400)),
    (W,               [to(dpr=Fraction(2), **UP)], (3200, 1800), (0, 0, 1600, 900)),
    (W,               [to(dpr=Fraction(2))],       (1600, 900),  (0, 0, 1600, 900)),
    (W,               [to(px(2000), px(400))],     (1600, 400),  (0, 0, 1600, 900)),
]

ROOM = [
    # of  steps                                                                             output       image's corner
    (P, [to(px(400)), Pad(edges(px(20), px(10)))],                                          (420, 240),  (10, 20)),
    (P, [Pad(edges(part("0.1"), part("0.1")))],                                             (960, 480),  (80, 40)),
    (P, [Canvas(Dimensions(px(1000), px(600)))],                                            (1000, 600), (100, 100)),
    (P, [Canvas(Ratio(Fraction(1), Fraction(1)), y=Align(Fraction(1, 4)))],                 (800, 800),  (0, 100)),
    (P, [Canvas(Dimensions(px(1200), px(800)), Offset(part("0.25")), Offset(part("0.5")))], (1200, 800), (200, 200)),
    (P, [to(px(200)), Canvas(Dimensions(px(300), px(300)))],                                (300, 300),  (50, 100)),
    # a smaller canvas crops by the same formula
    (P, [Canvas(Dimensions(px(900), px(300)))],                                             (900, 300),  (50, -50)),
]

REFUSED = [
    (W, [area(px(2000), px(500))],                         CropOutOfBounds, "2000x500 at -200,200"),
    (W, [area(px(500), px(500), **at(px(1300), px(600)))], CropOutOfBounds, "1600x900"),
    (W, [to(part("9"), **UP)],                             OutputTooLarge,  "14400x8100"),
    (P, [Pad(edges(px(4000), px(4000)))],                  OutputTooLarge,  "8800x8400"),
    (P, [TrimEdges(edges(part("0.5"), px(0)))],            EmptyResult,     "trim: nothing is left of 800x400"),
    (P, [TrimEdges(edges(px(0), px(400)))],                EmptyResult,     "0, 400, 0, 400 px"),
]
# fmt: on


def covers(output: Size, region: Region) -> Fraction:
    """Half a pixel of the output, in pixels of the source."""
    return max(region.width / output.width, region.height / output.height) / 2


@pytest.mark.parametrize(("size", "steps", "output", "region"), EXAMPLES)
def test_example(size: Size, steps: list[AnyStep], output: tuple[int, int], region: tuple[str | int, ...]) -> None:
    recipe = recipe_of(plan(*steps), header(size))
    expected = Region(*map(Fraction, region))
    assert recipe.size == Size(*output)
    assert is_near(shown(recipe.ops, size), expected, covers(recipe.size, expected))


@pytest.mark.parametrize(("size", "steps", "output", "corner"), ROOM)
def test_space_around(size: Size, steps: list[AnyStep], output: tuple[int, int], corner: tuple[int, int]) -> None:
    recipe = recipe_of(plan(*steps), header(size))
    last = recipe.ops[-1]
    assert isinstance(last, Embed)
    assert (recipe.size, last.left, last.top) == (Size(*output), *corner)


@pytest.mark.parametrize(("size", "steps", "problem", "words"), REFUSED)
def test_rejected(size: Size, steps: list[AnyStep], problem: type[Problem], words: str) -> None:
    with pytest.raises(problem, match=words) as caught:
        recipe_of(plan(*steps), header(size))
    assert caught.value.fix


def test_a_window_between_pixels_is_scaled_exactly() -> None:
    """fit=crop of 1600x900 to 600x200 shows 533.33 rows from row 183.33; the kernel sees all 534 touched rows."""
    recipe = recipe_of(plan(to(px(600), px(200), **COVER)), header(W))
    window = Region(Fraction(0), Fraction(1, 3), Fraction(1600), Fraction(1600, 3))
    assert recipe.ops == (Extract(Box(0, 183, 1600, 534)), Scale(Size(600, 200), window=window))


def test_consecutive_crops_become_one() -> None:
    recipe = recipe_of(plan(area(px(800), px(900), **at(px(800), px(0))), shape(1, 1)), header(W))
    assert recipe.ops == (Extract(Box(800, 50, 800, 800)),)
