"""Reading an HTTP request: headers, URL, and the client's disconnect. Sizes are bounded; nothing is decoded twice."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from cropmark.dialects.dialect import ImageRequest
from cropmark.model.formats import TRAITS, accepted_types
from cropmark.model.problems import BadRequest
from cropmark.web.site import Site

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_TARGET = 8192
"""Bytes of path and query."""
MAX_ACCEPT = 4096
"""Characters of Accept that are read."""
MAX_HEADERS = 32_768
"""Bytes of all header names and values; the server itself bounds only its buffer."""

CLIENT_CLOSED_REQUEST = 499
"""The status logged for a client that disconnected before its response; nothing is sent."""

T = TypeVar("T")

_NEGOTIATED_TYPES: Final = frozenset(traits.media_type for traits in TRAITS.values()) | {
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "image/*",
    "text/html",
    "*/*",
}
"""The media types that a response may be chosen by."""

_run = secrets.token_hex(4)
_count = itertools.count(1)


class ClientDisconnected(Exception):
    """The client disconnected before its response was sent."""


class TargetTooLong(BadRequest):
    status, code = 414, "target_too_long"


class HeadersTooLarge(BadRequest):
    status, code = 431, "headers_too_large"


def request_id() -> str:
    """A new request id: a random part for this process, then a counter."""
    return f"{_run}-{next(_count):08x}"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The request headers that select a response. Repeated Accept headers are joined; otherwise the last one counts."""

    host: str
    accept: str
    if_none_match: str
    if_modified_since: str
    others: tuple[tuple[str, str], ...]
    """Names and values of the headers that some dialect or CORS policy reads."""


def parse_headers(scope: Scope, other_names: frozenset[bytes]) -> RequestHeaders:
    """The request's headers, with those in `other_names` as `others`. Raises HeadersTooLarge and BadRequest.

    Source: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    """
    host = accept = none_match = modified_since = ""
    hosts = 0
    others: list[tuple[str, str]] = []
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        match name:  # not a dict of names: on the path of a memory hit it takes 3 to 25 % longer
            case b"accept":
                text = value.decode("latin-1")
                accept = f"{accept},{text}" if accept else text
            case b"host":
                host = value.decode("latin-1")
                hosts += 1
            case b"if-none-match":
                none_match = value.decode("latin-1")
            case b"if-modified-since":
                modified_since = value.decode("latin-1")
            case _ if name in other_names:
                others.append((name.decode("latin-1"), value.decode("latin-1")))
            case _:
                pass
    if size > MAX_HEADERS:
        raise HeadersTooLarge(f"expected at most {MAX_HEADERS} bytes of headers, got {size}", fix="send fewer")
    if hosts > 1 or (not host and scope.get("http_version") == "1.1"):
        raise BadRequest("expected one Host header", fix="send the Host header once")
    accept = canonical_accept(accept[:MAX_ACCEPT]) if accept else ""
    return RequestHeaders(host, accept, none_match, modified_since, tuple(others))


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Cancels it and raises ClientDisconnected if the client disconnects first.

    The HTTP server does not cancel the app when a client disconnects; it only reports the disconnect to receive().
    """
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(wait_disconnect(receive))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        disconnected.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def wait_disconnect(receive: Receive) -> None:
    """Returns when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def checked_target(raw_path: bytes, query: bytes) -> str:
    """The raw path as text. Raises TargetTooLong, and BadRequest for a blank or a control character."""
    if len(raw_path) + len(query) > MAX_TARGET:
        raise TargetTooLong(
            f"expected at most {MAX_TARGET} bytes of path and query, got {len(raw_path) + len(query)}",
            fix="shorten the query; send large images in a POST body",
        )
    if any(byte < 0x21 or byte == 0x7F for byte in raw_path + query):
        raise BadRequest("expected no blanks or control characters in the URL", fix="percent-encode them")
    return raw_path.decode("latin-1")


@lru_cache(512)
def canonical_accept(header: str) -> str:
    """The media types of an Accept header that a dialect may read, sorted.

    Browsers, bots and attackers send many spellings of few meanings: the memo holds one order for each meaning.
    """
    return ",".join(sorted(accepted_types(header) & _NEGOTIATED_TYPES))


def image_request(site: Site, rest: str, query: bytes, headers: RequestHeaders, scope: Scope) -> ImageRequest:
    """The request that the site's dialect reads. `rest`, the path below the site's prefix, is percent-decoded here.

    `headers` holds no header that the site's access policy ignores.
    """
    read_by_dialect = {name: value for name, value in headers.others if name in site.dialect.request_headers}
    path = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
    text = query.decode("utf-8", "surrogateescape")
    return ImageRequest(
        path,
        text,
        {**read_by_dialect, "accept": headers.accept},
        scope["method"],
        site.prefix,
        raw_path=rest,
        host_url=f"{scope.get('scheme', 'http')}://{headers.host}" if headers.host else "",
    )
