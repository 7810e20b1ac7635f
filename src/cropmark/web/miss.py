"""The path of a cache miss, and of the first request of each URL.

Order of events: operator paths, endpoints, sites, other pages. At a site: method, signature and presets
(AccessPolicy), the dialect's order, allowed widths. Then the pipeline delivers the image, unless the client
disconnects first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.model.problems import InternalError, MethodNotAllowed, Overloaded, Problem, TooManyRequests
from cropmark.pipeline import Delivered, RequestContext, url_tag
from cropmark.plan.plan import Order, RequestWarning
from cropmark.plan.source import SitePath, SourceRef
from cropmark.ports import Timing
from cropmark.security.signing import target, unsigned
from cropmark.web import response
from cropmark.web.cors import ORIGIN, RawHeaders
from cropmark.web.deps import AppDeps
from cropmark.web.ranges import ByteRange, Unsatisfiable, partial_headers, range_of, unsatisfiable_headers
from cropmark.web.request import (
    CLIENT_CLOSED_REQUEST,
    ClientDisconnected,
    Receive,
    RequestHeaders,
    Scope,
    Send,
    checked_target,
    image_request,
    request_id,
    unless_disconnected,
)
from cropmark.web.respond import CachedOrder, Responder
from cropmark.web.routing import host_name, is_operator_path
from cropmark.web.site import MissRate, Site

log = structlog.get_logger("cropmark.access")


@dataclass(frozen=True, slots=True)
class _Routed:
    """A request, the site that serves it, and the path below the site's prefix."""

    site: Site
    rest: str
    scope: Scope
    headers: RequestHeaders
    trusted: bool
    """True if the request's image headers come from a trusted proxy."""

    @property
    def ignored_headers(self) -> tuple[str, ...]:
        """The image headers of the request that do not count on this site."""
        if self.site.access.reads_image_headers(from_trusted_proxy=self.trusted):
            return ()
        return tuple(name for name, _ in self.headers.others if name in self.site.dialect.image_request_headers)

    @property
    def origin(self) -> str:
        return dict(self.headers.others).get(ORIGIN, "")

    def image_request(self, query: bytes | None = None) -> ImageRequest:
        """The request with this query, or with its own."""
        query = self.scope["query_string"] if query is None else query
        ignored = self.ignored_headers
        others = tuple(header for header in self.headers.others if header[0] not in ignored)
        return image_request(self.site, self.rest, query, replace(self.headers, others=others), self.scope)


class MissPath:
    """Reads the first request of a URL, and delivers images that are not in the cache."""

    def __init__(self, deps: AppDeps, responder: Responder, stopping: Callable[[], bool]) -> None:
        self._sites = deps.sites
        self._endpoints = deps.endpoints
        self._pages = deps.pages
        self._pipeline = deps.pipeline
        self._limiter = deps.limiter
        self._client_ip = deps.client_ip
        self._variant_quota = deps.variant_quota
        self._production = deps.production
        self._responder = responder
        self._stopping = stopping

    async def first_request(
        self, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders, *, trusted: bool = False
    ) -> CachedOrder | None:
        """The order of a request for an image; None if a response has been sent instead."""
        scope["started_s"] = time.perf_counter()
        if is_operator_path(scope["raw_path"]):
            await self._responder.send_page(self._pages, scope, receive, send)
            return None
        host = host_name(headers.host)
        for endpoint in self._endpoints:
            if endpoint.matches(host, scope["raw_path"].decode("latin-1")):
                await endpoint(scope, receive, send)
                return None
        try:
            path = checked_target(scope["raw_path"], scope["query_string"])
        except Problem as problem:
            await self._responder.send_problem(problem, scope, send)
            return None
        found = self._sites.find(host, path)
        if found is None:
            await self._responder.send_page(self._pages, scope, receive, send)
            return None
        return await self._read_order(_Routed(*found, scope, headers, trusted), send)

    async def _read_order(self, routed: _Routed, send: Send) -> CachedOrder | None:
        """The order that the site's dialect reads; None if a response has been sent instead."""
        site, scope, origin = routed.site, routed.scope, routed.origin
        request = routed.image_request()
        try:
            if self._stopping():
                raise _stopping_problem()
            if request.method == "OPTIONS":
                await response.send_response(send, 204, response.preflight_headers(site, origin))
                return None
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowed(f"expected GET or HEAD, got {request.method}", fix="send a GET")
            allowed = site.access.authorize(scope["raw_path"], scope["query_string"], time.time())
            request = routed.image_request(allowed.query)
            order = site.dialect.order(request)
            if isinstance(order, Response):
                await self._responder.send_dialect_response(site, order, scope, send, origin=origin)
                return None
            order = _with_ignored_headers(site.access.constrain(order), routed.ignored_headers)
            if not self._production:
                order = replace(order, hints=hints(site.dialect.name, request))
        except Problem as problem:
            await self._responder.send_error(site, request, problem, scope, send, origin=origin)
            return None
        except Exception:
            log.exception("a dialect failed", dialect=site.dialect.name)
            internal = InternalError("the request could not be read")
            await self._responder.send_error(site, request, internal, scope, send, origin=origin)
            return None
        return CachedOrder(
            site, request, order, self._pipeline.fingerprint_of(order), _rate(site, order), allowed.expires_s, origin
        )

    async def deliver(
        self, cached: CachedOrder, headers: RequestHeaders, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Get the image from the pipeline and send it. Stops if the client disconnects first."""
        scope.setdefault("started_s", time.perf_counter())
        if self._stopping():
            await self._responder.send_error_of(cached, _stopping_problem(), scope, send)
            return
        try:
            delivered = await unless_disconnected(receive, self._delivered(cached, scope))
        except ClientDisconnected:
            self._responder.log(scope, cached.site.name, CLIENT_CLOSED_REQUEST, "gone", 0, request_id())
            return
        except Problem as problem:
            await self._responder.send_error_of(cached, problem, scope, send)
            return
        except Exception:
            log.exception("a delivery failed", dialect=cached.site.dialect.name)
            await self._responder.send_error_of(cached, InternalError("the image could not be rendered"), scope, send)
            return
        try:
            await self._send(cached, headers, delivered, scope, send)
        finally:
            if delivered.source is not None:
                delivered.source.close()

    async def _delivered(self, cached: CachedOrder, scope: Scope) -> Delivered:
        query = unsigned(scope["query_string"]) if cached.site.access.keys else scope["query_string"]
        url = target(scope["raw_path"], query).decode("latin-1")
        client = self._client_ip.resolve(scope)
        source = cached.site.source
        context = RequestContext(
            tags=(url_tag(url),),
            client=client,
            admit=partial(self._count_miss, cached.rate) if cached.rate.per_s else None,
            admit_render=partial(self._variant_quota.consume, source.identity(_quota_ref(cached.order)), client),
        )
        return await self._pipeline.deliver(source, cached.order, context)

    async def _count_miss(self, rate: MissRate) -> None:
        """Count a cache miss. Raises TooManyRequests."""
        quota = await self._limiter.hit(rate.key, rate.per_s, 1)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} requests a second that miss the cache",
                fix="come back in a second",
                retry_after_s=quota.retry_after_s,
            )

    async def _send(
        self,
        cached: CachedOrder,
        headers: RequestHeaders,
        delivered: Delivered,
        scope: Scope,
        send: Send,
    ) -> None:
        record, site = delivered.record, cached.site
        if response.is_not_modified(headers, cached.order, record):
            await self._responder.send_not_modified(cached, record, delivered.cache_status, scope, send, logged=True)
            return
        rid = request_id()
        timing = Timing() if self._production else delivered.timing
        response_headers = [
            *cached.image_headers(record, cached=delivered.cache_status != "miss"),
            (b"server-timing", response.server_timing(delivered.cache_status, timing)),
            (b"x-request-id", rid.encode()),
            *response.age_headers(site, cached.order, record, time.time()),
            *self._responder.quota_headers(cached.rate),
        ]
        status, length = await _send_body(delivered, response_headers, scope, send)
        self._responder.count(scope, site.dialect.name, status, delivered.cache_status, length)
        self._responder.log(scope, site.name, status, delivered.cache_status, length, rid)


async def _send_body(delivered: Delivered, headers: RawHeaders, scope: Scope, send: Send) -> tuple[int, int]:
    """Send an image, an original or the requested range of an original. Returns the status and the length in bytes."""
    if scope["method"] == "HEAD":
        await response.send_response(send, 200, headers)
        return 200, delivered.record.length
    if delivered.source is None:
        await response.send_response(send, 200, headers, delivered.body or b"")
        return 200, delivered.record.length
    match range_of(scope, headers, delivered.source.bytes):
        case None:
            await response.send_file(send, headers, delivered.source)
            return 200, delivered.record.length
        case ByteRange() as part:
            await response.send_file(send, partial_headers(headers, part), delivered.source, part)
            return 206, part.length
        case Unsatisfiable() as beyond:
            await response.send_response(send, 416, unsatisfiable_headers(headers, beyond))
            return 416, 0


def _with_ignored_headers(order: Order, names: tuple[str, ...]) -> Order:
    warnings = tuple(RequestWarning(name, "ignored, only a trusted proxy may send it to this site") for name in names)
    return replace(order, warnings=(*order.warnings, *warnings)) if warnings else order


def _quota_ref(order: Order) -> SourceRef:
    """The image that counts for the quota of variants: with every query of an origin, so that none passes the quota."""
    ref = order.sources[0].ref
    return replace(ref, query="") if isinstance(ref, SitePath) else ref


def _rate(site: Site, order: Order) -> MissRate:
    return MissRate(*order.delivery.rate) if order.delivery.rate else site.miss_rate


def _stopping_problem() -> Overloaded:
    return Overloaded("the server is stopping", retry_after_s=1)
