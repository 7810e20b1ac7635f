from __future__ import annotations

from fractions import Fraction

import pytest

from cropmark.geometry.alpha import on_white
from cropmark.geometry.recipe import AnyOp, Background, Bilevel, ColorAdjust, Embed
from cropmark.model.formats import Format
from cropmark.model.values import CLEAR, WHITE, Color, Size
from cropmark.plan.plan import EncodingChoice
from cropmark.plan.steps import Adjust, AnyStep, Canvas, Dimensions, Flatten, Monochrome, Pad, Threshold
from tests.geometry.plans import edges, header, plan, px, recipe_of

RED, HALF_RED = Color(255, 0, 0), Color(255, 0, 0, 128)
ROSE = Color(255, 127, 127)  # half red on white
PAD = edges(px(10), px(10))
LARGE = Size(120, 100)
THRESHOLD = Threshold()
DARKEN = Adjust(Fraction(-100))
DARK = ColorAdjust(Fraction(-100), Fraction(0), Fraction(0))


def padded(color: Color) -> AnyOp:
    return Embed(LARGE, 10, 10, color)


def canvas(color: Color | None = None) -> Canvas:
    return Canvas(Dimensions(px(120), px(100)), color=color)


# fmt: off
MIXED = [
    (RED,                 RED),
    (CLEAR,               WHITE),
    (HALF_RED,            ROSE),
    (Color(0, 0, 0, 128), Color(127, 127, 127)),
    (Color(0, 0, 0, 1),   Color(254, 254, 254)),
]

FILLS = [
    # alpha? steps                      to PNG                         to JPEG
    # padding: white; transparent if the image has alpha and the output supports it; bg-color overrides
    (False, [Pad(PAD)],               [padded(WHITE)],                  [padded(WHITE)]),
    (True,  [Pad(PAD)],               [padded(CLEAR)],                  [padded(WHITE), Background(WHITE)]),
    (True,  [Pad(PAD, RED)],          [padded(RED)],                    [padded(RED), Background(WHITE)]),
    (False, [Pad(PAD, HALF_RED)],     [padded(HALF_RED)],               [padded(ROSE)]),
    # canvas: transparent if the output supports alpha, else white
    (False, [canvas()],               [padded(CLEAR)],                  [padded(WHITE)]),
    (True,  [canvas()],               [padded(CLEAR)],                  [padded(WHITE), Background(WHITE)]),
    (False, [canvas(RED)],            [padded(RED)],                    [padded(RED)]),
    # background: a color with alpha is mixed with white if the output does not support alpha
    (True,  [Flatten(RED)],           [Background(RED)],                [Background(RED)]),
    (True,  [Flatten(HALF_RED)],      [Background(HALF_RED)],           [Background(ROSE)]),
    (False, [Flatten(RED)],           [],                               []),
    (True,  [Flatten(CLEAR)],         [],                               [Background(WHITE)]),
    (True,  [],                       [],                               [Background(WHITE)]),
    (False, [canvas(), Flatten(RED)], [padded(CLEAR), Background(RED)], [padded(WHITE)]),
    # a transparent fill becomes white before a later adjustment: brightness=-100 leaves no white edge
    (False, [canvas(), DARKEN],       [padded(CLEAR), DARK],            [padded(WHITE), DARK]),
    # every pixel is black or white, so no half-transparent pixel may be mixed later
    (True,  [Monochrome(THRESHOLD)],  [Bilevel(THRESHOLD)],             [Background(WHITE), Bilevel(THRESHOLD)]),
]
# fmt: on


@pytest.mark.parametrize(("color", "seen"), MIXED)
def test_a_color_on_white(color: Color, seen: Color) -> None:
    assert on_white(color) == seen


@pytest.mark.parametrize(("alpha", "steps", "on_png", "on_jpeg"), FILLS)
def test_fills(alpha: bool, steps: list[AnyStep], on_png: list[AnyOp], on_jpeg: list[AnyOp]) -> None:
    info = header(alpha=alpha)
    assert list(recipe_of(plan(*steps), info).ops) == on_png
    assert list(recipe_of(plan(*steps, choice=EncodingChoice(Format.JPEG)), info).ops) == on_jpeg
