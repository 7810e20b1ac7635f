"""PixLab's responses: JSON with the HTTP status as a member.

The media type is `application/json` without parameters. The PHP client compares the whole Content-Type, and treats
any other response as image bytes.
Source: https://github.com/symisc/pixlab-php, https://pixlab.io/api
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cropmark.dialects.dialect import Headers, ImageRequest, Response, Result
from cropmark.dialects.pixlab.endpoints import endpoint_of
from cropmark.dialects.responses import ALLOW_ANY_ORIGIN, json_response, one_line, warning_headers
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    SourceForbidden,
    SourceProblem,
    SourceTooLarge,
    SourceUnusable,
    TooManyRequests,
    Unprocessable,
    UnsupportedMediaType,
)
from cropmark.model.values import Box

# fmt: off
STATUSES: Final[tuple[tuple[type[Problem], int], ...]] = (
    # The first matching class counts. The service's list has no other codes (docs/decisions/0027).
    (TooManyRequests, 429),
    (Overloaded,      429),   # try again later
    (Forbidden,         401),
    (NotFound,        404),
    (MethodNotAllowed,      405),
    (UnsupportedMediaType,     415),
    (BadRequest,        400),
    (Unprocessable,      400),
    (SourceForbidden,   400),
    (SourceTooLarge,  400),
    (SourceUnusable,  415),
    (SourceProblem,   404),   # the image is not available
    (Problem,         500),
)
# fmt: on
ADDRESS_FORBIDDEN: Final = "the address may not be fetched; name an image by http or https on a public server"
"""The text for every forbidden address: different texts would let a caller explore the server's network."""
IMAGE_UNAVAILABLE: Final = "the image is not available at its address"
"""The text for every image that cannot be fetched: no part of an origin's response is returned."""
RETRY_AFTER_S: Final = 60
MAX_ERROR_CHARS: Final = 500

_JSON_HEADERS: Final[Headers] = (*ALLOW_ANY_ORIGIN, ("Cache-Control", "no-store"))


def stored_response(link: str, ssl_link: str, media_id: str) -> Response:
    """The response for a stored result: its link, its https link, and its id."""
    return _success({"status": 200, "link": link, "ssl_link": ssl_link, "id": media_id})


def faces_response(faces: Sequence[Box], *, count: bool) -> Response:
    """The response with the boxes of the faces, the largest first; with `count`, only their number.

    The boxes are in pixels of the upright image.
    """
    if count:
        return _success({"status": 200, "faces": len(faces), "count": len(faces)})
    largest_first = sorted(faces, key=lambda face: face.size.area, reverse=True)
    return _success({"status": 200, "faces": [_face(number, face) for number, face in enumerate(largest_first)]})


def _face(number: int, face: Box) -> dict[str, int]:
    return {"face_id": number, "left": face.left, "top": face.top, "width": face.width, "height": face.height}


def deleted_response() -> Response:
    """The response for a deleted result."""
    return _success({"status": 200})


def preflight_response() -> Response:
    """The response to a CORS preflight request."""
    allowed = (
        ("Access-Control-Allow-Methods", "GET, POST"),
        ("Access-Control-Allow-Headers", "Content-Type, WWW-Authenticate"),
    )
    return Response(204, b"", "text/plain", (*ALLOW_ANY_ORIGIN, *allowed))


def image_headers(result: Result) -> Headers:
    """The CORS header, and a header for each warning and hint."""
    return (*ALLOW_ANY_ORIGIN, *warning_headers((*result.warnings, *result.hints)))


def blob_headers(media_id: str, kind: Format) -> Headers:
    """The additional headers of a response that contains the image itself, because the request has `blob`."""
    return (("Content-Disposition", f'inline; filename="{media_id}.{TRAITS[kind].extension}"'),)


def error_response(problem: Problem, request: ImageRequest) -> Response:
    """The problem as JSON, `{"status": 400, "error": "…"}`, even if the request has `blob`."""
    status = status_of(problem)
    headers = list(_JSON_HEADERS)
    if status == 405:
        headers.append(("Allow", _allowed(request)))
    if status == 429:
        headers.append(("Retry-After", str(problem.retry_after_s or RETRY_AFTER_S)))
    return json_response(status, {"status": status, "error": error_text(problem)}, tuple(headers))


def status_of(problem: Problem) -> int:
    """The HTTP status of the problem, from the list of the statuses that the service documents."""
    return next(status for kind, status in STATUSES if isinstance(problem, kind))


def error_text(problem: Problem) -> str:
    """The problem in one sentence. It is never empty, because clients print it unchecked."""
    if isinstance(problem, SourceForbidden):
        return f"{problem.parameter or 'img'}: {ADDRESS_FORBIDDEN}"
    if isinstance(problem, SourceProblem) and not isinstance(problem, SourceTooLarge | SourceUnusable):
        return f"{problem.parameter or 'img'}: {IMAGE_UNAVAILABLE}"
    text = "; ".join(part for part in (problem.detail, problem.fix) if part.strip())
    return one_line(text, MAX_ERROR_CHARS) or "the request failed"


def _allowed(request: ImageRequest) -> str:
    try:
        methods = endpoint_of(request).methods
    except NotFound:
        methods = ("GET", "POST")
    return ", ".join((*methods, "OPTIONS"))


def _success(members: dict[str, object]) -> Response:
    return json_response(200, members, _JSON_HEADERS)
