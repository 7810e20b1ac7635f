"""The focal point: between the faces, else the middle of the subject."""

from __future__ import annotations

import pytest

from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.focal_point import focal_point
from cropmark.model.values import Size

EMPTY = SaliencyMap(4, 2, bytes(8))


def test_the_middle_of_a_face() -> None:
    analysis = Analysis(1, (Face(0.1, 0.2, 0.2, 0.2, 0.99),), EMPTY, EMPTY)
    assert focal_point(analysis, Size(400, 400)) == pytest.approx((0.2, 0.3))


def test_a_large_face_counts_more_than_a_small_one() -> None:
    faces = (Face(0.1, 0.3, 0.4, 0.4, 0.99), Face(0.8, 0.45, 0.1, 0.1, 0.99))
    point = focal_point(Analysis(1, faces, EMPTY, EMPTY), Size(400, 400))
    assert point is not None
    assert 0.3 < point[0] < 0.5


def test_without_a_face_the_middle_of_the_subject() -> None:
    subject = SaliencyMap(4, 2, bytes([0, 0, 0, 0, 0, 0, 0, 255]))
    assert focal_point(Analysis(1, (), subject, EMPTY), Size(400, 200)) == pytest.approx((0.875, 0.75))


def test_of_nothing_there_is_none() -> None:
    assert focal_point(Analysis(1, (), EMPTY, EMPTY), Size(400, 200)) is None
