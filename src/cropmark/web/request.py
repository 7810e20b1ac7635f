"""Reads an HTTP request: its headers, its URL, and whether its client disconnects.

Sizes are limited; nothing is decoded twice.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
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
"""Largest number of bytes of path and query together."""
MAX_ACCEPT = 4096
"""Number of characters of the Accept header that are read."""
MAX_HEADERS = 32_768
"""Largest number of bytes of all header names and values together; the HTTP server bounds only its buffer."""

WATCH_AFTER_S: Final = 0.05
"""Time after which the app begins to watch whether the client of a request disconnects."""

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
"""The media types in an Accept header that may change a response."""

_BLANK_OR_CONTROL: Final = re.compile(rb"[\x00-\x20\x7f]")

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
"""A registered name, an IPv4 or an IPv6 address, and a port. Source: https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2"""

_run = secrets.token_hex(4)
_count = itertools.count(1)


def _begin_run() -> None:
    """Give a forked process request ids that differ from those of its parent."""
    global _run  # noqa: PLW0603 - as the counter, one per process
    _run = secrets.token_hex(4)


os.register_at_fork(after_in_child=_begin_run)


class ClientDisconnected(Exception):
    """The client disconnected before its response was sent."""


class TargetTooLong(BadRequest):
    """The path and query of the URL are longer than 8192 bytes together."""

    status, code = 414, "target_too_long"


class HeadersTooLarge(BadRequest):
    """The names and values of the request headers are longer than 32768 bytes together."""

    status, code = 431, "headers_too_large"


def request_id() -> str:
    """A new request id: the random part that this process uses, then a counter."""
    return f"{_run}-{next(_count):08x}"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The request headers that affect the response.

    Repeated Accept headers are joined; of any other repeated header, the last one counts.
    """

    host: str
    accept: str
    if_none_match: str
    if_modified_since: str
    others: tuple[tuple[str, str], ...]
    """Names and values of the headers that some dialect or CORS policy reads."""


def parse_headers(scope: Scope, other_names: frozenset[bytes]) -> RequestHeaders:
    """Parse the headers of a request. Those named in `other_names` are returned in `others`.

    Raises HeadersTooLarge, and BadRequest if there is not exactly one Host header (none is allowed in HTTP/1.0).
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
    receive() is called only after WATCH_AFTER_S. Most responses are ready sooner, and the call would take a tenth of
    the time of a small cache miss.
    """
    task = asyncio.ensure_future(work)
    disconnected: asyncio.Future[None] | None = None
    try:
        await asyncio.wait({task}, timeout=WATCH_AFTER_S)
        if not task.done():
            disconnected = asyncio.ensure_future(wait_disconnect(receive))
            await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        if disconnected is not None:
            disconnected.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def wait_disconnect(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def check_host(host: str) -> None:
    """Raise BadRequest if a Host header is not a host with an optional port. An empty text is accepted, for HTTP/1.0.

    If the header is missing and the request has an absolute URL, the HTTP server puts the host of the URL in its place.
    Source: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    """
    if host and not _HOST.fullmatch(host):
        raise BadRequest("expected a host name or an address in the Host header", fix="send the host of the URL")


def checked_target(raw_path: bytes, query: bytes) -> str:
    """Check the path and query, and return the raw path as text.

    Raises TargetTooLong, and BadRequest for a blank or a control character.
    """
    if len(raw_path) + len(query) > MAX_TARGET:
        raise TargetTooLong(
            f"expected at most {MAX_TARGET} bytes of path and query, got {len(raw_path) + len(query)}",
            fix="shorten the query; send large images in a POST body",
        )
    if _BLANK_OR_CONTROL.search(raw_path) or _BLANK_OR_CONTROL.search(query):
        raise BadRequest("expected no blanks or control characters in the URL", fix="percent-encode them")
    return raw_path.decode("latin-1")


@lru_cache(512)
def canonical_accept(header: str) -> str:
    """The media types of an Accept header that can change a response, sorted.

    Clients write equivalent Accept headers in many ways. In this form they share one entry of the memo.
    """
    return ",".join(sorted(accepted_types(header) & _NEGOTIATED_TYPES))


def image_request(site: Site, rest: str, query: bytes, headers: RequestHeaders, scope: Scope) -> ImageRequest:
    """The request in the form that the site's dialect reads.

    `rest` is the path below the site's prefix, percent-encoded. `headers` must not contain a header that the site's
    access policy ignores.
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
