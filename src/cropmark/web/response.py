"""What goes out for a picture: headers from the record, conditionals, bodies in pieces, errors in the dialect's way."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from cropmark.dialects.dialect import Dialect, ImageRequest, Response, Result
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order
from cropmark.plan.source import matches_any
from cropmark.ports import OpenSource, Quota, Record, Timing
from cropmark.web.request import RequestHeaders, Send
from cropmark.web.site import Site

RawHeaders = list[tuple[bytes, bytes]]

PIECE = 256 * 1024
SANDBOXED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""For SVG, which is a document: it may style itself and nothing else."""
INERT = "default-src 'none'; sandbox"
"""For all that is no picture of ours."""
REPEATED = frozenset({"access-control-allow-origin", "vary"})
"""What a dialect says of a picture that its 304 says too."""

_CONTROLS = dict.fromkeys((*range(32), 127), "?")


def raw(headers: tuple[tuple[str, str], ...]) -> RawHeaders:
    """Headers as they go on the wire.

    Control characters cannot end a header early: what a URL or a source brought is replaced, not believed.
    """
    return [(b"server", b"cropmark"), *((name.lower().encode("ascii"), _field(value)) for name, value in headers)]


def _field(value: str) -> bytes:
    return value.translate(_CONTROLS).encode("ascii", "replace")[:1024]


def picture_headers(
    site: Site, order: Order, record: Record, *, cached: bool, origin: str = "", left_s: float | None = None
) -> RawHeaders:
    """All headers of a picture's answer that are the same for every request of it from one origin.

    `left_s` are the seconds that a signed address still holds.
    """
    headers = [
        ("content-type", record.media_type),
        ("content-length", str(record.length)),
        *validators(site, order, record, left_s),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", SANDBOXED if record.media_type == "image/svg+xml" else INERT),
    ]
    if record.facts.focus:
        headers.append(("x-cropmark-focus", record.facts.focus))
    told = raw((*headers, *site.dialect.headers_of(order, _result(order, record, cached=cached))))
    return site.cors.apply(told, origin)


def unchanged_headers(
    site: Site, order: Order, record: Record, *, origin: str = "", left_s: float | None = None
) -> RawHeaders:
    """All headers of a 304: what a cache keeps by, and who may read it; a browser checks both on a 304 too.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
    """
    told = site.dialect.headers_of(order, _result(order, record, cached=True))
    repeated = (header for header in told if header[0].lower() in REPEATED)
    return site.cors.apply(raw((*validators(site, order, record, left_s), *repeated)), origin)


def validators(site: Site, order: Order, record: Record, left_s: float | None = None) -> list[tuple[str, str]]:
    """ETag, Last-Modified, Cache-Control and Vary: what a 304 repeats too."""
    headers = [("etag", record.etag), ("cache-control", cache_control(site, order, record, left_s))]
    modified = record.versions[0].modified_s if record.versions else None
    if modified is not None:
        headers.append(("last-modified", format_datetime(datetime.fromtimestamp(int(modified), UTC), usegmt=True)))
    if _negotiated(order, record):
        headers.append(("vary", "Accept"))
    return headers


def _negotiated(order: Order, record: Record) -> bool:
    source = record.facts.source
    settled = source is not None and matches_any(order.delivery.never_for, source)
    return order.delivery.negotiated and not settled


def cache_control(site: Site, order: Order, record: Record, left_s: float | None = None) -> str:
    """How long clients and shared caches may keep it."""
    origins = {stamp.cache_control for stamp in record.versions} if order.delivery.as_origin else set()
    if len(origins) == 1 and (said := origins.pop()) and not record.is_transient and left_s is None:
        return said
    if order.delivery.private or any(stamp.private for stamp in record.versions):
        return "private, no-store"
    age = site.lifetimes.versioned_s if order.delivery.versioned else site.lifetimes.max_age_s
    if order.delivery.max_age_s is not None:
        age = min(age, order.delivery.max_age_s)
    if record.is_transient:
        age = min(age, 10)
    if left_s is not None:
        age = max(0, min(age, int(left_s)))
    return f"public, max-age={age}"


def _result(order: Order, record: Record, *, cached: bool) -> Result:
    original = record.original
    return Result(
        bytes=record.length,
        format=record.facts.format,
        size=record.facts.size,
        source=record.facts.source,
        warnings=(*order.warnings, *record.warnings),
        focus=record.facts.focus,
        original=original.value if original else None,
        cached=cached,
        trouble=original.is_trouble if original else False,
    )


def unchanged(heard: RequestHeaders, order: Order, record: Record) -> bool:
    """Whether the client has this very answer already: then 304.

    By its date only where there is one source: Last-Modified is the first one's, and another may have changed.
    """
    if heard.if_none_match:
        if heard.if_none_match.strip() == "*":
            return True
        known = (tag.strip().removeprefix("W/") for tag in heard.if_none_match.split(","))
        return record.etag in known
    modified = record.versions[0].modified_s if record.versions and len(order.sources) == 1 else None
    if not heard.if_modified_since or modified is None:
        return False
    try:
        since = parsedate_to_datetime(heard.if_modified_since)
    except (TypeError, ValueError):
        return False
    if since.tzinfo is None:
        return False
    return int(modified) <= since.timestamp()


def server_timing(cache: str, timing: Timing) -> bytes:
    """The Server-Timing value: where the answer came from, and milliseconds by stage."""
    stages = (f"{name};dur={ms:.1f}" for name, ms in timing.stages)
    return ", ".join((f"cache;desc={cache}", *stages)).encode("ascii")


def quota_headers(quota: Quota) -> RawHeaders:
    """Where the caller stands."""
    return [
        (b"x-ratelimit-limit", b"%d" % quota.limit),
        (b"x-ratelimit-remaining", b"%d" % quota.remaining),
    ]


def refusal(dialect: Dialect, problem: Problem, ask: ImageRequest, *, negotiated: bool) -> tuple[Response, RawHeaders]:
    """The problem as the dialect tells it, never cached, never active.

    `negotiated`: a picture in its place might have had its format from Accept.
    """
    answer = dialect.error_response(problem, ask)
    names = {name.lower() for name, _ in answer.headers}
    headers = [
        ("content-type", answer.media_type),
        ("content-length", str(len(answer.body))),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", INERT),
    ]
    if "cache-control" not in names:
        headers.append(("cache-control", "no-store"))
    if negotiated and "vary" not in names:
        headers.append(("vary", "Accept"))
    if problem.retry_after_s is not None and "retry-after" not in names:
        headers.append(("retry-after", str(problem.retry_after_s)))
    return answer, raw((*headers, *answer.headers))


def plain(problem: Problem) -> tuple[bytes, RawHeaders]:
    """The problem where no site and so no dialect is known."""
    body = f"{problem}\n".encode()
    headers = (
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", INERT),
        ("cross-origin-resource-policy", "same-origin"),
    )
    return body, raw(headers)


async def send_whole(send: Send, status: int, headers: RawHeaders, body: bytes = b"") -> None:
    """An answer in one piece."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_file(send: Send, headers: RawHeaders, opened: OpenSource) -> None:
    """An original in pieces, read off the event loop; a file cut short meanwhile ends the connection early."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    at = 0
    while at < opened.bytes:
        piece = await asyncio.to_thread(os.pread, opened.descriptor, min(PIECE, opened.bytes - at), at)
        if not piece:
            break
        at += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": at < opened.bytes})
    if at < opened.bytes or opened.bytes == 0:
        await send({"type": "http.response.body", "body": b""})
