"""What a caller is told went wrong. A Problem carries facts; a dialect gives it status, body and words of its own.

Problem
├── BadOrder            400  the request itself cannot be carried out, whatever the picture
│   ├── BadValue             one parameter's value: expected this, got that
│   └── UnknownBody     415  a body of a kind that is not read
├── Refused             403  the caller may not
│   ├── Unauthorized    401
│   ├── Expired         410
│   └── TooManyRequests 429
├── NotFound            404  no such address here
├── NotAllowed          405  the method
├── SourceProblem            the picture cannot be had or used
│   ├── SourceMissing   404
│   ├── SourceRefused   400  an address that may not be fetched; one text for all such
│   ├── SourceTooLarge  413
│   ├── SourceUnusable  415  broken, or of a kind that is not read
│   │   ├── UnknownEncoding  sent by a Content-Encoding that is not read
│   │   └── BrokenEncoding   sent by one that could not be undone
│   ├── SourceFailed    502
│   └── SourceTimeout   504
├── Impossible          400  well said, but not on this picture
│   ├── CropOutOfBounds
│   ├── NothingLeft
│   └── OutputTooLarge
├── Overloaded          503  come back later
└── Breakdown           500  our fault
"""

from __future__ import annotations

from typing import ClassVar

from cropmark.model.values import Box, Size


class Problem(Exception):
    """What went wrong and what to do about it.

    `detail` says what was expected and what came, `fix` what to write instead; `parameter` is the name in the
    dialect's spelling, where one parameter is to blame. None of them holds a path, a key or an address of ours.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "problem"

    def __init__(
        self, detail: str, *, fix: str = "", parameter: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix
        self.parameter = parameter
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.detail} | fix: {self.fix}" if self.fix else self.detail


class BadRequest(Problem):
    """The request cannot be carried out, whatever the picture."""

    status, code = 400, "bad_order"


class BadValue(BadRequest):
    """A parameter's value that does not match its grammar or lies out of its range."""

    code = "bad_value"

    def __init__(self, parameter: str, text: str, *, expected: str, fix: str = "") -> None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(f"{parameter}: expected {expected}, got {shown!r}", fix=fix, parameter=parameter)
        self.expected = expected
        self.text = shown


class UnsupportedMediaType(BadRequest):
    """A body of a kind that is not read here."""

    status, code = 415, "unknown_body"


class Forbidden(Problem):
    """The caller may not do this."""

    status, code = 403, "refused"


class Unauthorized(Forbidden):
    """A key or token is missing, or is not the right one."""

    status, code = 401, "unauthorized"


class SignatureExpired(Forbidden):
    """The signed URL held until a time that has passed."""

    status, code = 410, "expired"


class TooManyRequests(Forbidden):
    """The caller asked for more than its share, and may come back later."""

    status, code = 429, "too_many_requests"


class NotFound(Problem):
    """There is nothing at this address."""

    status, code = 404, "not_found"


class MethodNotAllowed(Problem):
    """A method that is not answered at this address."""

    status, code = 405, "method_not_allowed"


class SourceProblem(Problem):
    """The picture cannot be had, or cannot be used."""

    status, code = 502, "source_problem"
    origin_status: int | None = None
    """What the picture's own server answered, where it answered: some dialects keep the number (Fastly E1)."""


class SourceNotFound(SourceProblem):
    """There is no picture at the address that was named."""

    status, code = 404, "source_missing"


class SourceForbidden(SourceProblem):
    """An address that no picture may be fetched from; which rule it breaks is not told."""

    status, code = 400, "source_refused"


class SourceTooLarge(SourceProblem):
    """The picture has more bytes or pixels than are taken."""

    status, code = 413, "source_too_large"


class SourceUnusable(SourceProblem):
    """The picture is broken, or of a kind that is not read."""

    status, code = 415, "source_unusable"


class UnknownEncoding(SourceUnusable):
    """The picture's own server sent it by a Content-Encoding that is not read here."""

    code = "unknown_encoding"


class BrokenEncoding(SourceUnusable):
    """The picture's own server sent it by a Content-Encoding that could not be undone."""

    code = "broken_encoding"


class SourceFailed(SourceProblem):
    """The picture's own server, or what keeps it, gave none."""

    status, code = 502, "source_failed"


class SourceTimeout(SourceProblem):
    """The picture's own server took too long."""

    status, code = 504, "source_timeout"


class Unprocessable(Problem):
    """What is asked for cannot be done on this picture."""

    status, code = 400, "impossible"


class CropOutOfBounds(Unprocessable):
    """The box of a crop reaches outside the frame, and may not be clipped."""

    code = "crop_out_of_bounds"

    def __init__(self, box: Box, frame: Size, *, parameter: str | None = None) -> None:
        super().__init__(
            f"the crop keeps {box}, the picture there is {frame}",
            fix="ask for less, or move it inside",
            parameter=parameter,
        )


class EmptyResult(Unprocessable):
    """A trim that would remove every pixel."""

    code = "nothing_left"


class OutputTooLarge(Unprocessable):
    """The result would have more pixels than are made."""

    code = "output_too_large"


class Overloaded(Problem):
    """The server has more to do than it can; `Retry-After` says when to come back."""

    status, code = 503, "overloaded"


class InternalError(Problem):
    """The server's own fault, which its log tells more of."""

    status, code = 500, "breakdown"


def _all_kinds(kind: type[Problem]) -> list[type[Problem]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _all_kinds(child))]


KINDS: dict[str, type[Problem]] = {kind.code: kind for kind in _all_kinds(Problem)}


def restored_problem(code: str, detail: str, fix: str = "", parameter: str | None = None) -> Problem:
    """The Problem that a renderer told by its code; a Breakdown where no Problem has that code."""
    kind = KINDS.get(code, InternalError)
    problem = kind.__new__(kind)
    Problem.__init__(problem, detail, fix=fix, parameter=parameter)
    return problem
