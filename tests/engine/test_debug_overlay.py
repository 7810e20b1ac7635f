from __future__ import annotations

import numpy as np
import pytest

from cropmark.engine.debug_overlay import FACE_COLOR, LONG_SIDE, UNCERTAIN_FACE_COLOR, WINDOW_COLOR, draw_overlay
from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Box
from tests.engine.images import file_of, seen

NOTHING = SaliencyMap(2, 1, b"\x00\x00")
GRAY = file_of(np.full((100, 200, 3), 100, np.uint8))


def drawn(
    analysis: Analysis, window: Box | None = None, data: bytes = GRAY
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return seen(draw_overlay(data, analysis, window), "RGB")


def pixel(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], x: int, y: int) -> tuple[int, ...]:
    return tuple(int(part) for part in image[y, x])


def test_nothing_found_is_the_image_itself() -> None:
    assert np.all(drawn(Analysis(1, (), NOTHING, NOTHING)) == 100)


def test_a_face_is_a_box() -> None:
    sure, faint = Face(0.1, 0.2, 0.2, 0.4, 0.9), Face(0.6, 0.2, 0.2, 0.4, 0.7)
    image = drawn(Analysis(1, (sure, faint), NOTHING, NOTHING))
    assert pixel(image, 20, 20) == pixel(image, 59, 59) == FACE_COLOR
    assert pixel(image, 120, 20) == UNCERTAIN_FACE_COLOR
    assert pixel(image, 40, 40) == (100, 100, 100)


def test_a_face_may_reach_outside() -> None:
    image = drawn(Analysis(1, (Face(-0.1, -0.2, 0.3, 0.6, 0.9),), NOTHING, NOTHING))
    assert pixel(image, 39, 10) == FACE_COLOR


def test_the_map_is_a_tint() -> None:
    image = drawn(Analysis(1, (), SaliencyMap(2, 1, b"\x00\xff"), NOTHING))
    assert pixel(image, 5, 50) == (100, 100, 100)
    red, green, _ = pixel(image, 195, 50)
    assert red > 140
    assert green < 80


def test_outside_the_window_it_is_dark() -> None:
    image = drawn(Analysis(1, (), NOTHING, NOTHING), Box(50, 0, 100, 100))
    assert pixel(image, 50, 50) == pixel(image, 149, 99) == WINDOW_COLOR
    assert pixel(image, 100, 50) == (100, 100, 100)
    assert pixel(image, 10, 50) == (35, 35, 35)


def test_a_large_source_is_drawn_small_with_its_window_where_it_was() -> None:
    large = file_of(np.full((1000, 4000, 3), 100, np.uint8))
    image = drawn(Analysis(1, (), NOTHING, NOTHING), Box(1000, 0, 1000, 1000), large)
    assert image.shape == (LONG_SIDE // 4, LONG_SIDE, 3)
    assert pixel(image, 200, 100) == WINDOW_COLOR
    assert pixel(image, 190, 100) == (35, 35, 35)


def test_files_that_are_not_images_are_rejected() -> None:
    with pytest.raises(SourceUnusable):
        draw_overlay(b"nothing", Analysis(1, (), NOTHING, NOTHING))
