"""Kontent.ai's responses: headers of images, and Problems as JSON.

The service documents neither its response headers nor the bodies of its errors, so neither is imitated.
"""

from __future__ import annotations

from typing import Final

from cropmark.dialects.dialect import Headers, Response, Result
from cropmark.dialects.responses import ALLOW_ANY_ORIGIN, ORIGINAL_SENT, json_response, one_line, warning_headers
from cropmark.model.problems import MethodNotAllowed, Problem

METHODS: Final = ("GET", "HEAD")


def image_headers(result: Result) -> Headers:
    """The CORS header, and a header for each warning and hint."""
    fallback = (ORIGINAL_SENT,) if result.is_fallback else ()
    return (*ALLOW_ANY_ORIGIN, *warning_headers((*result.warnings, *fallback, *result.hints)))


def error_response(problem: Problem) -> Response:
    """The problem as `{"message": "…"}`, never cached."""
    headers = [*ALLOW_ANY_ORIGIN, ("Cache-Control", "no-store")]
    if isinstance(problem, MethodNotAllowed):
        headers.append(("Allow", ", ".join((*METHODS, "OPTIONS"))))
    if problem.retry_after_s is not None:
        headers.append(("Retry-After", str(problem.retry_after_s)))
    return json_response(problem.status, {"message": one_line(str(problem), 500)}, tuple(headers))
