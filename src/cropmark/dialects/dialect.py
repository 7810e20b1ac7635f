"""The interface of a dialect: its parameters, its requests, its responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from urllib.parse import quote

from cropmark.model.formats import Format, Info
from cropmark.model.problems import Problem
from cropmark.model.values import Size
from cropmark.plan.plan import Order, RequestWarning


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request as a dialect receives it: raw, below the mount of its site."""

    path: str
    """The decoded path below the mount, without a leading slash."""
    query: str = ""
    """The text after the first question mark, still encoded."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Accept and the headers in Dialect.request_headers, with lower-case names."""
    method: str = "GET"
    base: str = ""
    """The mount's path prefix, such as `/shop`; parameters may hold root-relative URLs that begin with it."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The parameters in a request body, as text (PixLab)."""
    upload: str | None = None
    """The SHA-256 of an image uploaded with the request; the front process holds its bytes."""
    raw_path: str | None = None
    """The path below the mount as the client sent it, still encoded; None if the request did not come by HTTP."""
    host_url: str = ""
    """The scheme and host that the client used, such as `https://images.example`; empty if unknown."""

    @property
    def encoded_path(self) -> str:
        """The path below the mount, percent-encoded: `raw_path` if it is known."""
        return quote(self.path, errors="surrogateescape") if self.raw_path is None else self.raw_path

    @property
    def mount_url(self) -> str:
        """The public URL of the mount without a trailing slash; only its path if the host is unknown."""
        return self.host_url + self.base

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class ParameterDoc:
    """The documentation of a parameter; documents and the JSON Schema are generated from it."""

    name: str
    grammar: str
    """The accepted values, in the notation of the reference: `1..8192`, `WIDTH,HEIGHT | RATIO`."""
    default: str
    about: str
    example: str
    source: str
    """The URL of the page that documents it."""
    pattern: str = ""
    """A regular expression for the JSON Schema; empty: any text."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of an order, for the headers of its response.

    For an original, `format` and `size` are the source's, and `original` gives the reason as one word.
    """

    bytes: int
    format: Format | None
    size: Size | None
    source: Info | None
    warnings: tuple[RequestWarning, ...] = ()
    hints: tuple[RequestWarning, ...] = ()
    """Probable mistakes in the request; empty in production."""
    focus: str | None = None
    original: str | None = None
    cached: bool = False
    is_fallback: bool = False
    """True if the original is sent because the source could not be processed."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response that the dialect makes: an error, JSON, or a redirect."""

    status: int
    body: bytes
    media_type: str
    headers: tuple[tuple[str, str], ...] = ()


Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DialectQuery:
    """A request as text: the query, and request headers if it needs any.

    `endpoint` is the last segment of the path in a dialect with endpoints.
    """

    text: str
    endpoint: str = ""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Serialized:
    """Candidate requests for an Order's Steps, the simplest first; they differ only in the encoding of the result.

    To check that a candidate is equivalent, parse it again with the same dialect.
    """

    queries: tuple[DialectQuery, ...]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The reasons why a dialect cannot express an Order, one sentence for each Step or field."""

    reasons: tuple[str, ...]


class Dialect(Protocol):
    """A vendor's URL syntax for images. Stateless: its settings are given to its constructor."""

    def __init__(self, settings: Any = ...) -> None: ...

    name: ClassVar[str]
    params: ClassVar[tuple[ParameterDoc, ...]]
    request_headers: ClassVar[tuple[str, ...]]
    """Request headers that it reads in addition to Accept, in lower case. Parsed orders are cached by them."""
    image_request_headers: ClassVar[tuple[str, ...]]
    """Those of `request_headers` that select the image or change it. A URL's signature does not cover them."""

    def order(self, request: ImageRequest) -> Order | Response:
        """The Order of a request, or a Response to return as it is, such as a redirect.

        Raises a Problem and nothing else, for any text.
        """
        ...

    def image_headers(self, order: Order, result: Result) -> Headers:
        """The headers that the dialect adds to an image response."""
        ...

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        """The problem with the vendor's status, body and words."""
        ...

    def serialize(self, order: Order) -> Serialized | Unsupported:
        """The Order as queries of this dialect. Raises nothing."""
        ...
