"""Contentstack: the headers of its images, and its JSON errors."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import ImageRequest, Result
from cropmark.model.problems import (
    BadRequest,
    BadValue,
    CropOutOfBounds,
    EmptyResult,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    OutputTooLarge,
    Overloaded,
    Problem,
    SourceFailed,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    TooManyRequests,
    Unauthorized,
    restored_problem,
)
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Order, RequestWarning

CONTENTSTACK = Contentstack()
ORDER = Order((), None)

INVALID = "Invalid transformation for requested image: "
OUTSIDE = CropOutOfBounds(Box(800, 0, 300, 400), Size(1000, 500))

# fmt: off
REFUSALS = [
    # problem                                             status  code  error_message                      errors of
    (BadValue("width", "0", expected="more", fix="write 1"), 400, 400, "width: expected more, got '0'",    "width"),
    (BadRequest("which one?", parameter="environment"),        400, 400, "which one?",                   "environment"),
    (BadRequest("the query is too long"),                      400, 400, "the query is too long",            "query"),
    (OUTSIDE,                              400, 400, INVALID + "Invalid crop, region out of bounds",       "crop"),
    (EmptyResult("all", parameter="trim"), 400, 400, INVALID + "Invalid trim, nothing left",               "trim"),
    (OutputTooLarge("an AVIF", parameter="format"), 400, 400, INVALID + "Output exceeds maximum dimensions", "format"),
    (SourceNotFound("none"),                404, 145, "Asset was not found.",                               "uid"),
    (NotFound("none", parameter="branch"), 404, 145, "Asset was not found.",                               "branch"),
    (NotFound("none"),                     404, 145, "Asset was not found.",                               "uid"),
    (Unauthorized("no token"),             401, 105, "no token",                                           None),
    (Forbidden("another environment"),       403, 162, "another environment",                                None),
    (MethodNotAllowed("PUT"),                    405, 405, "PUT",                                                None),
    (SourceTooLarge("12100 px wide"),      422, 422, "12100 px wide",                                      None),
    (SourceUnusable("broken"),             422, 422, "broken",                                             None),
    (TooManyRequests("80 a second"),       429, 429, "80 a second",                                        None),
    (InternalError("our fault"),               500, 500, "our fault",                                          None),
    (SourceFailed("origin"),               502, 502, "origin",                                             None),
    (Overloaded("busy"),                   503, 503, "busy",                                               None),
    (SourceTimeout("slow"),                504, 504, "slow",                                               None),
]
# fmt: on


@pytest.mark.parametrize(
    ("problem", "status", "code", "message", "named"), REFUSALS, ids=lambda value: type(value).__name__
)
def test_a_problem_as_a_response(problem: Problem, status: int, code: int, message: str, named: str | None) -> None:
    answer = CONTENTSTACK.error_response(problem, ImageRequest("a.png"))
    assert (answer.status, answer.media_type) == (status, "application/json; charset=utf-8")
    report = json.loads(answer.body)
    assert (report["error_message"], report["error_code"]) == (message, code)
    assert list(report["errors"]) == ([named] if named else [])
    assert ("Cache-Control", "no-store") in answer.headers


def test_an_error_has_detail_and_fix() -> None:
    value = BadValue("width", "0", expected="a length above 0", fix="leave it out")
    report = json.loads(CONTENTSTACK.error_response(value, ImageRequest("a")).body)
    assert report["errors"] == {"width": ["expected a length above 0, got '0'", "leave it out"]}
    crop = json.loads(CONTENTSTACK.error_response(OUTSIDE, ImageRequest("a")).body)
    assert crop["errors"]["crop"][0] == "the crop is 300x400 at 800,0, the image is 1000x500"
    assert ",safe" in crop["errors"]["crop"][1]
    missing = json.loads(CONTENTSTACK.error_response(SourceNotFound("none"), ImageRequest("a")).body)
    assert missing == {"error_message": "Asset was not found.", "error_code": 145, "errors": {"uid": ["is not valid."]}}


def test_a_problem_from_a_renderer_has_the_same_response() -> None:
    again = restored_problem(OUTSIDE.code, OUTSIDE.detail, OUTSIDE.fix, "crop")
    assert (
        CONTENTSTACK.error_response(again, ImageRequest("a")).body
        == CONTENTSTACK.error_response(OUTSIDE, ImageRequest("a")).body
    )


def test_a_rate_limit_has_retry_after() -> None:
    assert ("Retry-After", "1") in CONTENTSTACK.error_response(
        TooManyRequests("80 a second"), ImageRequest("a")
    ).headers
    later = TooManyRequests("80 a second", retry_after_s=7)
    assert ("Retry-After", "7") in CONTENTSTACK.error_response(later, ImageRequest("a")).headers
    assert ("Allow", "GET, HEAD, OPTIONS") in CONTENTSTACK.error_response(
        MethodNotAllowed("PUT"), ImageRequest("a")
    ).headers


def made(cached: bool, *warnings: RequestWarning) -> Result:
    return Result(bytes=9, format=None, size=None, source=None, warnings=warnings, cached=cached)


def test_the_headers_of_an_image() -> None:
    expected = (("Content-Disposition", "inline"), ("X-Cache", "HIT"), ("X-Served-By", "cropmark"))
    assert CONTENTSTACK.image_headers(ORDER, made(True)) == expected
    assert ("X-Cache", "MISS") in CONTENTSTACK.image_headers(ORDER, made(False))


def test_a_warning_names_its_parameters_each_once() -> None:
    odd = (RequestWarning("crop", "one"), RequestWarning("fit", "two"), RequestWarning("crop", "three"))
    assert CONTENTSTACK.image_headers(ORDER, made(True, *odd))[-1] == ("X-Cropmark-Warning", "crop, fit")


def test_a_fallback_to_the_original_is_a_warning() -> None:
    """HEIC, JPEG XL, TIFF and SVG are sent back as they are: no parameter had an effect."""
    unsupported = replace(made(True, RequestWarning("crop", "one")), original="unsupported", is_fallback=True)
    assert CONTENTSTACK.image_headers(ORDER, unsupported)[-1] == ("X-Cropmark-Warning", "crop, source")
    unchanged = replace(made(True), original="nothing_to_do")
    assert CONTENTSTACK.image_headers(ORDER, unchanged) == CONTENTSTACK.image_headers(ORDER, made(True))


@given(parameter=st.text(), text=st.text())
def test_no_text_breaks_out_of_a_header_or_the_json(parameter: str, text: str) -> None:
    for name, value in CONTENTSTACK.image_headers(ORDER, made(False, RequestWarning(parameter, text))):
        assert name.isascii()
        assert all(" " <= c <= "~" for c in value)
        assert len(value) <= 400
    for problem in (BadRequest(text), BadValue(parameter, text, expected="x"), EmptyResult(text, parameter=parameter)):
        assert set(json.loads(CONTENTSTACK.error_response(problem, ImageRequest("a")).body)) == {
            "error_message",
            "error_code",
            "errors",
        }
