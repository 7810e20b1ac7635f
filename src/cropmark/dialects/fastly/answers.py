"""What Fastly's clients hear: Fastly-IO headers beside pictures, and problems in its words.

Source: https://www.fastly.com/documentation/reference/http/http-headers/Fastly-IO-Info, -Error, -Warning, Fastly-Stats
"""

from __future__ import annotations

import json
from http import HTTPStatus

from cropmark.dialects.answers import one_line
from cropmark.dialects.dialect import Answer, Ask, Headers, Result
from cropmark.plan.plan import Warned
from cropmark.problems import (
    BadOrder,
    BadValue,
    CropOutOfBounds,
    Impossible,
    NotAllowed,
    NothingLeft,
    OutputTooLarge,
    Problem,
    SourceFailed,
    SourceMissing,
    SourceProblem,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
)

MAX_HEADER_CHARS = 400

_KNOWN = frozenset(HTTPStatus)

_NOT_PARSED = "Image could not be parsed"
_NOT_SUPPORTED = "Not a supported image format"
_TOO_LARGE = "Image exceeds maximum dimensions"
_BODY_TOO_LARGE = "Body exceeds maximum length"
_BAD_STATUS = "Invalid status"

# By the reason for which an original goes out (Result.original). The list of words that Fastly publishes has none for
# too many frames; they are a dimension too.
_TROUBLES = {
    "dimensions": _TOO_LARGE,
    "frames": _TOO_LARGE,
    "bytes": _BODY_TOO_LARGE,
    "unreadable": _NOT_PARSED,
    "unsupported": _NOT_SUPPORTED,
}

_SOURCE_PROBLEMS: tuple[tuple[type[SourceProblem], str], ...] = (
    (SourceMissing, _BAD_STATUS),
    (SourceFailed, _BAD_STATUS),
    (SourceTimeout, _BAD_STATUS),
    (SourceTooLarge, _BODY_TOO_LARGE),
    (SourceUnusable, _NOT_PARSED),
)


# ------------------------------------------------------------------------------------------------ pictures


def picture_headers(result: Result) -> Headers:
    """Fastly-IO-Info and Fastly-Stats where the optimizer worked, Fastly-IO-Error where it could not, and warnings."""
    if result.trouble:
        reason = _TROUBLES.get(result.original or "", _NOT_PARSED)
        return (("Fastly-IO-Error", reason), *_warning(result.warnings))
    return (*_info(result), ("Fastly-Stats", "io=1"), *_warning(result.warnings))


def _info(result: Result) -> Headers:
    """``ifsz=108501 idim=827x788 ifmt=jpeg ofsz=13066 odim=300x286 ofmt=jpeg``: bytes, size and format, in and out.

    The size going in is that of the stored picture, before its Exif orientation.
    """
    source = result.source
    if source is None or result.size is None or result.format is None:
        return ()
    told = (
        f"ifsz={source.bytes} idim={source.stored} ifmt={source.format.value} "
        f"ofsz={result.bytes} odim={result.size} ofmt={result.format.value}"
    )
    return (("Fastly-IO-Info", told),)


def _warning(warnings: tuple[Warned, ...]) -> Headers:
    texts = dict.fromkeys(f"{warned.parameter}: {warned.text}" for warned in warnings)
    return (("Fastly-IO-Warning", _header("; ".join(texts))),) if texts else ()


def _header(text: str) -> str:
    """The text as a header value: one bounded line of visible ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in one_line(text, MAX_HEADER_CHARS))


# ------------------------------------------------------------------------------------------------ problems


def refusal(problem: Problem, ask: Ask) -> Answer:
    """The problem as plain text, or as problem+json (RFC 9457) where Accept asks for JSON; never cached."""
    line = _line(problem)
    headers: list[tuple[str, str]] = [("Cache-Control", "no-store")]
    if (reason := _reason(problem, line)) is not None:
        headers.append(("Fastly-IO-Error", _header(reason)))
    if isinstance(problem, NotAllowed):
        headers.append(("Allow", "GET, HEAD, OPTIONS"))
    if _wants_json(ask.accept):
        body = json.dumps(_members(problem, line)).encode("ascii")
        return Answer(_status(problem), body, "application/problem+json", tuple(headers))
    fix = _fix(problem)
    told = f"{line}\nFix: {fix}\n" if fix else f"{line}\n"
    return Answer(_status(problem), told.encode("utf-8", "replace"), "text/plain; charset=utf-8", tuple(headers))


def _status(problem: Problem) -> int:
    """The origin's own status where it refused or failed, else the problem's."""
    origin = problem.origin_status if isinstance(problem, SourceProblem) else None
    return origin if origin is not None and origin in _KNOWN and origin >= 400 else problem.status


def _line(problem: Problem) -> str:
    """What went wrong, in Fastly's words where it publishes any."""
    match problem:
        case BadValue(parameter=str(name)):
            return f'Invalid value for parameter "{name}": {problem.detail.removeprefix(f"{name}: ")}'
        case Impossible():
            return f"Invalid transformation for requested image: {_impossible(problem)} ({problem.detail})"
        case BadOrder():
            return f"Invalid request: {problem.detail}"
        case _:
            return f"{HTTPStatus(_status(problem)).phrase}: {problem.detail}"


def _impossible(problem: Impossible) -> str:
    match problem:
        case CropOutOfBounds():
            return "Invalid crop, region out of bounds"
        case NothingLeft():
            return f"Invalid {problem.parameter or 'trim'}, nothing left"
        case OutputTooLarge():
            return "Output exceeds maximum dimensions"
        case _:
            return "Invalid transformation"


def _fix(problem: Problem) -> str:
    """What to write instead, in this dialect's spelling."""
    outside = isinstance(problem, CropOutOfBounds)
    return "ask for less, move it inside, or add ,safe to clip it" if outside else problem.fix


def _reason(problem: Problem, line: str) -> str | None:
    """Fastly-IO-Error: why the optimizer did not do it; none where it was not even asked."""
    if isinstance(problem, BadOrder | Impossible):
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
        "fix": _fix(problem),
    }
    return {name: value for name, value in members.items() if value}


def _wants_json(accept: str) -> bool:
    """Whether Accept names JSON itself; wildcards do not, for every picture's request sends them."""
    names = (item.partition(";")[0].strip() for item in accept[:4096].lower().split(","))
    return any(name in ("application/json", "application/problem+json") for name in names)
