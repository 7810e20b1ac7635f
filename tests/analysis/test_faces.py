from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cropmark.analysis import models
from cropmark.analysis.faces import detect_faces, detect_large_faces, merge_boxes, run_detector
from cropmark.analysis.sessions import ModelSession, open_sessions
from cropmark.geometry.findings import Face
from tests.analysis.corpus import annotated, pixels


@pytest.fixture(scope="module")
def network() -> ModelSession:
    return open_sessions(models.load_models()).face


def overlap(face: Face, box: list[int], width: int, height: int) -> float:
    """The area of the intersection as a share of the union."""
    left, top = face.left * width, face.top * height
    across = min(left + face.width * width, box[0] + box[2]) - max(left, box[0])
    down = min(top + face.height * height, box[1] + box[3]) - max(top, box[1])
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (face.width * width * face.height * height + box[2] * box[3] - shared)


WITH_FACES = [name for name, marked in annotated().items() if marked["faces"]]
WITHOUT_FACES = [name for name, marked in annotated().items() if not marked["faces"] and not marked["heads"]]


@pytest.mark.parametrize("name", WITH_FACES)
def test_every_main_face_of_a_photograph_is_detected(network: ModelSession, name: str) -> None:
    report = annotated()[name]
    found = [face for face in detect_faces(network, pixels(name)) if face.score >= 0.8]
    for box in report["faces"]:
        assert any(overlap(face, box, report["width"], report["height"]) > 0.5 for face in found), box


@pytest.mark.parametrize("name", WITHOUT_FACES)
def test_no_face_is_detected_in_photographs_without_faces(network: ModelSession, name: str) -> None:
    assert [face for face in detect_faces(network, pixels(name)) if face.score >= 0.8] == []


def test_a_face_that_fills_the_image_is_detected_once_in_the_small_copy(network: ModelSession) -> None:
    left, top, width, height = annotated()["kpa_qt_logo.jpg"]["faces"][1]
    around = pixels("kpa_qt_logo.jpg", long_side=800)[top - 20 : top + height + 20, left - 20 : left + width + 20]
    close = np.kron(around, np.ones((3, 3, 1), np.uint8))
    (large,) = detect_large_faces(network, close)
    assert len(run_detector(network, close)) == 1
    (face,) = detect_faces(network, close)
    assert face.top == pytest.approx(large[1] / close.shape[0], abs=1e-4)
    assert face.height > 0.75


def test_the_largest_face_is_first_and_inside_the_image(network: ModelSession) -> None:
    found = detect_faces(network, pixels("kpa_bar55.jpg"))
    areas = [face.width * face.height for face in found]
    assert areas == sorted(areas, reverse=True)
    assert len(found) >= 6


def test_a_mirrored_image_has_mirrored_faces(network: ModelSession) -> None:
    rgb = pixels("ski_astronaut.jpg")
    (face,) = detect_faces(network, rgb)
    (other,) = detect_faces(network, np.ascontiguousarray(rgb[:, ::-1]))
    assert 1 - other.left - other.width == pytest.approx(face.left, abs=0.02)
    assert other.top == pytest.approx(face.top, abs=0.02)


@pytest.mark.parametrize("sides", [(1, 1), (7, 640), (640, 7), (33, 65)])
def test_images_of_unusual_sizes_have_no_faces_and_raise_nothing(network: ModelSession, sides: tuple[int, int]) -> None:
    assert detect_faces(network, np.full((*sides, 3), 90, np.uint8)) == ()


def rows(*boxes: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, 5)


SMALL = (100.0, 100.0, 50.0, 50.0, 0.9)
AROUND = (60.0, 60.0, 300.0, 300.0, 0.8)
APART = (500.0, 100.0, 50.0, 50.0, 0.9)

# fmt: off
MERGED = [
    # full size            large faces      merged
    (rows(SMALL, APART),   rows(),          [SMALL, APART]),
    (rows(SMALL, APART),   rows(AROUND),    [APART, AROUND]),   # a part of the large face was detected as a face
    (rows(),               rows(AROUND),    [AROUND]),
    (rows(),               rows(),          []),
]
# fmt: on


@pytest.mark.parametrize(("boxes", "large", "kept"), MERGED)
def test_large_faces_replace_the_boxes_that_they_overlap(
    boxes: NDArray[np.float32], large: NDArray[np.float32], kept: list[tuple[float, ...]]
) -> None:
    np.testing.assert_allclose(merge_boxes(boxes, large), rows(*kept), rtol=1e-6)
