"""Smart crops from the source's bytes to the window: analysis and resolve(), as a server runs them."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cropmark.analysis import models
from cropmark.analysis.models import Models
from cropmark.engine.analyze import analyze
from cropmark.engine.load import info_of
from cropmark.geometry.findings import Analysis, Findings
from cropmark.geometry.recipe import Extract, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.values import Box, Pixels, Ratio, Share
from cropmark.plan.plan import Plan
from cropmark.plan.steps import AnyStep, Crop, Edges, Fit, Focus, Offset, Orient, Orientation, Resize, TrimEdges
from tests.engine.images import file_of

PHOTOS = Path(__file__).parents[1] / "data" / "corpus" / "photos"
OWN_PHOTOS = Path(__file__).parents[1] / "data" / "photographs" / "photos"


@pytest.fixture(scope="module")
def networks() -> Models:
    return models.load_models()


def square() -> Crop:
    return Crop(shape=Ratio(Fraction(1), Fraction(1)), focus=Focus.SMART)


def framed(width: int, height: int, box: Box) -> bytes:
    """A red rectangle on white."""
    image = np.full((height, width, 3), 255, np.uint8)
    image[box.top : box.bottom, box.left : box.right] = (255, 0, 0)
    return file_of(image)


@cache
def analysis_of(data: bytes, networks: Models) -> Analysis:
    """The analysis of an image, which does not depend on the steps. A server stores it too."""
    return analyze(data, networks)


def recipe_of(data: bytes, networks: Models, *steps: AnyStep) -> Recipe:
    found = resolve(Plan(steps=steps), [info_of(data)], Findings(analysis=analysis_of(data, networks)))
    assert isinstance(found, Recipe)
    return found


def window_of(recipe: Recipe) -> Box:
    """The last cut's box, in the frame that it meets."""
    return [op.box for op in recipe.ops if isinstance(op, Extract)][-1]


# fmt: off
PATTERNS = [
    # a pattern of light and dark         with a period of
    ("squares",                           16),
    ("squares",                           20),
    ("squares",                           32),
    ("dots",                              24),
    ("dots",                              32),
    ("dots",                              48),
    ("rings",                             48),
]
# fmt: on


@pytest.mark.parametrize(("pattern", "period"), PATTERNS)
def test_a_small_object_on_a_pattern_is_inside_the_window(networks: Models, pattern: str, period: int) -> None:
    """The network says that the whole image is subject."""
    y, x = np.mgrid[:400, :640]
    from_center = np.hypot(x % period - period / 2, y % period - period / 2)
    light = {
        "squares": (x // period + y // period) % 2 == 1,
        "dots": from_center < period / 3,
        "rings": from_center // (period / 8) % 2 == 1,
    }[pattern]
    dark = (150, 160, 175) if pattern == "squares" else (90, 110, 140)
    image = np.where(light[:, :, None], (230, 226, 215), dark).astype(np.uint8)
    image[np.hypot(x - 560, y - 280) < 32] = (200, 30, 30)
    window = window_of(recipe_of(file_of(image), networks, square()))
    assert window.left + window.width >= 560 + 32


def test_a_tiny_person_in_a_landscape_is_inside_the_window(networks: Models) -> None:
    window = window_of(recipe_of((OWN_PHOTOS / "nu_cliff.jpg").read_bytes(), networks, square()))
    assert window.left <= 620
    assert window.right >= 652


THIRTY = TrimEdges(Edges(*(Share(Fraction(3, 10)),) * 4))

# fmt: off
FRAMED = [
    # image, the only thing in it                   before              a square that holds it starts at
    ((1200, 400, Box(900, 100, 200, 200)),            (),                 (700, 800)),
    ((1400, 400, Box(1050, 100, 200, 200)),           (),                 (850, 1000)),
    ((1400, 400, Box(100, 100, 200, 200)),            (),                 (0, 100)),
    ((400, 1200, Box(100, 900, 200, 200)),            (),                 (700, 800)),
    ((400, 1200, Box(100, 900, 200, 200)),            (Orient(Orientation.ROTATE_180),), (0, 100)),
    ((1200, 400, Box(100, 100, 200, 200)),            (Orient(Orientation.ROTATE_90),), (0, 100)),
]
# fmt: on


@pytest.mark.parametrize(("image", "before", "starts"), FRAMED)
def test_the_only_object_is_inside_the_window(
    networks: Models, image: tuple[int, int, Box], before: tuple[AnyStep, ...], starts: tuple[int, int]
) -> None:
    window = window_of(recipe_of(framed(*image), networks, *before, square()))
    start = max(window.left, window.top)
    assert (window.width, window.height) == (400, 400)
    assert starts[0] <= start <= starts[1]


def test_the_window_slides_inside_what_a_trim_left(networks: Models) -> None:
    recipe = recipe_of(framed(2000, 1000, Box(1250, 450, 100, 100)), networks, THIRTY, square())
    assert recipe.focus in ("subject", "residual")
    # The trim leaves 800x400 from 600,300, with the thing at 650..750: one cut of the source in the end.
    window = window_of(recipe)
    assert 950 <= window.left <= 1000
    assert (window.top, window.width, window.height) == (300, 400, 400)


def resized(width: int, height: int | None = None, fit: Fit = Fit.STRETCH, focus: Focus | None = None) -> Resize:
    tall = None if height is None else Pixels(Fraction(height))
    return Resize(width=Pixels(Fraction(width)), height=tall, fit=fit, focus=focus)


def test_eight_widths_of_a_srcset_show_the_same_window(networks: Models) -> None:
    data = (PHOTOS / "fa_sample3.jpg").read_bytes()
    widths = (120, 240, 320, 480, 640, 800, 960, 1100)
    found = {width: recipe_of(data, networks, square(), resized(width)) for width in widths}
    assert len({window_of(recipe) for recipe in found.values()}) == 1
    assert {recipe.size.width for recipe in found.values()} == set(widths)


def test_a_crop_and_a_covering_resize_of_one_shape_show_the_same_window(networks: Models) -> None:
    data = (PHOTOS / "fa_sample3.jpg").read_bytes()
    crop = window_of(recipe_of(data, networks, square()))
    first = recipe_of(data, networks, resized(300, 300, Fit.COVER, Focus.SMART)).ops[0]
    assert isinstance(first, Extract)
    assert abs(first.box.left - crop.left) <= 1
    assert first.box.height == crop.height


# fmt: off
TOLD = [
    # source                                              aspect   reported
    ("ski_astronaut.jpg",                                 (9, 16), "faces"),
    ("pk_yellow_car.jpg",                                 (1, 1),  "subject"),
    ("pk_yellow_car.jpg",                                 (3, 2),  "center (same shape)"),   # 1440x960 already is 3:2
    ("kpa_anne_helene.jpg",                               (16, 9), "faces"),
]
# fmt: on


@pytest.mark.parametrize(("name", "aspect", "reported"), TOLD)
def test_the_deciding_factor_is_reported(networks: Models, name: str, aspect: tuple[int, int], reported: str) -> None:
    shape = Ratio(Fraction(aspect[0]), Fraction(aspect[1]))
    crop = Crop(shape=shape, focus=Focus.SMART)
    assert recipe_of((PHOTOS / name).read_bytes(), networks, crop).focus == reported


def test_without_salience_the_requested_position_counts(networks: Models) -> None:
    flat = file_of(np.full((400, 1000, 3), 180, np.uint8))
    crop = Crop(shape=Ratio(Fraction(1), Fraction(1)), focus=Focus.SMART, x=Offset(Pixels(Fraction(30))))
    recipe = recipe_of(flat, networks, crop)
    assert window_of(recipe).left == 30
    assert recipe.focus == "position (nothing is salient)"
