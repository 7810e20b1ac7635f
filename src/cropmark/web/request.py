"""An HTTP request as the app needs it: read once, bounded, nothing decoded twice."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from cropmark.dialects.dialect import ImageRequest
from cropmark.model.problems import BadRequest
from cropmark.web.site import Site

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_TARGET = 8192
"""Bytes of path and query."""
MAX_HEADERS = 32_768
"""Bytes of all header names and values; the server itself bounds only its buffer."""

_run = secrets.token_hex(4)
_count = itertools.count(1)


class TargetTooLong(BadRequest):
    status, code = 414, "target_too_long"


class HeadersTooLarge(BadRequest):
    status, code = 431, "headers_too_large"


def request_id() -> str:
    """A new one: the run's random part, then a count."""
    return f"{_run}-{next(_count):08x}"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The headers of a request that may matter, as text; of a repeated one the last, Accept's joined."""

    host: str
    accept: str
    if_none_match: str
    if_modified_since: str
    others: tuple[tuple[str, str], ...]
    """Those that some dialect reads."""


def parse_headers(scope: Scope, read_by_dialects: frozenset[bytes]) -> RequestHeaders:
    """The request's headers. Raises HeadersTooLarge."""
    host = accept = none_match = modified_since = ""
    others: list[tuple[str, str]] = []
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"accept":
            text = value.decode("latin-1")
            accept = f"{accept},{text}" if accept else text
        elif name == b"host":
            host = value.decode("latin-1")
        elif name == b"if-none-match":
            none_match = value.decode("latin-1")
        elif name == b"if-modified-since":
            modified_since = value.decode("latin-1")
        elif name in read_by_dialects:
            others.append((name.decode("latin-1"), value.decode("latin-1")))
    if size > MAX_HEADERS:
        raise HeadersTooLarge(f"expected at most {MAX_HEADERS} bytes of headers, got {size}", fix="send fewer")
    return RequestHeaders(host, accept, none_match, modified_since, tuple(others))


async def hung_up(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def host_name(host: str) -> str:
    """The Host header without its port, in lower case."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and host.rsplit(":", 1)[-1].isdigit() else host
    return name.lower().rstrip(".")


def checked_target(raw_path: bytes, query: bytes) -> str:
    """The raw path as text. Raises a Problem for one that is too long or holds what no URL may."""
    if len(raw_path) + len(query) > MAX_TARGET:
        raise TargetTooLong(
            f"expected at most {MAX_TARGET} bytes of path and query, got {len(raw_path) + len(query)}",
            fix="shorten the query; send large pictures in a POST body",
        )
    if any(byte < 0x21 or byte == 0x7F for byte in raw_path + query):
        raise BadRequest("expected no blanks or control characters in the address", fix="percent-encode them")
    return raw_path.decode("latin-1")


def ask_of(site: Site, rest: str, query: bytes, heard: RequestHeaders, method: str) -> ImageRequest:
    """The request as the site's dialect sees it; `rest` is still encoded and is decoded here, once."""
    headers = {name: value for name, value in heard.others if name in site.dialect.headers}
    path = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
    text = query.decode("utf-8", "surrogateescape")
    return ImageRequest(path, text, {**headers, "accept": heard.accept}, method, site.prefix)
