"""Findings: borders and windows placed by content. And plans with several sources."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from cropmark.geometry.findings import Analysis, Face, FindBorder, Findings, SaliencyMap
from cropmark.geometry.recipe import Compose, Extract, Need, Scale, SolidColor
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format
from cropmark.model.problems import EmptyResult
from cropmark.model.values import CLEAR, WHITE, Box, Color, Size
from cropmark.plan.plan import EncodingChoice, TriState
from cropmark.plan.steps import (
    AnyStep,
    AutoColor,
    Blur,
    Cell,
    Focus,
    Montage,
    Orient,
    Orientation,
    TrimBorder,
    TrimEdges,
)
from tests.geometry.plans import COVER, area, at, edges, header, offset, plan, px, recipe_of, shape, shown, to

WIDE = Size(1000, 500)
LOOK = FindBorder(WHITE, Fraction(0))

# ------------------------------------------------------------------------------------------ borders


def test_a_border_is_requested_and_then_removed() -> None:
    order = plan(area(px(800), px(400), **at(px(0), px(0))), TrimBorder(WHITE), to(px(100)))
    assert resolve(order, [header(WIDE)]) == Need(LOOK, (Extract(Box(0, 0, 800, 400)),))
    recipe = recipe_of(order, header(WIDE), findings=Findings(borders=(Box(50, 60, 400, 200),)))
    assert recipe.ops == (Extract(Box(50, 60, 400, 200)), Scale(Size(100, 50)))


def test_each_border_is_requested_once() -> None:
    order = plan(TrimBorder(WHITE), Orient(Orientation.ROTATE_90), TrimBorder(AutoColor.TOP_LEFT, Fraction(1, 2)))
    first = Findings(borders=(Box(0, 0, 1000, 500),))  # an image without a border
    second = resolve(order, [header(WIDE)], first)
    assert isinstance(second, Need)
    assert second.search == FindBorder(AutoColor.TOP_LEFT, Fraction(1, 2))
    both = replace(first, borders=(*first.borders, Box(10, 20, 300, 400)))
    assert recipe_of(order, header(WIDE), findings=both).size == Size(300, 400)


def test_an_image_that_is_all_border_is_rejected() -> None:
    with pytest.raises(EmptyResult, match="trim-color: nothing is left") as caught:
        resolve(plan(TrimBorder(WHITE)), [header()], Findings(borders=(None,)))
    assert caught.value.parameter == "trim-color"


@pytest.mark.parametrize("encoded", [Format.PNG, Format.JPEG])
def test_a_border_search_does_not_depend_on_the_encoding(encoded: Format) -> None:
    order = plan(Blur(px(4)), TrimBorder(CLEAR), choice=EncodingChoice(encoded))
    found = resolve(order, [header(alpha=True)])
    assert isinstance(found, Need)
    assert found == resolve(plan(Blur(px(4)), TrimBorder(CLEAR)), [header(alpha=True)])


# ------------------------------------------------------------------------------------------ content

FLAT = SaliencyMap(4, 2, bytes(8))


def face_at(left: float, top: float) -> Analysis:
    """An image with one clear face, a fifth of its height."""
    return Analysis(1, (Face(left, top, 0.1, 0.2, 0.99),), FLAT, FLAT)


RIGHT_FACE = Findings(analysis=face_at(0.85, 0.3))
SQUARE = shape(1, 1, focus=Focus.SMART)
COVERING = to(px(100), px(100), **COVER, focus=Focus.SMART)

# fmt: off
PLACED = [
    # steps                                         size of the result
    ([SQUARE],                                      Size(500, 500)),
    ([COVERING],                                    Size(100, 100)),
    ([TrimEdges(edges(px(0), px(0), px(0), px(200))), SQUARE], Size(500, 500)),   # after a trim
    ([to(px(200)), SQUARE],                         Size(100, 100)),              # after scaling
    ([Orient(Orientation.ROTATE_90), SQUARE],       Size(500, 500)),  # after a rotation: the window moves down
    ([Orient(Orientation.FLIP_HORIZONTAL), SQUARE], Size(500, 500)),
]

OFF, NO_FACES = Findings(no_analysis_reason="off"), Findings(analysis=replace(face_at(0, 0), faces=()))

FALLEN_BACK = [
    # steps                                               findings    focus                          left
    ([SQUARE],                                            OFF,        "center (off)",                250),
    ([shape(1, 1, focus=Focus.SMART, **offset("x", "0"))], OFF,        "position (off)",              0),
    ([COVERING],                                          OFF,        "center (off)",                250),
    ([shape(202, 100, focus=Focus.SMART)],                RIGHT_FACE, "center (same shape)",         0),
    ([SQUARE],                                            NO_FACES,   "center (nothing is salient)", 250),
]
# fmt: on


@pytest.mark.parametrize(("steps", "size"), PLACED)
def test_the_content_places_the_window(steps: list[AnyStep], size: Size) -> None:
    recipe = recipe_of(plan(*steps), header(WIDE), findings=RIGHT_FACE)
    seen = shown(recipe.ops, WIDE)
    assert (recipe.size, recipe.focus) == (size, "faces")
    assert seen.left <= 850 < 950 <= seen.right
    assert seen.left > 250  # a centered window would cut the face


@pytest.mark.parametrize(("steps", "findings", "focus", "left"), FALLEN_BACK)
def test_the_fallback_if_the_content_decides_nothing(
    steps: list[AnyStep], findings: Findings, focus: str, left: int
) -> None:
    recipe = recipe_of(plan(*steps), header(WIDE), findings=findings)
    assert recipe.focus == focus
    assert shown(recipe.ops, WIDE).left == left


def test_without_a_smart_crop_there_is_no_focus() -> None:
    assert recipe_of(plan(shape(1, 1)), header(WIDE), findings=RIGHT_FACE).focus is None


def test_the_window_is_the_same_at_every_output_size() -> None:
    places = {
        shown(recipe_of(plan(SQUARE, to(px(side))), header(WIDE), findings=RIGHT_FACE).ops, WIDE).left
        for side in (10, 100, 333, 499)
    }
    assert len(places) == 1


# ------------------------------------------------------------------------------------------ montage

HALVES = (
    Cell(1, Fraction(0), Fraction(0), Fraction(1, 2), Fraction(1)),
    Cell(2, Fraction(1, 2), Fraction(0), Fraction(1), Fraction(1)),
)
RED = Color(255, 0, 0)


def montage(padding: int = 0, width: int = 401) -> Montage:
    return Montage(Size(width, 200), HALVES, padding=padding, color=RED)


def test_a_montage_fills_its_cells_from_their_centers() -> None:
    recipe = recipe_of(plan(montage()), header(), header(Size(800, 200)), header(Size(50, 100)))
    assert recipe.ops == (
        SolidColor(Size(401, 200), RED),
        Compose(1, (Extract(Box(300, 0, 201, 200)),), 0, 0),  # edges at round(401/2) = 201: not scaled
        Compose(2, (Extract(Box(0, 25, 50, 50)), Scale(Size(200, 200))), 201, 0),
    )


def test_source_rules_see_a_montage_as_a_plain_jpeg() -> None:
    choice = EncodingChoice(progressive=TriState.AS_SOURCE, lossless=TriState.AS_SOURCE)
    for source in (header(), header(kind=Format.WEBP, lossless=True), header(kind=Format.JPEG, progressive=True)):
        encoding = recipe_of(plan(montage(), choice=choice), source, header(), header()).encoding
        assert (encoding.format, encoding.progressive) == (Format.JPEG, False)


def test_padding_is_inside_each_cell() -> None:
    recipe = recipe_of(plan(montage(10, 400)), header(), header(Size(180, 180)), header(Size(90, 90)))
    assert [(op.left, op.top) for op in recipe.ops if isinstance(op, Compose)] == [(10, 10), (210, 10)]
    assert recipe.ops[-1] == Compose(2, (Scale(Size(180, 180)),), 210, 10)


def test_padding_that_leaves_nothing_has_a_warning() -> None:
    recipe = recipe_of(plan(montage(100)), header(), header(), header())
    assert recipe.ops == (SolidColor(Size(401, 200), RED),)
    assert "no pixel of image 1" in recipe.warnings[0].text


def test_an_unavailable_image_leaves_its_cell_empty() -> None:
    recipe = recipe_of(plan(montage()), header(), header(), None)
    assert [op.source for op in recipe.ops if isinstance(op, Compose)] == [1]


def test_an_unusable_image_has_a_warning() -> None:
    recipe = recipe_of(plan(montage()), header(), header(), header(kind=Format.SVG))
    assert recipe.warnings[0].text == "image 2 left out, svg images are not transformed here"


def test_a_montage_is_one_frame_and_has_no_content() -> None:
    order = plan(montage(), SQUARE)
    recipe = recipe_of(order, header(WIDE, Format.GIF, frames=9), header(), findings=RIGHT_FACE)
    assert (recipe.frames, recipe.focus) == (1, "center (a montage)")
