from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cropmark.analysis import models
from cropmark.analysis.saliency import (
    MAX_UNCERTAINTY,
    QUICK_SIDE,
    needs_closer_look,
    residual_map,
    run_subject_network,
    saliency_map,
    subject_map,
    uncertainty,
)
from cropmark.analysis.sessions import ModelSession, open_sessions
from cropmark.geometry.findings import SaliencyMap
from tests.analysis.corpus import annotated, pixels


@pytest.fixture(scope="module")
def network() -> ModelSession:
    return open_sessions(models.load_models()).subject


def cells(grid: SaliencyMap) -> NDArray[np.uint8]:
    return np.frombuffer(grid.cells, np.uint8).reshape(grid.rows, grid.columns)


def share_inside(grid: SaliencyMap, box: list[int], width: int, height: int) -> float:
    """The share of a map's values inside a box of the image."""
    down, across = np.mgrid[0 : grid.rows, 0 : grid.columns] + 0.5
    x, y = across / grid.columns * width, down / grid.rows * height
    inside = (x >= box[0]) & (x < box[0] + box[2]) & (y >= box[1]) & (y < box[1] + box[3])
    return float(cells(grid)[inside].sum() / cells(grid).sum())


# fmt: off
SUBJECTS = [
    # photograph              the least share of the map in the subject's box
    ("gc_penguin.jpg",        0.90),
    ("pk_yellow_car.jpg",     0.95),
    ("cv_notice_sign.jpg",    0.80),   # a sign with text
    ("skl_china.jpg",         0.90),
    ("gc_kangaroo.jpg",       0.75),
    ("mate_ladybird.jpg",     0.60),   # a tenth of the width: detected in the second run
    ("ski_rocket.jpg",        0.50),   # a twentieth
]
# fmt: on


@pytest.mark.parametrize(("name", "least"), SUBJECTS)
def test_the_map_covers_the_subject(network: ModelSession, name: str, least: float) -> None:
    report = annotated()[name]
    found = subject_map(network, pixels(name))
    assert share_inside(found, report["subject"], report["width"], report["height"]) >= least


def test_a_small_subject_is_detected_in_the_second_run(network: ModelSession) -> None:
    rgb = pixels("mate_ladybird.jpg")
    quick = run_subject_network(network, rgb, scale=QUICK_SIDE / 640)
    assert uncertainty(quick) > MAX_UNCERTAINTY
    assert cells(subject_map(network, rgb)).max() > 2 * 255 * gridded_max(quick, rgb)


def gridded_max(seen: NDArray[np.float32], rgb: NDArray[np.uint8]) -> float:
    return float(cells(saliency_map(seen, rgb.shape[1], rgb.shape[0])).max()) / 255


def test_a_clear_subject_needs_one_run(network: ModelSession) -> None:
    assert (
        uncertainty(run_subject_network(network, pixels("pk_yellow_car.jpg"), scale=QUICK_SIDE / 640))
        < MAX_UNCERTAINTY / 2
    )


# fmt: off
DOUBTS = [
    # a map of              uncertainty
    ([0.0, 0.0],            0.0),
    ([0.0, 1.0],            0.0),
    ([0.5, 0.5],            0.5),
    ([0.1, 0.1],            0.9),
    ([1.0, 0.5],            1 / 6),
]
# fmt: on


@pytest.mark.parametrize(("values", "expected"), DOUBTS)
def test_uncertainty_of_a_map(values: list[float], expected: float) -> None:
    assert uncertainty(np.array([values], np.float32)) == pytest.approx(expected)


# fmt: off
LOOKS = [
    # a map of                         says too little
    ([0.0, 0.0, 0.0, 1.0],             False),
    ([0.0, 0.0, 0.9, 0.9],             False),
    ([0.0, 0.0, 0.5, 0.8],             True),    # between yes and no
    ([1.0, 1.0, 1.0, 1.0],             True),    # everything is subject
    ([0.0, 1.0, 1.0, 1.0],             True),
]
# fmt: on


@pytest.mark.parametrize(("values", "told"), LOOKS)
def test_a_map_that_says_too_little_needs_a_closer_look(values: list[float], told: bool) -> None:
    assert needs_closer_look(np.array([values], np.float32)) is told


def with_square(left: int, top: int) -> NDArray[np.uint8]:
    """A white image of 120 x 240 px with a black square of 16 px."""
    rgb = np.full((120, 240, 3), 255, np.uint8)
    rgb[top : top + 16, left : left + 16] = 0
    return rgb


@pytest.mark.parametrize(("left", "top"), [(30, 20), (180, 50), (100, 90)])
def test_the_residual_is_greatest_where_a_lone_square_is(left: int, top: int) -> None:
    found = cells(residual_map(with_square(left, top)))
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    assert abs((column + 0.5) / found.shape[1] * 240 - (left + 8)) <= 12
    assert abs((row + 0.5) / found.shape[0] * 120 - (top + 8)) <= 12
    assert found.max() > 150


@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_color_leaves_no_residual(level: int) -> None:
    assert cells(residual_map(np.full((50, 90, 3), level, np.uint8))).max() == 0


# fmt: off
GRIDS = [
    # an image of    has a map of
    ((640, 480),     (32, 24)),
    ((480, 640),     (24, 32)),
    ((640, 640),     (32, 32)),
    ((640, 3),       (32, 1)),
    ((1, 1),         (32, 32)),
]
# fmt: on


@pytest.mark.parametrize(("size", "grid"), GRIDS)
def test_a_map_has_the_shape_of_its_image(size: tuple[int, int], grid: tuple[int, int]) -> None:
    found = saliency_map(np.full((64, 64), 0.5, np.float32), *size)
    assert (found.columns, found.rows) == grid
    assert set(found.cells) == {128}


@pytest.mark.parametrize("sides", [(1, 1), (3, 640), (640, 3)])
def test_images_of_unusual_sizes_raise_nothing(network: ModelSession, sides: tuple[int, int]) -> None:
    rgb = np.full((*sides, 3), 90, np.uint8)
    assert subject_map(network, rgb).columns >= 1
    assert residual_map(rgb).columns >= 1
