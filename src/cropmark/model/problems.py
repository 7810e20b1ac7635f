"""Problems: errors with their cause and fix. A dialect gives a Problem its own status, body and wording.

Problem
├── BadRequest               400  the request is invalid for every image
│   ├── BadValue                  one parameter's value: expected and received
│   └── UnsupportedMediaType 415  the type of the request's body
├── Forbidden                403  the caller lacks permission
│   ├── Unauthorized         401
│   ├── SignatureExpired     410
│   └── TooManyRequests      429
├── NotFound                 404  nothing at this URL
├── MethodNotAllowed         405
├── SourceProblem                 the source image is not available or not usable
│   ├── SourceNotFound       404
│   ├── SourceForbidden      400  an address that must not be fetched; one text for all rules
│   ├── SourceTooLarge       413
│   ├── SourceUnusable       415  broken, or an unsupported format
│   │   ├── UnknownEncoding       unsupported Content-Encoding
│   │   └── BrokenEncoding        Content-Encoding that cannot be decoded
│   ├── SourceFailed         502
│   └── SourceTimeout        504
├── Unprocessable            400  valid, but not possible for this image
│   ├── CropOutOfBounds
│   ├── EmptyResult
│   └── OutputTooLarge
├── Overloaded               503  retry later
├── DatabaseUnavailable      503  the state of an asset is not known
└── InternalError            500  a bug or failure of the server
"""

from __future__ import annotations

from typing import ClassVar

from cropmark.model.values import Box, Size


class Problem(Exception):
    """An error with its cause and fix.

    `detail` gives the expected and the received value, `fix` the text to write instead. `parameter` is the name of the
    parameter that caused the error, in the dialect's spelling. None of them contains a server path, key or internal
    address.
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
    """The request is invalid for every image."""

    status, code = 400, "bad_request"


class BadValue(BadRequest):
    """A parameter's value does not match its grammar or is out of range."""

    code = "bad_value"

    def __init__(self, parameter: str, text: str, *, expected: str, fix: str = "") -> None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(f"{parameter}: expected {expected}, got {shown!r}", fix=fix, parameter=parameter)
        self.expected = expected
        self.text = shown


class UnsupportedMediaType(BadRequest):
    """The media type of the request's body is not supported at this URL."""

    status, code = 415, "unsupported_media_type"


class Forbidden(Problem):
    """The caller lacks permission for this request."""

    status, code = 403, "forbidden"


class Unauthorized(Forbidden):
    """A key or token is missing or wrong."""

    status, code = 401, "unauthorized"


class SignatureExpired(Forbidden):
    """The time limit of a signed URL has passed."""

    status, code = 410, "signature_expired"


class TooManyRequests(Forbidden):
    """The caller exceeded a rate limit; `Retry-After` gives the time to wait."""

    status, code = 429, "too_many_requests"


class NotFound(Problem):
    """The server has nothing at this URL."""

    status, code = 404, "not_found"


class MethodNotAllowed(Problem):
    """The HTTP method is not supported at this URL."""

    status, code = 405, "method_not_allowed"


class SourceProblem(Problem):
    """The source image is not available or not usable."""

    status, code = 502, "source_problem"
    origin_status: int | None = None
    """The HTTP status that the source's origin returned, if any. Some dialects return the same status."""


class SourceNotFound(SourceProblem):
    """The source has nothing at the requested path or URL."""

    status, code = 404, "source_not_found"


class SourceForbidden(SourceProblem):
    """The image's URL must not be fetched; the message does not reveal which rule forbids it."""

    status, code = 400, "source_forbidden"


class SourceTooLarge(SourceProblem):
    """The source image exceeds a limit of bytes or pixels."""

    status, code = 413, "source_too_large"


class SourceUnusable(SourceProblem):
    """The source image is broken or in an unsupported format."""

    status, code = 415, "source_unusable"


class UnknownEncoding(SourceUnusable):
    """The origin sent the image with a Content-Encoding that is not supported."""

    code = "unknown_encoding"


class BrokenEncoding(SourceUnusable):
    """The origin sent the image with a Content-Encoding that cannot be decoded."""

    code = "broken_encoding"


class SourceFailed(SourceProblem):
    """The origin or the storage of the source failed."""

    status, code = 502, "source_failed"


class SourceTimeout(SourceProblem):
    """The origin of the source did not respond in time."""

    status, code = 504, "source_timeout"


class Unprocessable(Problem):
    """The request is valid but not possible for this image."""

    status, code = 400, "unprocessable"


class CropOutOfBounds(Unprocessable):
    """The box of a crop extends outside the image and must not be clipped."""

    code = "crop_out_of_bounds"

    def __init__(self, box: Box, frame: Size, *, parameter: str | None = None) -> None:
        super().__init__(
            f"the crop is {box}, the image is {frame}",
            fix="use a smaller crop, or move it inside",
            parameter=parameter,
        )


class EmptyResult(Unprocessable):
    """The trim would remove every pixel."""

    code = "empty_result"


class OutputTooLarge(Unprocessable):
    """The result would exceed a limit of its sides or pixels."""

    code = "output_too_large"


class Overloaded(Problem):
    """The server is overloaded; `Retry-After` gives the time to wait."""

    status, code = 503, "overloaded"


class DatabaseUnavailable(Problem):
    """The library's database does not respond; `Retry-After` gives the time to wait."""

    status, code = 503, "database_unavailable"


class InternalError(Problem):
    """Internal server error; details are in the server log."""

    status, code = 500, "internal_error"


def with_subclasses(kind: type[Problem]) -> list[type[Problem]]:
    """The class and all its subclasses that have been imported."""
    return [kind, *(found for child in kind.__subclasses__() for found in with_subclasses(child))]


PROBLEMS_BY_CODE: dict[str, type[Problem]] = {kind.code: kind for kind in with_subclasses(Problem)}
"""The Problems of this module by code. Renderers report only these; HTTP and the management API define others."""


def restored_problem(code: str, detail: str, fix: str = "", parameter: str | None = None) -> Problem:
    """Create the Problem that a renderer has reported with this code. An unknown code gives an InternalError."""
    kind = PROBLEMS_BY_CODE.get(code, InternalError)
    problem = kind.__new__(kind)
    Problem.__init__(problem, detail, fix=fix, parameter=parameter)
    return problem
