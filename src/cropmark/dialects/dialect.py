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
    """A request for an image, as a dialect receives it.

    The path begins below the mount, which is the URL prefix of the site. The query is not parsed.
    """

    path: str
    """The decoded path below the mount, without a leading slash."""
    query: str = ""
    """The text after the first question mark, still encoded."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The Accept header and those in Dialect.request_headers, by their lower-case names."""
    method: str = "GET"
    base: str = ""
    """The mount's path prefix, such as `/shop`; parameters may hold root-relative URLs that begin with it."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The parameters in the request body, as text. Only PixLab has such parameters."""
    upload: str | None = None
    """The SHA-256 of an image uploaded with the request; the front process holds its bytes."""
    raw_path: str | None = None
    """The path below the mount as the client sent it, still encoded; None if the request did not come by HTTP."""
    host_url: str = ""
    """The scheme and host that the client used, such as `https://images.example`; empty if unknown."""

    @property
    def encoded_path(self) -> str:
        """The path below the mount, percent-encoded: `raw_path` if it is known, else the encoded `path`."""
        return quote(self.path, errors="surrogateescape") if self.raw_path is None else self.raw_path

    @property
    def mount_url(self) -> str:
        """The public URL of the mount without a trailing slash; only its path prefix if the host is unknown."""
        return self.host_url + self.base

    @property
    def accept(self) -> str:
        return self.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class ParameterDoc:
    """The documentation of a parameter. The reference pages and the JSON Schema are generated from it."""

    name: str
    grammar: str
    """The accepted values, in the notation of the reference: `1..8192`, `WIDTH,HEIGHT | RATIO`."""
    default: str
    about: str
    example: str
    source: str
    """The URL of the vendor's page that documents the parameter."""
    pattern: str = ""
    """A regular expression for the JSON Schema; empty if the schema accepts any text."""


@dataclass(frozen=True, slots=True)
class Result:
    """The facts about the result of an Order that a dialect needs for the response headers.

    If the original is sent unchanged, `format` and `size` are those of the source, and `original` is the reason, as one
    word.
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
    """A request that a dialect has written for an Order: the text of the query, and the request headers.

    `endpoint` is the last segment of the request's path. It is empty in a dialect without endpoints.
    """

    text: str
    endpoint: str = ""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Serialized:
    """The requests that may express an Order, the simplest first. They differ only in the encoding of the result.

    To check that a request is equivalent to the Order, parse it with the same dialect and compare.
    """

    queries: tuple[DialectQuery, ...]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The reasons why a dialect cannot express an Order, one sentence for each Step or field."""

    reasons: tuple[str, ...]


class Dialect(Protocol):
    """A vendor's URL syntax for images, and the form of its responses.

    A dialect has no state except the settings that its constructor receives.
    """

    def __init__(self, settings: Any = ...) -> None: ...

    name: ClassVar[str]
    params: ClassVar[tuple[ParameterDoc, ...]]
    request_headers: ClassVar[tuple[str, ...]]
    """The request headers that the dialect reads in addition to Accept, in lower case. Their values are part of the key
    under which a parsed Order is cached."""
    image_request_headers: ClassVar[tuple[str, ...]]
    """The `request_headers` that select the image or change it. A URL's signature does not cover these headers."""

    def order(self, request: ImageRequest) -> Order | Response:
        """Parse a request into an Order, or into a Response that is sent as it is, such as a redirect.

        For any request, however malformed, it raises a Problem and no other exception.
        """
        ...

    def image_headers(self, order: Order, result: Result) -> Headers:
        """The headers that the dialect adds to an image response."""
        ...

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        """The response for a Problem, with the status, body and words of the vendor."""
        ...

    def serialize(self, order: Order) -> Serialized | Unsupported:
        """The Order as requests of this dialect, or the reasons why the dialect cannot express it. Raises nothing."""
        ...
