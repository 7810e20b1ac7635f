"""Fastly's responses: the Fastly-IO headers of images, and Problems in Fastly's words.

Source: https://www.fastly.com/documentation/reference/http/http-headers/Fastly-IO-Info, and the pages
Fastly-IO-Error, Fastly-IO-Warning and Fastly-Stats next to it
"""

from __future__ import annotations

import json
from http import HTTPStatus

from cropmark.dialects.dialect import Headers, ImageRequest, Response, Result
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, OVERLAY, OVERLAY_HEADER
from cropmark.dialects.imageopto.problem_texts import fix_text, header_text, invalid_transformation, without_name
from cropmark.model.formats import accepted_types
from cropmark.model.problems import (
    BadRequest,
    BadValue,
    BrokenEncoding,
    MethodNotAllowed,
    Problem,
    SourceFailed,
    SourceNotFound,
    SourceProblem,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    UnknownEncoding,
    Unprocessable,
)
from cropmark.plan.plan import Order, RequestWarning

_KNOWN = frozenset(HTTPStatus)

_NOT_PARSED = "Image could not be parsed"
_NOT_SUPPORTED = "Not a supported image format"
_TOO_LARGE = "Image exceeds maximum dimensions"
_BODY_TOO_LARGE = "Body exceeds maximum length"
_BAD_STATUS = "Invalid status"

# By the reason for sending the original (Result.original). The published list has no message for too many frames; they
# get the message for dimensions.
_FALLBACK_ERRORS = {
    "dimensions": _TOO_LARGE,
    "frames": _TOO_LARGE,
    "bytes": _BODY_TOO_LARGE,
    "unreadable": _NOT_PARSED,
    "unsupported": _NOT_SUPPORTED,
}

_SOURCE_PROBLEMS: tuple[tuple[type[SourceProblem], str], ...] = (
    (SourceNotFound, _BAD_STATUS),
    (SourceFailed, _BAD_STATUS),
    (SourceTimeout, _BAD_STATUS),
    (SourceTooLarge, _BODY_TOO_LARGE),
    (UnknownEncoding, "Unsupported Content-Encoding"),
    (BrokenEncoding, "Gzipped body could not be decoded"),
    (SourceUnusable, _NOT_PARSED),
)


# ------------------------------------------------------------------------------------------------ images


def image_headers(order: Order, result: Result) -> Headers:
    """The headers that Fastly adds to an image response.

    They are Fastly-IO-Info and Fastly-Stats; or Fastly-IO-Error if the original is sent because the source could not be
    processed. Fastly-IO-Warning and Vary follow if they are needed.
    """
    if result.is_fallback:
        reason = _FALLBACK_ERRORS.get(result.original or "", _NOT_PARSED)
        return (("Fastly-IO-Error", reason), *_warning(result), *_vary(order))
    return (*_info(result), ("Fastly-Stats", "io=1"), *_warning(result), *_vary(order))


def _vary(order: Order) -> Headers:
    """The header Vary with the name of the request header that added an overlay or a montage; else no header.

    It makes shared caches store one response for each value of that request header.
    """
    if len(order.sources) < 2:
        return ()
    is_overlay = order.sources[1].parameter == OVERLAY.name
    return (("Vary", OVERLAY_HEADER if is_overlay else MONTAGE_HEADER),)


def _info(result: Result) -> Headers:
    """The header Fastly-IO-Info: bytes, size and format of the source (`i…`) and of the result (`o…`).

    ``ifsz=108501 idim=827x788 ifmt=jpeg ofsz=13066 odim=300x286 ofmt=jpeg``

    The size of the source is that of the stored image, before its Exif orientation is applied.
    """
    source = result.source
    if source is None or result.size is None or result.format is None:
        return ()
    info = (
        f"ifsz={source.bytes} idim={source.stored_size} ifmt={source.format.value} "
        f"ofsz={result.bytes} odim={result.size} ofmt={result.format.value}"
    )
    return (("Fastly-IO-Info", info),)


def _warning(result: Result) -> Headers:
    texts = dict.fromkeys(map(_warning_text, (*result.warnings, *result.hints)))
    return (("Fastly-IO-Warning", header_text("; ".join(texts))),) if texts else ()


def _warning_text(warning: RequestWarning) -> str:
    """The warning as `parameter: text`; the text alone if it already begins with the parameter's name."""
    if warning.text.startswith(f"{warning.parameter} "):
        return warning.text
    return f"{warning.parameter}: {without_name(warning.text, warning.parameter)}"


# ------------------------------------------------------------------------------------------------ problems


def error_response(problem: Problem, request: ImageRequest) -> Response:
    """The problem as plain text, or as problem+json (RFC 9457) if Accept names JSON. The response is never cached."""
    line = _line(problem)
    headers: list[tuple[str, str]] = [("Cache-Control", "no-store")]
    if (reason := _reason(problem, line)) is not None:
        headers.append(("Fastly-IO-Error", header_text(reason)))
    if isinstance(problem, MethodNotAllowed):
        headers.append(("Allow", "GET, HEAD, OPTIONS"))
    if _wants_json(request.accept):
        body = json.dumps(_members(problem, line)).encode("ascii")
        return Response(_status(problem), body, "application/problem+json", tuple(headers))
    fix = fix_text(problem)
    text = f"{line}\nFix: {fix}\n" if fix else f"{line}\n"
    return Response(_status(problem), text.encode("utf-8", "replace"), "text/plain; charset=utf-8", tuple(headers))


def _status(problem: Problem) -> int:
    """The HTTP status: that of the origin if the origin responded with an error, else that of the problem."""
    origin = problem.origin_status if isinstance(problem, SourceProblem) else None
    return origin if origin is not None and origin in _KNOWN and origin >= 400 else problem.status


def _line(problem: Problem) -> str:
    """The message of the problem, in Fastly's words where Fastly publishes them."""
    match problem:
        case BadValue(parameter=str(name)):
            return f'Invalid value for parameter "{name}": {without_name(problem.detail, name)}'
        case Unprocessable():
            return f"{invalid_transformation(problem)} ({without_name(problem.detail, problem.parameter)})"
        case BadRequest():
            return f"Invalid request: {problem.detail}"
        case _:
            return f"{HTTPStatus(_status(problem)).phrase}: {problem.detail}"


def _reason(problem: Problem, line: str) -> str | None:
    """The value of the header Fastly-IO-Error; None if the problem does not concern the optimizer."""
    if isinstance(problem, BadRequest | Unprocessable):
        return line
    return next((words for kind, words in _SOURCE_PROBLEMS if isinstance(problem, kind)), None)


def _members(problem: Problem, line: str) -> dict[str, object]:
    members = {
        "type": "about:blank",
        "title": HTTPStatus(_status(problem)).phrase,
        "status": _status(problem),
        "detail": line,
        "code": problem.code,
        "parameter": problem.parameter,
        "fix": fix_text(problem),
    }
    return {name: value for name, value in members.items() if value}


def _wants_json(accept: str) -> bool:
    """True if Accept names JSON. Wildcards do not count, because every request for an image sends them."""
    return not accepted_types(accept).isdisjoint(("application/json", "application/problem+json"))
