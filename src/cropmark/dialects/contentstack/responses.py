"""What Contentstack's clients hear: headers beside pictures, and problems as its APIs' JSON.

Source: https://www.contentstack.com/docs/headless-cms/contentstack-cdn-cache-management and the errors that its SDKs
read: https://github.com/contentstack/contentstack-management-javascript
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cropmark.dialects.dialect import Headers, Response, Result
from cropmark.dialects.imageopto.problem_texts import fix_text, header_text, invalid_transformation, without_name
from cropmark.dialects.responses import one_line
from cropmark.model.problems import (
    BadRequest,
    CropOutOfBounds,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Problem,
    SignatureExpired,
    SourceNotFound,
    SourceTooLarge,
    SourceUnusable,
    TooManyRequests,
    Unauthorized,
    Unprocessable,
)
from cropmark.plan.plan import RequestWarning

MAX_TEXT_CHARS = 400
MEDIA_TYPE = "application/json; charset=utf-8"
_NOT_FOUND = "Asset was not found."


@dataclass(frozen=True, slots=True)
class _VendorStatus:
    """A problem's status and the vendor's number for it."""

    status: int
    error_code: int


# The first row that fits is taken. 105, 145 and 162 are recollected from the original; no page that was found has them.
_TOLD: tuple[tuple[type[Problem], _VendorStatus], ...] = (
    (SourceNotFound, _VendorStatus(404, 145)),
    (NotFound, _VendorStatus(404, 145)),
    (SourceTooLarge, _VendorStatus(422, 422)),
    (SourceUnusable, _VendorStatus(422, 422)),
    (Unauthorized, _VendorStatus(401, 105)),
    (TooManyRequests, _VendorStatus(429, 429)),
    (SignatureExpired, _VendorStatus(410, 410)),
    (Forbidden, _VendorStatus(403, 162)),
)


# ------------------------------------------------------------------------------------------------ pictures


def image_headers(result: Result) -> Headers:
    """X-Cache and its companions; X-Cropmark-Warning names the parameters that something was odd about."""
    return (
        ("Content-Disposition", "inline"),
        ("X-Cache", "HIT" if result.cached else "MISS"),
        ("X-Served-By", "cropmark"),
        *_warning(result.warnings),
    )


def _warning(warnings: tuple[RequestWarning, ...]) -> Headers:
    names = dict.fromkeys(warned.parameter for warned in warnings)
    return (("X-Cropmark-Warning", header_text(", ".join(names))),) if names else ()


# ------------------------------------------------------------------------------------------------ problems


def error_response(problem: Problem) -> Response:
    """The problem as JSON: a message, the vendor's number, and by the parameter what is wrong and the mend."""
    told = next(
        (told for kind, told in _TOLD if isinstance(problem, kind)), _VendorStatus(problem.status, problem.status)
    )
    members = {"error_message": _message(problem), "error_code": told.error_code, "errors": _errors(problem)}
    return Response(told.status, json.dumps(members).encode("ascii"), MEDIA_TYPE, _headers(problem))


def _headers(problem: Problem) -> Headers:
    headers = [("Cache-Control", "no-store")]
    if isinstance(problem, TooManyRequests):
        headers.append(("Retry-After", str(problem.retry_after_s or 1)))
    if isinstance(problem, MethodNotAllowed):
        headers.append(("Allow", "GET, HEAD, OPTIONS"))
    return tuple(headers)


def _message(problem: Problem) -> str:
    match problem:
        case SourceNotFound() | NotFound():
            return _NOT_FOUND
        case Unprocessable():
            return invalid_transformation(problem)
        case _:
            return one_line(problem.detail, MAX_TEXT_CHARS)


def _errors(problem: Problem) -> dict[str, list[str]]:
    """What is wrong and the mend, by the parameter; a missing asset is told as its APIs do."""
    if isinstance(problem, SourceNotFound):
        return {"uid": ["is not valid."]}
    name = problem.parameter or _by_kind(problem)
    if name is None:
        return {}
    lines = (without_name(problem.detail, name), fix_text(problem))
    return {name: [one_line(line, MAX_TEXT_CHARS) for line in lines if line]}


def _by_kind(problem: Problem) -> str | None:
    match problem:
        case CropOutOfBounds():
            return "crop"
        case NotFound():
            return "uid"
        case Unprocessable() | BadRequest():
            return "query"
        case _:
            return None
