"""Problems: their texts, statuses and codes, and restoring them from a renderer's reply."""

from __future__ import annotations

import pytest

from cropmark.model.problems import (
    PROBLEMS_BY_CODE,
    BadRequest,
    BadValue,
    BrokenEncoding,
    CropOutOfBounds,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    SignatureExpired,
    SourceFailed,
    SourceNotFound,
    SourceProblem,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    TooManyRequests,
    Unauthorized,
    UnknownEncoding,
    Unprocessable,
    restored_problem,
)
from cropmark.model.values import Box, Size

# fmt: off
STATUSES = [
    (BadRequest, 400), (BadValue, 400), (Forbidden, 403), (Unauthorized, 401), (SignatureExpired, 410),
    (TooManyRequests, 429),
    (NotFound, 404), (MethodNotAllowed, 405), (SourceNotFound, 404), (SourceTooLarge, 413), (SourceUnusable, 415),
    (UnknownEncoding, 415), (BrokenEncoding, 415),
    (SourceFailed, 502), (SourceTimeout, 504), (Unprocessable, 400), (CropOutOfBounds, 400), (Overloaded, 503),
    (InternalError, 500),
]
# fmt: on


@pytest.mark.parametrize(("kind", "status"), STATUSES)
def test_the_status_of_a_problem_class(kind: type[Problem], status: int) -> None:
    assert kind.status == status


def test_a_bad_value_has_the_expected_and_the_received_value_and_a_fix() -> None:
    problem = BadValue("crop", "16:0", expected="a ratio of numbers above 0", fix="write crop=16:9")
    assert str(problem) == "crop: expected a ratio of numbers above 0, got '16:0' | fix: write crop=16:9"
    assert (problem.parameter, problem.detail, problem.fix) == (
        "crop",
        str(problem).partition(" |")[0],
        "write crop=16:9",
    )


def test_a_long_or_strange_value_is_shown_cut_and_escaped() -> None:
    problem = BadValue("crop", "\r\n" + "x" * 5000, expected="less")
    assert len(problem.detail) < 150
    assert "\n" not in problem.detail and "\r" not in problem.detail
    assert problem.text.endswith("...")


def test_a_crop_out_of_bounds_shows_both_boxes() -> None:
    problem = CropOutOfBounds(Box(800, 0, 300, 400), Size(1000, 500))
    assert problem.detail == "the crop is 300x400 at 800,0, the image is 1000x500"
    assert "clip" not in problem.fix  # not every dialect can clip


def test_the_text_of_a_problem_without_a_fix_is_its_detail() -> None:
    assert str(Problem("no such page")) == "no such page"
    assert Overloaded("busy", retry_after_s=2).retry_after_s == 2


def test_every_problem_class_has_its_own_code() -> None:
    assert {kind for kind, _ in STATUSES} <= set(PROBLEMS_BY_CODE.values())
    for code, kind in PROBLEMS_BY_CODE.items():
        assert kind.code == code
        assert 400 <= kind.status < 600
        assert vars(kind)["__doc__"], code  # docs/errors.md shows it


@pytest.mark.parametrize("code", PROBLEMS_BY_CODE)
def test_a_problem_is_restored_as_its_own_class(code: str) -> None:
    found = restored_problem(code, "detail", "fix", "crop")
    assert type(found) is PROBLEMS_BY_CODE[code]
    assert (found.detail, found.fix, found.parameter, found.retry_after_s) == ("detail", "fix", "crop", None)
    assert str(found) == "detail | fix: fix"
    assert not isinstance(found, SourceProblem) or found.origin_status is None


def test_an_unknown_code_is_an_internal_error() -> None:
    assert type(restored_problem("no_such_code", "what")) is InternalError
