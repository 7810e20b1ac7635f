"""What a dialect is: a table of parameters, a reader of asks, and the words of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from cropmark.model.formats import Format, Info
from cropmark.model.problems import Problem
from cropmark.model.values import Size
from cropmark.plan.plan import Order, RequestWarning
from cropmark.plan.source import SourceRef


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request as a dialect sees it.

    `path` is decoded and has no leading slash; `query` is the raw text behind the first question mark, still encoded.
    `headers` holds those that the dialect reads (Dialect.headers, and accept), names in lower case. `base` is the
    URL path that the site is mounted at, for root-relative addresses inside parameters. `fields` are the parameters of
    a body (PixLab), as text; `upload` is the SHA-256 of a picture that came with it, which the front holds.
    """

    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    base: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    upload: str | None = None

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class ParameterDoc:
    """A row of a dialect's reference: what its documents and its JSON Schema are generated from."""

    name: str
    grammar: str
    """The values it takes, in the reference's words: `1..8192`, `WIDTH,HEIGHT | RATIO`."""
    default: str
    about: str
    example: str
    source: str
    """The page the rule was read on."""
    pattern: str = ""
    """A regular expression of the grammar for the JSON Schema; empty: any text."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an order, as far as an answer's headers may tell.

    For an original, `format` and `size` are the source's and `original` says in one word of ours why it goes out.
    """

    bytes: int
    format: Format | None
    size: Size | None
    source: Info | None
    warnings: tuple[RequestWarning, ...] = ()
    focus: str | None = None
    original: str | None = None
    cached: bool = False
    is_fallback: bool = False
    """The original goes out because the source could not be worked on."""


@dataclass(frozen=True, slots=True)
class Response:
    """A body of the dialect's own: an error, or JSON."""

    status: int
    body: bytes
    media_type: str
    headers: tuple[tuple[str, str], ...] = ()


Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DialectQuery:
    """A request as text: what stands behind the question mark, and what else is needed to say it.

    `endpoint` is the last segment of the path in a dialect that has some; `headers` of the request.
    """

    text: str
    endpoint: str = ""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Serialized:
    """Requests that ask for an Order's Steps. They differ in how the result is encoded only; the plainest comes first.

    They are proposals: whoever wants to know whether one means the same has the dialect read it.
    """

    queries: tuple[DialectQuery, ...]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Which Steps or parts of them a dialect has no words for, and why, a sentence each."""

    reasons: tuple[str, ...]


class Dialect(Protocol):
    """A vendor's URL syntax for images. Stateless: its settings are given to its constructor."""

    def __init__(self, settings: Any = ...) -> None: ...

    name: ClassVar[str]
    params: ClassVar[tuple[ParameterDoc, ...]]
    request_headers: ClassVar[tuple[str, ...]]
    """Request headers that it reads besides Accept, in lower case; part of the memo's key."""

    def order(self, request: ImageRequest) -> Order:
        """What the request asks for. Raises a Problem and nothing else, on any text."""
        ...

    def image_headers(self, order: Order, result: Result) -> Headers:
        """The headers that the dialect adds to a picture's answer."""
        ...

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        """The problem in the dialect's own status, body and words."""
        ...

    def serialize(self, order: Order) -> Serialized | Unsupported:
        """The same Order in this dialect's words. Raises nothing."""
        ...


__all__ = [
    "Dialect",
    "DialectQuery",
    "Headers",
    "ImageRequest",
    "ParameterDoc",
    "Response",
    "Result",
    "Serialized",
    "SourceRef",
    "Unsupported",
]
