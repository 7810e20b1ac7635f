"""Contentstack's responses: headers of images, and Problems as the JSON of its APIs.

Source: https://www.contentstack.com/docs/headless-cms/contentstack-cdn-cache-management and the errors that its SDKs
read: https://github.com/contentstack/contentstack-management-javascript
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from cropmark.dialects.dialect import Headers, Response, Result
from cropmark.dialects.imageopto.problem_texts import fix_text, header_text, invalid_transformation, without_name
from cropmark.dialects.responses import ORIGINAL_SENT, one_line, warning_headers
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
class VendorStatus:
    """An HTTP status and the vendor's error number."""

    status: int
    error_code: int


StatusTable = tuple[tuple[type[Problem], VendorStatus], ...]
"""Statuses by class of Problem; the first matching row counts."""

# No public page documents 105, 145 and 162; they were observed in responses of the vendor's APIs.
UNAUTHORIZED: Final = VendorStatus(401, 105)
FORBIDDEN: Final = VendorStatus(403, 162)
RATE_LIMITED: Final = VendorStatus(429, 429)
NOT_FOUND_CODE: Final = 145

_STATUSES: Final[StatusTable] = (
    (SourceNotFound, VendorStatus(404, NOT_FOUND_CODE)),
    (NotFound, VendorStatus(404, NOT_FOUND_CODE)),
    (SourceTooLarge, VendorStatus(422, 422)),
    (SourceUnusable, VendorStatus(422, 422)),
    (Unauthorized, UNAUTHORIZED),
    (TooManyRequests, RATE_LIMITED),
    (SignatureExpired, VendorStatus(410, 410)),
    (Forbidden, FORBIDDEN),
)


def vendor_status(problem: Problem, statuses: StatusTable) -> VendorStatus:
    """The vendor's HTTP status and error number for a problem, from the first matching row of `statuses`.

    Without a matching row, both numbers are the problem's own status.
    """
    own = VendorStatus(problem.status, problem.status)
    return next((status for kind, status in statuses if isinstance(problem, kind)), own)


# ------------------------------------------------------------------------------------------------ images


def image_headers(result: Result) -> Headers:
    """The headers of an image response: X-Cache, X-Cropmark-Warning and others.

    X-Cropmark-Warning lists the parameters that have a warning. In development, each hint adds one more
    X-Cropmark-Warning header with its text.
    """
    return (
        ("Content-Disposition", "inline"),
        ("X-Cache", "HIT" if result.cached else "MISS"),
        ("X-Served-By", "cropmark"),
        *_warning((*result.warnings, *((ORIGINAL_SENT,) if result.is_fallback else ()))),
        *warning_headers(result.hints),
    )


def _warning(warnings: tuple[RequestWarning, ...]) -> Headers:
    names = dict.fromkeys(warning.parameter for warning in warnings)
    return (("X-Cropmark-Warning", header_text(", ".join(names))),) if names else ()


# ------------------------------------------------------------------------------------------------ problems


def error_response(problem: Problem) -> Response:
    """The problem as JSON: the message, the vendor's error number, and for the parameter the detail and fix."""
    vendor = vendor_status(problem, _STATUSES)
    members = {"error_message": _message(problem), "error_code": vendor.error_code, "errors": _errors(problem)}
    return Response(vendor.status, json.dumps(members).encode("ascii"), MEDIA_TYPE, _headers(problem))


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
    """The detail and the fix of a problem, under the name of its parameter.

    For a missing asset, the text is that of the vendor's APIs.
    """
    if isinstance(problem, SourceNotFound):
        return {"uid": ["is not valid."]}
    name = problem.parameter or _default_parameter(problem)
    if name is None:
        return {}
    lines = (without_name(problem.detail, name), fix_text(problem))
    return {name: [one_line(line, MAX_TEXT_CHARS) for line in lines if line]}


def _default_parameter(problem: Problem) -> str | None:
    match problem:
        case CropOutOfBounds():
            return "crop"
        case NotFound():
            return "uid"
        case Unprocessable() | BadRequest():
            return "query"
        case _:
            return None
