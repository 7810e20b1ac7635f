"""Builds responses: the headers of an image from its cache record, 304 responses, and error responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from cropmark.dialects.dialect import Dialect, ImageRequest, Response, Result
from cropmark.model.media_types import is_shown
from cropmark.model.problems import Problem, SourceProblem
from cropmark.plan.plan import InfoDocument, Order
from cropmark.plan.source import SitePath, SourceRequest, matches_any
from cropmark.ports import Quota, Record, Timing
from cropmark.web.cors import RawHeaders
from cropmark.web.purge_keys import key_header
from cropmark.web.ranges import has_ranges
from cropmark.web.request import RequestHeaders, Send
from cropmark.web.site import Site

SANDBOXED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""Content-Security-Policy of an SVG, which a browser opens as a document: only styles and embedded images work."""
PLAYER = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
"""Content-Security-Policy of audio and video: the page that a browser makes for the file may play it."""
INERT = "default-src 'none'; sandbox"
_NOSNIFF = ("x-content-type-options", "nosniff")
_INERT = ("content-security-policy", INERT)
_SAME_ORIGIN = ("cross-origin-resource-policy", "same-origin")


# The security headers of each kind of response.
SITE_SECURITY = (_NOSNIFF, _INERT)  # CorsPolicy adds Cross-Origin-Resource-Policy
SVG_SECURITY = (_NOSNIFF, ("content-security-policy", SANDBOXED))
MEDIA_SECURITY = (_NOSNIFF, ("content-security-policy", PLAYER))
PUBLIC_SECURITY = (_NOSNIFF, _INERT, ("cross-origin-resource-policy", "cross-origin"))
API_SECURITY = (_NOSNIFF, _INERT)
PROBLEM_SECURITY = (_NOSNIFF, _INERT, _SAME_ORIGIN)
PAGE_SECURITY = (
    _NOSNIFF,
    ("content-security-policy", "default-src 'none'"),
    _SAME_ORIGIN,
    ("referrer-policy", "no-referrer"),
)
PREFLIGHT_SECURITY = (_NOSNIFF,)

REPEATED_ON_304 = frozenset({"access-control-allow-origin", "vary"})
"""Headers of a dialect's image response that its 304 response repeats."""

_DISPOSITION = "content-disposition"
_METHODS = "GET, HEAD, OPTIONS"
_CONTROLS = dict.fromkeys((*range(32), 127), "?")


def encode_headers(headers: tuple[tuple[str, str], ...]) -> RawHeaders:
    """The headers as bytes, with Server first.

    A control character in a value becomes `?`, so that text of a URL or a source cannot end a header early.
    """
    return [(b"server", b"cropmark"), *((name.lower().encode("ascii"), _field(value)) for name, value in headers)]


def _field(value: str) -> bytes:
    return value.translate(_CONTROLS).encode("ascii", "replace")[:1024]


def image_headers(
    site: Site, order: Order, record: Record, *, cached: bool, origin: str = "", expires_in_s: float | None = None
) -> RawHeaders:
    """The headers of an image response, without those that differ with each request, such as its id.

    `origin` is the request's Origin. `expires_in_s` is the time until the signed URL expires; None: never.
    """
    headers = [
        ("content-type", record.media_type),
        ("content-length", str(record.length)),
        *validator_headers(site, order, record, expires_in_s),
        *_security(record.media_type),
    ]
    if record.facts.focus:
        headers.append(("x-cropmark-focus", record.facts.focus))
    if has_ranges(record):
        headers.append(("accept-ranges", "bytes"))
    # A dialect describes images: its words for an original would be wrong for a document.
    is_info = isinstance(order.facts, InfoDocument)
    of_dialect = () if is_info else site.dialect.image_headers(order, _result(order, record, cached=cached))
    if not is_shown(record.media_type):
        of_dialect = (*(each for each in of_dialect if each[0].lower() != _DISPOSITION), (_DISPOSITION, "attachment"))
    encoded = encode_headers((*headers, *of_dialect))
    if site.key_header:
        encoded.append(key_header(site.key_header, site.name, record))
    return site.cors.apply(encoded, origin)


def _security(media_type: str) -> tuple[tuple[str, str], ...]:
    if media_type == "image/svg+xml":
        return SVG_SECURITY
    return MEDIA_SECURITY if media_type.startswith(("video/", "audio/")) else SITE_SECURITY


def not_modified_headers(
    site: Site, order: Order, record: Record, *, origin: str = "", expires_in_s: float | None = None
) -> RawHeaders:
    """The headers of a 304 response: validators, caching and CORS. A browser checks CORS on a 304 too.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
    """
    headers = site.dialect.image_headers(order, _result(order, record, cached=True))
    repeated = (header for header in headers if header[0].lower() in REPEATED_ON_304)
    return site.cors.apply(encode_headers((*validator_headers(site, order, record, expires_in_s), *repeated)), origin)


def validator_headers(
    site: Site, order: Order, record: Record, expires_in_s: float | None = None
) -> list[tuple[str, str]]:
    """The headers that a 304 response repeats: ETag, Cache-Control, Last-Modified and Vary."""
    headers = [("etag", record.etag), ("cache-control", cache_control(site, order, record, expires_in_s))]
    modified = record.versions[0].modified_s if record.versions else None
    if modified is not None:
        headers.append(("last-modified", format_datetime(datetime.fromtimestamp(int(modified), UTC), usegmt=True)))
    if _negotiated(order, record):
        headers.append(("vary", "Accept"))
    return headers


def _negotiated(order: Order, record: Record) -> bool:
    source = record.facts.source
    settled = source is not None and matches_any(order.delivery.not_negotiated_for, source)
    return order.delivery.negotiated and not settled


def cache_control(site: Site, order: Order, record: Record, expires_in_s: float | None = None) -> str:
    """The Cache-Control value of an image response."""
    if of_origin := _origin_cache_control(order, record, expires_in_s):
        return of_origin
    if order.delivery.private or any(version.private for version in record.versions):
        return "private, no-store"
    lifetimes, delivery = site.lifetimes, order.delivery
    limits = [delivery.max_age_s, 10 if record.is_transient else None]
    limits.append(None if expires_in_s is None else max(0, int(expires_in_s)))
    known = [limit for limit in limits if limit is not None]
    text = f"public, max-age={min((lifetimes.versioned_s if delivery.versioned else lifetimes.max_age_s, *known))}"
    if lifetimes.shared_s is not None and not delivery.versioned:
        text += f", s-maxage={min((lifetimes.shared_s, *known))}"
    if lifetimes.stale_while_revalidate_s is not None and not known:
        text += f", stale-while-revalidate={lifetimes.stale_while_revalidate_s}"
    return text


def _origin_cache_control(order: Order, record: Record, expires_in_s: float | None) -> str:
    """The Cache-Control that the origin sent, if our response repeats it; else empty."""
    if not order.delivery.use_origin_cache_control or record.is_transient or expires_in_s is not None:
        return ""
    values = {version.cache_control for version in record.versions}
    return values.pop() or "" if len(values) == 1 else ""


def _result(order: Order, record: Record, *, cached: bool) -> Result:
    original = record.original
    return Result(
        bytes=record.length,
        format=record.facts.format,
        size=record.facts.size,
        source=record.facts.source,
        warnings=(*order.warnings, *record.warnings),
        hints=order.hints,
        focus=record.facts.focus,
        original=original.value if original else None,
        cached=cached,
        is_fallback=original.is_failure if original else False,
    )


def is_not_modified(request: RequestHeaders, order: Order, record: Record) -> bool:
    """True if the response that the client has cached is still current, so that a 304 is sent.

    If-Modified-Since is ignored for an image from several sources, because Last-Modified is that of the first source.
    """
    if request.if_none_match:
        if request.if_none_match.strip() == "*":
            return True
        tags = (tag.strip().removeprefix("W/") for tag in request.if_none_match.split(","))
        return record.etag in tags
    modified = record.versions[0].modified_s if record.versions and len(order.sources) == 1 else None
    if not request.if_modified_since or modified is None:
        return False
    try:
        since = parsedate_to_datetime(request.if_modified_since)
    except (TypeError, ValueError):
        return False
    if since.tzinfo is None:
        return False
    return int(modified) <= since.timestamp()


def server_timing(cache: str, timing: Timing) -> bytes:
    """The Server-Timing value: the cache status, and milliseconds by stage."""
    stages = (f"{name};dur={ms:.1f}" for name, ms in timing.stages)
    return ", ".join((f"cache;desc={cache}", *stages)).encode("ascii")


def quota_headers(quota: Quota) -> RawHeaders:
    """The headers with the rate limit, and with the number of requests left."""
    return [
        (b"x-ratelimit-limit", b"%d" % quota.limit),
        (b"x-ratelimit-remaining", b"%d" % quota.remaining),
    ]


def error_response(
    dialect: Dialect, problem: Problem, request: ImageRequest, *, negotiated: bool
) -> tuple[Response, RawHeaders]:
    """The dialect's response to a problem, and its headers.

    Cache-Control is `no-store` unless the dialect sends its own. `negotiated`: Accept can select the format of the
    image at this URL, so the response has Vary.
    """
    response = dialect.error_response(problem, request)
    if response.media_type.startswith("text/"):
        response = replace(response, body=without_markup(response.body))
    names = {name.lower() for name, _ in response.headers}
    headers = []
    if "cache-control" not in names:
        headers.append(("cache-control", "no-store"))
    if negotiated and "vary" not in names:
        headers.append(("vary", "Accept"))
    if problem.retry_after_s is not None and "retry-after" not in names:
        headers.append(("retry-after", str(problem.retry_after_s)))
    return response, dialect_headers(response, *headers)


def dialect_headers(response: Response, *headers: tuple[str, str]) -> RawHeaders:
    """All headers of a response that a dialect made: those of the dialect, the security headers, and `headers`."""
    described = (("content-type", response.media_type), ("content-length", str(len(response.body))))
    return encode_headers((*described, *SITE_SECURITY, *headers, *response.headers))


def without_markup(text: bytes) -> bytes:
    """The text with angle brackets percent-encoded, so that no client reads a part of a URL as HTML."""
    return text.replace(b"<", b"%3C").replace(b">", b"%3E")


def problem_response(problem: Problem) -> tuple[bytes, RawHeaders]:
    """The body and headers of a plain text response to a problem, for a request without a site."""
    body = without_markup(f"{problem}\n".encode())
    headers = (
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        *PROBLEM_SECURITY,
    )
    return body, encode_headers(headers)


def preflight_headers(site: Site, origin: str) -> RawHeaders:
    """The headers of the response to a CORS preflight request. They allow the same origins as those of a GET."""
    headers = (
        ("allow", _METHODS),
        *_vendor_cors(site.dialect),
        ("access-control-allow-methods", _METHODS),
        ("access-control-max-age", "86400"),
        *PREFLIGHT_SECURITY,
        ("content-length", "0"),
    )
    return site.cors.apply(encode_headers(headers), origin)


async def send_response(send: Send, status: int, headers: RawHeaders, body: bytes = b"") -> None:
    """Send a response in one piece."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def age_headers(
    site: Site, order: Order, record: Record, now_s: float, expires_in_s: float | None = None
) -> RawHeaders:
    """The Age header, if the response repeats the origin's Cache-Control; else no header.

    Age is the time since the original was last fetched or revalidated. Caches subtract this time from max-age.
    Source: https://www.rfc-editor.org/rfc/rfc9111#section-5.1
    """
    if not _origin_cache_control(order, record, expires_in_s):
        return []
    fetched_s = None
    with suppress(SourceProblem):  # a revalidation since the rendition was made starts the age again
        current = site.source.stat(order.sources[0].ref)
        fetched_s = current.fetched_s if current is not None else None
    fetched_s = record.versions[0].fetched_s if fetched_s is None else fetched_s
    return [] if fetched_s is None else [(b"age", str(max(0, int(now_s - fetched_s))).encode())]


def _vendor_cors(dialect: Dialect) -> Iterator[tuple[str, str]]:
    """The CORS header of the dialect's image responses, if its vendor sends one."""
    headers = dialect.image_headers(Order((SourceRequest(SitePath("")),), None), Result(0, None, None, None))
    return (header for header in headers if header[0].lower() == "access-control-allow-origin")
