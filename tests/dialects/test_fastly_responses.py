"""Fastly: the headers of its images, and its error messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import Headers, ImageRequest, Result
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.imageopto.problem_texts import MAX_HEADER_CHARS
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import (
    BadRequest,
    BadValue,
    BrokenEncoding,
    CropOutOfBounds,
    EmptyResult,
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
    UnknownEncoding,
    restored_problem,
)
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Order, RequestWarning

FASTLY = Fastly()
ORDER = Order((), None)
SOURCE = Info(Format.JPEG, Size(827, 788), 108501, orientation=6)


def made(**others: object) -> Result:
    return Result(bytes=13066, format=Format.WEBP, size=Size(300, 286), source=SOURCE, **others)  # type: ignore[arg-type]  # named fields of a fake


def test_the_info_of_a_rendered_image() -> None:
    assert FASTLY.image_headers(ORDER, made()) == (
        # The size going in is the stored one, before its Exif orientation.
        ("Fastly-IO-Info", "ifsz=108501 idim=827x788 ifmt=jpeg ofsz=13066 odim=300x286 ofmt=webp"),
        ("Fastly-Stats", "io=1"),
    )


# fmt: off
TROUBLES = [
    (Reason.DIMENSIONS,  "Image exceeds maximum dimensions"),
    (Reason.FRAMES,      "Image exceeds maximum dimensions"),
    (Reason.BYTES,       "Body exceeds maximum length"),
    (Reason.UNREADABLE,  "Image could not be parsed"),
    (Reason.UNSUPPORTED, "Not a supported image format"),
]
# fmt: on


def test_every_fallback_reason_has_its_message() -> None:
    assert {reason for reason, _ in TROUBLES} == {reason for reason in Reason if reason.is_failure}


@pytest.mark.parametrize(("reason", "words"), TROUBLES)
def test_an_unusable_source_says_why_and_has_no_info(reason: Reason, words: str) -> None:
    headers = FASTLY.image_headers(ORDER, made(original=reason.value, is_fallback=True))
    assert headers == (("Fastly-IO-Error", words),)


def test_an_original_that_was_smaller_has_its_info_and_no_error() -> None:
    names = [name for name, _ in FASTLY.image_headers(ORDER, made(original=Reason.NO_GAIN.value))]
    assert names == ["Fastly-IO-Info", "Fastly-Stats"]


def test_an_original_of_which_nothing_is_known_has_no_info() -> None:
    result = Result(bytes=9, format=None, size=None, source=None)
    assert FASTLY.image_headers(ORDER, result) == (("Fastly-Stats", "io=1"),)


def test_a_warning_that_begins_with_its_parameter_says_it_once() -> None:
    outside = made(warnings=(RequestWarning("crop", "crop region lies outside the image"),))
    assert FASTLY.image_headers(ORDER, outside)[-1] == ("Fastly-IO-Warning", "crop region lies outside the image")


def test_warnings_share_a_header_each_once() -> None:
    twice = (
        RequestWarning("crop", "is outside"),
        RequestWarning("fit", "fit: ignored"),
        RequestWarning("crop", "is outside"),
    )
    assert FASTLY.image_headers(ORDER, made(warnings=twice))[-1] == (
        "Fastly-IO-Warning",
        "crop: is outside; fit: ignored",
    )


def test_a_response_with_images_from_a_header_varies_by_it() -> None:
    laid = FASTLY.order(ImageRequest("a", headers={"x-fastly-imageopto-overlay": "overlay=/l.png"}))
    assert ("Vary", "x-fastly-imageopto-overlay") in FASTLY.image_headers(laid, made())
    montage = "width=9&height=9&layout=2a&images=/a;/b"
    mounted = FASTLY.order(ImageRequest("a", headers={"x-fastly-imageopto-montage": montage}))
    assert ("Vary", "x-fastly-imageopto-montage") in FASTLY.image_headers(mounted, made())


# ------------------------------------------------------------------------------------------------ refusals

OUT_OF_BOUNDS = "Invalid transformation for requested image: Invalid crop, region out of bounds"
OUTSIDE = CropOutOfBounds(Box(0, 0, 2000, 500), Size(1600, 900))

# fmt: off
REFUSALS = [
    # problem, status, how the body begins, Fastly-IO-Error
    (BadValue("crop", "16:0", expected="a ratio", fix="write 16:9"), 400,
        'Invalid value for parameter "crop": expected a ratio, got \'16:0\'\nFix: write 16:9\n',
        'Invalid value for parameter "crop": expected a ratio, got \'16:0\''),
    (OUTSIDE, 400,
        f"{OUT_OF_BOUNDS} ({OUTSIDE.detail})\nFix: use a smaller crop, move it inside, or add ,safe to clip it\n",
        f"{OUT_OF_BOUNDS} ({OUTSIDE.detail})"),
    (EmptyResult("trim: nothing", parameter="trim"), 400,
        "Invalid transformation for requested image: Invalid trim, nothing left",
        "Invalid transformation for requested image: Invalid trim, nothing left (nothing)"),
    (EmptyResult("nothing", parameter="trim-color"), 400,
        "Invalid transformation for requested image: Invalid trim-color, nothing left",
        "Invalid transformation for requested image: Invalid trim-color, nothing left (nothing)"),
    (OutputTooLarge("9000x9000"), 400,
        "Invalid transformation for requested image: Output exceeds maximum dimensions",
        "Invalid transformation for requested image: Output exceeds maximum dimensions (9000x9000)"),
    (BadRequest("the query is too long"), 400, "Invalid request: the query is too long",
        "Invalid request: the query is too long"),
    (SourceNotFound("no such image"),  404, "Not Found: no such image", "Invalid status"),
    (SourceFailed("it broke"),          502, "Bad Gateway: it broke", "Invalid status"),
    (SourceTimeout("too slow"),         504, "Gateway Timeout: too slow", "Invalid status"),
    (SourceTooLarge("60 MB"),           413, "Request Entity Too Large: 60 MB", "Body exceeds maximum length"),
    (SourceUnusable("broken"),          415, "Unsupported Media Type: broken", "Image could not be parsed"),
    (UnknownEncoding("packed"),         415, "Unsupported Media Type: packed", "Unsupported Content-Encoding"),
    (BrokenEncoding("packed"),          415, "Unsupported Media Type: packed", "Gzipped body could not be decoded"),
    (NotFound("nothing here"),          404, "Not Found: nothing here", None),
    (Overloaded("busy"),                503, "Service Unavailable: busy", None),
    (InternalError("our fault"),            500, "Internal Server Error: our fault", None),
]
# fmt: on


@pytest.mark.parametrize(("problem", "status", "body", "reason"), REFUSALS, ids=lambda value: type(value).__name__)
def test_a_problem_as_a_response(problem: Problem, status: int, body: str, reason: str | None) -> None:
    answer = FASTLY.error_response(problem, ImageRequest("a.png"))
    assert answer.status == status
    assert answer.media_type == "text/plain; charset=utf-8"
    assert answer.body.decode().startswith(body)
    assert ("Cache-Control", "no-store") in answer.headers
    assert dict(answer.headers).get("Fastly-IO-Error") == reason


def test_a_problem_from_a_renderer_has_the_same_response() -> None:
    copy = restored_problem(OUTSIDE.code, OUTSIDE.detail, OUTSIDE.fix, "crop")
    assert FASTLY.error_response(copy, ImageRequest("a")).body == FASTLY.error_response(OUTSIDE, ImageRequest("a")).body
    value = BadValue("crop", "x", expected="a ratio", fix="write 16:9")
    again = restored_problem(value.code, value.detail, value.fix, "crop")
    assert FASTLY.error_response(again, ImageRequest("a")).body == FASTLY.error_response(value, ImageRequest("a")).body


@pytest.mark.parametrize(("origin", "status"), [(403, 403), (410, 410), (302, 502), (799, 502), (None, 502)])
def test_an_origins_error_keeps_its_status(origin: int | None, status: int) -> None:
    problem = SourceFailed("the origin refused")
    problem.origin_status = origin
    assert FASTLY.error_response(problem, ImageRequest("a")).status == status


@pytest.mark.parametrize("accept", ["application/json", "text/html, application/problem+json;q=0.9"])
def test_json_if_the_client_accepts_it(accept: str) -> None:
    problem = BadValue("crop", "16:0", expected="a ratio", fix="write 16:9")
    answer = FASTLY.error_response(problem, ImageRequest("a", headers={"accept": accept}))
    assert answer.media_type == "application/problem+json"
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "Invalid value for parameter \"crop\": expected a ratio, got '16:0'",
        "code": "bad_value",
        "parameter": "crop",
        "fix": "write 16:9",
    }


@pytest.mark.parametrize("accept", ["", "*/*", "image/webp,*/*", "application/*", "application/json;q=0.0,*/*"])
def test_text_for_other_clients(accept: str) -> None:
    answer = FASTLY.error_response(BadRequest("no"), ImageRequest("a", headers={"accept": accept}))
    assert answer.media_type.startswith("text/plain")


def test_a_wrong_method_gets_the_allowed_ones() -> None:
    answer = FASTLY.error_response(MethodNotAllowed("PUT is not answered"), ImageRequest("a"))
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, "GET, HEAD, OPTIONS")


# ------------------------------------------------------------------------------------------------ laws


def assert_clean(headers: Headers) -> None:
    for name, value in headers:
        assert name.isascii()
        assert all(" " <= c <= "~" for c in value)
        assert len(value) <= MAX_HEADER_CHARS


@given(parameter=st.text(), text=st.text(), accept=st.sampled_from(["", "application/json"]))
def test_no_text_breaks_out_of_a_header(parameter: str, text: str, accept: str) -> None:
    assert_clean(FASTLY.image_headers(ORDER, made(warnings=(RequestWarning(parameter, text),))))
    for problem in (
        BadRequest(text),
        BadValue(parameter, text, expected="more"),
        EmptyResult(text, parameter=parameter),
    ):
        answer = FASTLY.error_response(problem, ImageRequest("a", headers={"accept": accept}))
        assert_clean(answer.headers)
        assert answer.body


def test_a_hostile_value_ends_up_cut_in_body_and_header() -> None:
    request = ImageRequest("a", "fit=1&format=%0d%0aSet-Cookie:%20x=1%0d%0a" + "A" * 5000)
    with pytest.raises(BadValue) as refused:
        FASTLY.order(request)
    answer = FASTLY.error_response(refused.value, request)
    assert_clean(answer.headers)
    assert len(answer.body) < 1000
    assert b"\r" not in answer.body
