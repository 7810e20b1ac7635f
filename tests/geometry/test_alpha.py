from __future__ import annotations

from fractions import Fraction

import pytest

from cropmark.geometry.alpha import on_white
from cropmark.geometry.recipe import BlackWhite, Embed, Op, Tone, Under
from cropmark.model.formats import Format
from cropmark.model.values import CLEAR, WHITE, Colour, Size
from cropmark.plan.plan import Choice
from cropmark.plan.steps import Adjust, AnyStep, Area, Canvas, Flatten, Monochrome, Pad, Threshold
from tests.geometry.plans import edges, header, plan, px, recipe_of

RED, HALF_RED = Colour(255, 0, 0), Colour(255, 0, 0, 128)
ROSE = Colour(255, 127, 127)  # half red on white
PAD = edges(px(10), px(10))
LARGE = Size(120, 100)
THRESHOLD = Threshold()
DARKEN = Adjust(Fraction(-100))
DARK = Tone(Fraction(-100), Fraction(0), Fraction(0))


def padded(colour: Colour) -> Op:
    return Embed(LARGE, 10, 10, colour)


def canvas(colour: Colour | None = None) -> Canvas:
    return Canvas(Area(px(120), px(100)), colour=colour)


# fmt: off
MIXED = [
    (RED,                     RED),
    (CLEAR,                   WHITE),
    (HALF_RED,                ROSE),
    (Colour(0, 0, 0, 128),    Colour(127, 127, 127)),
    (Colour(0, 0, 0, 1),      Colour(254, 254, 254)),
]

FILLS = [
    # alpha? steps                      to PNG                         to JPEG
    # 8.1: white; clear where the picture has alpha and the output holds it; bg-color overrides
    (False, [Pad(PAD)],                 [padded(WHITE)],               [padded(WHITE)]),
    (True,  [Pad(PAD)],                 [padded(CLEAR)],               [padded(WHITE), Under(WHITE)]),
    (True,  [Pad(PAD, RED)],            [padded(RED)],                 [padded(RED), Under(WHITE)]),
    (False, [Pad(PAD, HALF_RED)],       [padded(HALF_RED)],            [padded(ROSE)]),
    # 8.2: clear where the output holds alpha, white where not
    (False, [canvas()],                 [padded(CLEAR)],               [padded(WHITE)]),
    (True,  [canvas()],                 [padded(CLEAR)],               [padded(WHITE), Under(WHITE)]),
    (False, [canvas(RED)],              [padded(RED)],                 [padded(RED)]),
    # 8.3: a colour under the picture; with alpha it is mixed with white where the output holds none
    (True,  [Flatten(RED)],             [Under(RED)],                  [Under(RED)]),
    (True,  [Flatten(HALF_RED)],        [Under(HALF_RED)],             [Under(ROSE)]),
    (False, [Flatten(RED)],             [],                            []),
    (True,  [Flatten(CLEAR)],           [],                            [Under(WHITE)]),
    (True,  [],                         [],                            [Under(WHITE)]),
    (False, [canvas(), Flatten(RED)],   [padded(CLEAR), Under(RED)],   [padded(WHITE)]),
    # what was made clear is white before a tone meets it: brightness=-100 leaves no white edge
    (False, [canvas(), DARKEN],         [padded(CLEAR), DARK],         [padded(WHITE), DARK]),
    # O3: every pixel black or white, so nothing half clear is mixed after
    (True,  [Monochrome(THRESHOLD)],    [BlackWhite(THRESHOLD)],       [Under(WHITE), BlackWhite(THRESHOLD)]),
]
# fmt: on


@pytest.mark.parametrize(("colour", "seen"), MIXED)
def test_a_colour_on_white(colour: Colour, seen: Colour) -> None:
    assert on_white(colour) == seen


@pytest.mark.parametrize(("alpha", "steps", "on_png", "on_jpeg"), FILLS)
def test_fills(alpha: bool, steps: list[AnyStep], on_png: list[Op], on_jpeg: list[Op]) -> None:
    info = header(alpha=alpha)
    assert list(recipe_of(plan(*steps), info).ops) == on_png
    assert list(recipe_of(plan(*steps, choice=Choice(Format.JPEG)), info).ops) == on_jpeg
