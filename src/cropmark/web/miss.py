"""Serves cache misses, and the first request of each URL.

1. The URL is matched with operator paths, then endpoints, then sites. If none matches, a page responds.
2. At a site, the method, the signature and the preset are checked (AccessPolicy).
3. The dialect reads the order, and the site's allowed widths are applied.
4. The pipeline delivers the image. The request is canceled if the client disconnects first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import structlog

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.model.problems import InternalError, MethodNotAllowed, Overloaded, Problem, TooManyRequests
from cropmark.pipeline import Delivered, RequestContext, info_order, url_tag
from cropmark.plan.plan import Order, RequestWarning
from cropmark.plan.source import SitePath, SourceRef
from cropmark.ports import Timing
from cropmark.security.signing import target, unsigned
from cropmark.web import response
from cropmark.web.cors import ORIGIN, RawHeaders
from cropmark.web.deps import AppDeps
from cropmark.web.fallback import fallback_request
from cropmark.web.ranges import Unsatisfiable, has_ranges, partial_headers, range_of, unsatisfiable_headers
from cropmark.web.request import (
    ClientDisconnected,
    Receive,
    RequestHeaders,
    Scope,
    Send,
    check_host,
    checked_target,
    image_request,
    unless_disconnected,
)
from cropmark.web.respond import CachedOrder, Responder
from cropmark.web.routing import INFO_PREFIX, host_name, is_operator_path
from cropmark.web.site import Fallback, MissRate, Site

log = structlog.get_logger("cropmark.access")


@dataclass(frozen=True, slots=True)
class _Routed:
    """A request with the site that serves it, and its path below the site's prefix."""

    site: Site
    rest: str
    scope: Scope
    headers: RequestHeaders
    trusted: bool
    """True if the request's image headers come from a trusted proxy."""
    is_info: bool = False
    """True if the document about the image is requested, not the image itself."""

    @property
    def ignored_headers(self) -> tuple[str, ...]:
        """Names of the request's headers that could change the image, but are ignored by this site."""
        if self.site.access.reads_image_headers(from_trusted_proxy=self.trusted):
            return ()
        return tuple(name for name, _ in self.headers.others if name in self.site.dialect.image_request_headers)

    @property
    def origin(self) -> str:
        return dict(self.headers.others).get(ORIGIN, "")

    def image_request(self, query: bytes | None = None) -> ImageRequest:
        """The request for the dialect, without ignored headers. `query` replaces the query of the URL, if given."""
        query = self.scope["query_string"] if query is None else query
        headers, ignored = self.headers, self.ignored_headers
        if ignored:
            headers = replace(headers, others=tuple(each for each in headers.others if each[0] not in ignored))
        return image_request(self.site, self.rest, query, headers, self.scope)


class MissPath:
    """Parses the first request of each URL. Delivers cache misses, originals, large bodies and ranges."""

    def __init__(self, deps: AppDeps, responder: Responder) -> None:
        self._sites = deps.sites
        self._endpoints = deps.endpoints
        self._pages = deps.pages
        self._pipeline = deps.pipeline
        self._limiter = deps.limiter
        self._client_ip = deps.client_ip
        self._variant_quota = deps.variant_quota
        self._production = deps.production
        self._info = deps.info
        self._sender = deps.sender
        self._responder = responder
        self._shutdown = deps.shutdown

    async def first_request(
        self, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders, *, trusted: bool = False
    ) -> CachedOrder | None:
        """Parse a request, and return the order for its image.

        None if a response was sent already: a page, the response of an endpoint, or an error.
        """
        try:
            check_host(headers.host)
        except Problem as problem:
            await self._responder.send_problem(problem, scope, send)
            return None
        if is_operator_path(scope["raw_path"]):
            await self._responder.send_page(self._pages, scope, receive, self._sender.bounded(scope, send))
            return None
        host = host_name(headers.host)
        for endpoint in self._endpoints:
            if endpoint.matches(host, scope["raw_path"].decode("latin-1")):
                await endpoint(scope, receive, self._sender.bounded(scope, send))
                return None
        try:
            path = checked_target(scope["raw_path"], scope["query_string"])
        except Problem as problem:
            await self._responder.send_problem(problem, scope, send)
            return None
        is_info = self._info and path.startswith(f"{INFO_PREFIX}/")
        found = self._sites.find(host, path.removeprefix(INFO_PREFIX) if is_info else path)
        if found is None:
            await self._responder.send_page(self._pages, scope, receive, self._sender.bounded(scope, send))
            return None
        return await self._read_order(_Routed(*found, scope, headers, trusted, is_info), send)

    async def _read_order(self, routed: _Routed, send: Send) -> CachedOrder | None:
        """The order that the site's dialect reads; None if a response was sent already, such as an error."""
        site, scope, origin = routed.site, routed.scope, routed.origin
        request = routed.image_request()
        try:
            if self._shutdown.stopping:
                raise _stopping_problem()
            if request.method == "OPTIONS":
                await self._responder.send_preflight(site, scope, send, origin=origin)
                return None
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowed(f"expected GET or HEAD, got {request.method}", fix="send a GET")
            check = site.access.verify_signature if routed.is_info else site.access.authorize
            allowed = check(scope["raw_path"], scope["query_string"], time.time())
            request = routed.image_request(allowed.query)
            order = site.dialect.order(request)
            if isinstance(order, Response):
                await self._responder.send_dialect_response(site, order, scope, send, origin=origin)
                return None
            order = _with_ignored_headers(site.adapted(order), routed.ignored_headers)
            if routed.is_info:
                order = info_order(order)
            elif not self._production and (found := hints(site.dialect.name, request)):
                order = replace(order, hints=found)
        except Problem as problem:
            await self._responder.send_error(site, request, problem, scope, send, origin=origin)
            return None
        except Exception:
            log.exception("a dialect failed", dialect=site.dialect.name)
            internal = InternalError("the server failed to read the request")
            await self._responder.send_error(site, request, internal, scope, send, origin=origin)
            return None
        return CachedOrder(
            site, request, order, self._pipeline.fingerprint_of(order), _rate(site, order), allowed.expires_s, origin
        )

    async def deliver(
        self, cached: CachedOrder, headers: RequestHeaders, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Get the image from the pipeline and send it. If the client disconnects first, nothing is sent."""
        if self._shutdown.stopping:
            await self._responder.send_error_of(cached, _stopping_problem(), scope, send)
            return
        try:
            delivered = await unless_disconnected(receive, self._delivered(cached, scope))
        except ClientDisconnected:
            self._responder.log_disconnect(cached.site, "gone", scope)
            return
        except Problem as problem:
            if not await self._sends_fallback(cached, problem, headers, scope, receive, send):
                await self._responder.send_error_of(cached, problem, scope, send)
            return
        except Exception:
            log.exception("a delivery failed", dialect=cached.site.dialect.name)
            await self._responder.send_error_of(cached, InternalError("the image could not be rendered"), scope, send)
            return
        await self.send(cached, headers, delivered, scope, send)

    async def _sends_fallback(
        self,
        cached: CachedOrder,
        problem: Problem,
        headers: RequestHeaders,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> bool:
        """Send the site's fallback image.

        Returns False if the site has none for this problem, or if it cannot be rendered.
        """
        replacement = fallback_request(cached, problem)
        if replacement is None:
            return False
        replacement.fingerprint = self._pipeline.fingerprint_of(replacement.order)
        try:
            delivered = await unless_disconnected(receive, self._delivered(replacement, scope))
        except ClientDisconnected:
            self._responder.log_disconnect(cached.site, "gone", scope)
            return True
        except Problem as failure:
            log.warning("the fallback image cannot be sent", site=cached.site.name, reason=failure.detail)
            return False
        except Exception:
            log.exception("the fallback image cannot be sent", site=cached.site.name)
            return False
        await self.send(replacement, headers, delivered, scope, send)
        return True

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
            streams=True,
            fingerprint=cached.fingerprint,
        )
        delivered = await self._pipeline.deliver(source, cached.order, context)
        if delivered.body is None:
            return delivered
        shared = self._sender.shared(delivered.record.etag, delivered.body)
        return delivered if shared is delivered.body else replace(delivered, body=shared)

    async def _count_miss(self, rate: MissRate) -> None:
        """Count a cache miss. Raises TooManyRequests above the limit `rate`."""
        quota = await self._limiter.hit(rate.key, rate.per_s, 1)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} requests a second that miss the cache",
                fix="send the request again after a second",
                retry_after_s=quota.retry_after_s,
            )

    async def send(
        self,
        cached: CachedOrder,
        headers: RequestHeaders,
        delivered: Delivered,
        scope: Scope,
        send: Send,
        *,
        logged: bool = True,
    ) -> None:
        """Send a result of the pipeline as the response, and close its file."""
        try:
            await self._send(cached, headers, delivered, scope, send, logged=logged)
        except ClientDisconnected:
            self._responder.log_disconnect(cached.site, "slow", scope)
        except Problem as problem:  # raised before the response has begun
            await self._responder.send_error_of(cached, problem, scope, send)
        finally:
            delivered.close()

    async def _send(
        self,
        cached: CachedOrder,
        headers: RequestHeaders,
        delivered: Delivered,
        scope: Scope,
        send: Send,
        *,
        logged: bool,
    ) -> None:
        record, site = delivered.record, cached.site
        if not cached.fallback and response.is_not_modified(headers, cached.order, record):
            await self._responder.send_not_modified(cached, record, delivered.cache_status, scope, send, logged=True)
            return
        rid = self._responder.request_id(scope)
        timing = Timing() if self._production else delivered.timing
        response_headers = [
            *cached.image_headers(record, cached=delivered.cache_status != "miss"),
            (b"server-timing", response.server_timing(delivered.cache_status, timing)),
            (b"x-request-id", rid.encode()),
            *cached.age_headers(record),
            *self._responder.quota_headers(cached.rate),
        ]
        more = {}
        if cached.fallback:
            response_headers.append((b"x-cropmark-fallback", cached.fallback.encode()))
            more = {"fallback": cached.fallback}
        fallback = site.fallback if cached.fallback else None
        status, length = await self._send_body(delivered, response_headers, scope, send, fallback)
        self._responder.count(scope, site, status, delivered.cache_status, length)
        if logged:
            self._responder.log(scope, site.name, status, delivered.cache_status, length, rid, **more)

    async def _send_body(
        self, delivered: Delivered, headers: RawHeaders, scope: Scope, send: Send, fallback: Fallback | None
    ) -> tuple[int, int]:
        """Send the response: a complete body, or the requested range of a video or an original.

        Returns the status and the length of the body. A fallback image is always sent complete, because the client
        requested a range of another file.
        """
        record, status = delivered.record, 200 if fallback is None else fallback.status
        if scope["method"] == "HEAD":
            await response.send_response(send, status, headers)
            return status, record.length
        part = range_of(scope, headers, record.length) if fallback is None and has_ranges(record) else None
        if isinstance(part, Unsatisfiable):
            await response.send_response(send, 416, unsatisfiable_headers(headers, part))
            return 416, 0
        if part is not None:
            headers, status = partial_headers(headers, part), 206
        if delivered.stored is not None:
            await self._sender.send_stored(scope, send, headers, delivered.stored, part, status=status)
        elif delivered.source is not None:
            await self._sender.send_file(scope, send, headers, delivered.source, part, status=status)
        else:
            await self._sender.send(scope, send, headers, record.etag, delivered.body or b"", part, status=status)
        return status, record.length if part is None else part.length


def _with_ignored_headers(order: Order, names: tuple[str, ...]) -> Order:
    warnings = tuple(RequestWarning(name, "ignored, only a trusted proxy may send it to this site") for name in names)
    return replace(order, warnings=(*order.warnings, *warnings)) if warnings else order


def _quota_ref(order: Order) -> SourceRef:
    """The reference of the source for which the variant quota counts a request.

    The reference has no query, so that all queries to the origin for one path count as one source.
    """
    ref = order.sources[0].ref
    return replace(ref, query="") if isinstance(ref, SitePath) else ref


def _rate(site: Site, order: Order) -> MissRate:
    return MissRate(*order.delivery.rate) if order.delivery.rate else site.miss_rate


def _stopping_problem() -> Overloaded:
    return Overloaded("the server is stopping", retry_after_s=1)
