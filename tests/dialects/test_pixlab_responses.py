"""PixLab's responses: JSON with a status from the service's list for every problem.

The tables follow https://pixlab.io/api.
"""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import Dialect, ImageRequest, Response, Result
from cropmark.dialects.pixlab import responses
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.model.formats import Format
from cropmark.model.problems import (
    PROBLEMS_BY_CODE,
    BadValue,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    SourceFailed,
    SourceForbidden,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    TooManyRequests,
    Unauthorized,
    Unprocessable,
    UnsupportedMediaType,
    restored_problem,
)
from cropmark.model.values import Box
from cropmark.plan.plan import RequestWarning
from tests.dialects.pixlab_requests import image_request

IMG = "https://pics.example/a.png"
DIGEST = "ab" * 32
PIXLAB = PixLab()


# ---------------------------------------------------------------------------------------------- answers


def told(answer: Response) -> dict[str, object]:
    """The members of a response, after the checks that apply to all responses."""
    assert answer.media_type == "application/json"  # exactly: the PHP client compares the whole value
    assert dict(answer.headers)["Access-Control-Allow-Origin"] == "*"
    assert dict(answer.headers)["Cache-Control"] == "no-store"
    members = json.loads(answer.body)
    assert isinstance(members, dict)
    assert members["status"] == answer.status
    return members


# fmt: off
STATUSES: list[tuple[Problem, int]] = [
    (BadValue("x", "wide", expected="a whole number"),      400),
    (Unprocessable("the crop is outside"),                   400),
    (SourceForbidden("169.254.169.254 is link-local"),        400),
    (SourceTooLarge("the file has 9 bytes"),                400),   # 413 is not on the service's list
    (Unauthorized("key: expected a key"),                   401),
    (NotFound("no such endpoint"),                          404),
    (SourceNotFound("the origin answered 410"),              404),
    (SourceFailed("the origin answered 500"),               404),
    (SourceTimeout("the origin 10.0.0.1 took 8 s"),         404),
    (MethodNotAllowed("expected GET"),                            405),
    (SourceUnusable("not a picture"),                       415),
    (UnsupportedMediaType("expected a body of JSON"),                415),
    (TooManyRequests("expected 60 a minute"),               429),
    (Overloaded("too much to do"),                          429),
    (InternalError("no face detector is installed"),            500),
]
# fmt: on


@pytest.mark.parametrize(("problem", "status"), STATUSES)
def test_a_problem_has_a_status_of_the_list(problem: Problem, status: int) -> None:
    members = told(PIXLAB.error_response(problem, image_request("crop", blob="true")))
    assert members == {"status": status, "error": members["error"]}
    assert members["error"]


@pytest.mark.parametrize(
    "problem", [SourceForbidden("10.0.0.1 is private"), SourceForbidden("port 6379", fix="try 80")]
)
def test_all_addresses_are_refused_in_the_same_words(problem: Problem) -> None:
    assert told(PIXLAB.error_response(problem, ImageRequest("crop")))["error"] == f"img: {responses.ADDRESS_FORBIDDEN}"


@pytest.mark.parametrize("kind", [SourceNotFound, SourceFailed, SourceTimeout])
def test_an_origins_response_is_not_passed_on(kind: type[Problem]) -> None:
    error = told(PIXLAB.error_response(kind("the origin said 418"), ImageRequest("crop")))["error"]
    assert error == f"img: {responses.IMAGE_UNAVAILABLE}"


def test_a_rate_limit_has_retry_after() -> None:
    soon, later = TooManyRequests("often", retry_after_s=7), TooManyRequests("often")
    assert [dict(PIXLAB.error_response(p, ImageRequest("crop")).headers)["Retry-After"] for p in (soon, later)] == [
        "7",
        "60",
    ]


@pytest.mark.parametrize("code", PROBLEMS_BY_CODE)
def test_every_problem_has_a_response(code: str) -> None:
    for detail in ("", " \n", "a\r\nb\x00c", "x" * 9999):
        answer = PIXLAB.error_response(restored_problem(code, detail), ImageRequest("no such endpoint"))
        error = told(answer)["error"]
        assert isinstance(error, str)
        assert error
        assert len(error) <= 500
        assert error.isprintable()


def test_success_has_both_links_and_the_id() -> None:
    members = told(responses.stored_response("http://m.example/a1.png", "https://m.example/a1.png", "a1"))
    assert members == {
        "status": 200,
        "link": "http://m.example/a1.png",
        "ssl_link": "https://m.example/a1.png",
        "id": "a1",
    }


def test_faces_are_numbered_from_the_largest() -> None:
    members = told(responses.faces_response([Box(5, 6, 7, 8), Box(164, 95, 145, 145)], count=False))
    assert members["faces"] == [
        {"face_id": 0, "left": 164, "top": 95, "width": 145, "height": 145},
        {"face_id": 1, "left": 5, "top": 6, "width": 7, "height": 8},
    ]


def test_no_face_is_an_empty_list() -> None:
    assert told(responses.faces_response([], count=False)) == {"status": 200, "faces": []}


def test_counted_faces_are_a_number() -> None:
    assert told(responses.faces_response([Box(0, 0, 1, 1)] * 3, count=True)) == {"status": 200, "faces": 3, "count": 3}


def test_deleted_is_only_a_status() -> None:
    assert told(responses.deleted_response()) == {"status": 200}


def test_a_browser_may_post_json_and_send_its_key_from_anywhere() -> None:
    answer = responses.preflight_response()
    assert (answer.status, answer.body) == (204, b"")
    assert dict(answer.headers) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Content-Type, WWW-Authenticate",
    }


def test_a_blob_has_a_file_name() -> None:
    assert responses.blob_headers("a1", Format.JPEG) == (("Content-Disposition", 'inline; filename="a1.jpg"'),)


def test_headers_of_an_image() -> None:
    result = Result(9, None, None, None, (RequestWarning("x", "1.5 counts as 1"),))
    headers = PIXLAB.image_headers(PIXLAB.order(image_request("resize", img=IMG, width=3)), result)
    assert headers == (("Access-Control-Allow-Origin", "*"), ("X-Cropmark-Warning", "x: 1.5 counts as 1"))


def test_it_is_a_dialect() -> None:
    dialect: Dialect = PIXLAB
    assert dialect.name == "pixlab"


# ---------------------------------------------------------------------------------------------- laws

TEXTS = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from([IMG, "YWJj", "data:image/png;base64,YQ", "ftp://x", "true", "0", "-3"]),
)
FIELDS = st.dictionaries(st.sampled_from([param.name for param in PixLab.params]), TEXTS, max_size=8)
PATHS = st.one_of(st.sampled_from([endpoint.value for endpoint in EndpointName]), st.text(max_size=9))


@given(
    path=PATHS,
    query=st.one_of(FIELDS.map(lambda f: urlencode(f, errors="replace")), st.text(max_size=80)),
    fields=FIELDS,
    method=st.sampled_from(["GET", "POST", "PUT"]),
)
def test_order_raises_only_problems_and_every_problem_has_a_response(
    path: str, query: str, fields: dict[str, str], method: str
) -> None:
    request = ImageRequest(path, query, method=method, fields=fields)
    try:
        assert PIXLAB.order(request).plan is not None
    except Problem as problem:
        told(PIXLAB.error_response(problem, request))
