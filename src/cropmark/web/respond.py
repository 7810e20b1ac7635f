"""Sends the responses that hit.py and miss.py have in common, such as 304 and errors, and writes the access log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus

import structlog

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.model.problems import InternalError, MethodNotAllowed, Problem, TooManyRequests
from cropmark.plan.plan import Order
from cropmark.ports import Quota, Record
from cropmark.security.signing import target
from cropmark.web import response
from cropmark.web.cors import RawHeaders
from cropmark.web.deps import AppDeps, Pages
from cropmark.web.log_fields import request_fields, request_ids
from cropmark.web.pages.layout import HTML_HEADERS, encoded
from cropmark.web.pages.problem import page as error_page
from cropmark.web.request import CLIENT_CLOSED_REQUEST, Message, Receive, Scope, Send
from cropmark.web.site import MissRate, Site

log = structlog.get_logger("cropmark.access")


@dataclass(slots=True)
class CachedOrder:
    """An entry of the memo: a parsed request with its order, and the headers of its last response."""

    site: Site
    request: ImageRequest
    order: Order
    fingerprint: str
    rate: MissRate
    expires_s: float = 0.0
    """Unix time at which the signed URL expires; 0: never."""
    origin: str = ""
    """The request's Origin header."""
    etag: str = ""
    headers: RawHeaders | None = None
    fallback: str = ""
    """The code of the problem for which the site's fallback image is sent; empty: the requested image is sent."""

    @property
    def memo_bytes(self) -> int:
        """An upper estimate of the memory that this entry and its key take: four bytes per character, and 8192."""
        request = self.request
        texts = len(request.query) + len(request.path) + sum(len(k) + len(v) for k, v in request.headers.items())
        return 8192 + 4 * texts

    def image_headers(self, record: Record, *, cached: bool) -> RawHeaders:
        return response.image_headers(
            self.site, self.order, record, cached=cached, origin=self.origin, expires_in_s=self._expires_in_s()
        )

    def not_modified_headers(self, record: Record) -> RawHeaders:
        return response.not_modified_headers(
            self.site, self.order, record, origin=self.origin, expires_in_s=self._expires_in_s()
        )

    def age_headers(self, record: Record) -> RawHeaders:
        return response.age_headers(self.site, self.order, record, time.time(), self._expires_in_s())

    def _expires_in_s(self) -> float | None:
        return self.expires_s - time.time() if self.expires_s else None


class Responder:
    """Sends responses without an image, and counts and logs requests."""

    def __init__(self, deps: AppDeps) -> None:
        self._limiter = deps.limiter
        self._metrics = deps.metrics
        self._production = deps.production
        self._logs = deps.access_log != "off"
        self._client_ip = deps.client_ip
        self.request_id = request_ids(deps.client_ip)
        """Returns the id of a request, which its response and its log line contain."""

    async def send_not_modified(
        self, cached: CachedOrder, record: Record, cache: str, scope: Scope, send: Send, *, logged: bool
    ) -> None:
        """Send a 304 response. `logged` is False for a cache hit if the access log has only misses."""
        rid = self.request_id(scope)
        headers = cached.not_modified_headers(record)
        headers += [(b"x-request-id", rid.encode()), *self.quota_headers(cached.rate)]
        headers += cached.age_headers(record)
        await response.send_response(send, 304, headers)
        self.count(scope, cached.site, 304, cache)
        if logged:
            self.log(scope, cached.site.name, 304, cache, 0, rid)

    async def send_error_of(self, cached: CachedOrder, problem: Problem, scope: Scope, send: Send) -> None:
        """Send the dialect's error response to a request with a parsed order."""
        await self.send_error(cached.site, cached.request, problem, scope, send, origin=cached.origin, cached=cached)

    async def send_error(
        self,
        site: Site,
        request: ImageRequest,
        problem: Problem,
        scope: Scope,
        send: Send,
        *,
        origin: str,
        cached: CachedOrder | None = None,
    ) -> None:
        """Send the dialect's error response. `cached` has the request's order; None if the order was not parsed."""
        rate = cached.rate if cached else site.miss_rate
        # Vary: Accept too if the query was not read, since it may select the format by Accept.
        negotiated = cached.order.delivery.negotiated if cached else not isinstance(problem, MethodNotAllowed)
        if self._production and isinstance(problem, InternalError):
            problem = InternalError("internal server error; see the server log")
        error, headers = response.error_response(site.dialect, problem, request, negotiated=negotiated)
        if not self._production and is_navigation(scope):
            error, headers = _error_page(problem, error.status, scope, site.dialect.name)
        headers = site.cors.apply(headers, origin)
        rid = self.request_id(scope)
        exceeded = isinstance(problem, TooManyRequests) and rate.per_s
        quota = response.quota_headers(Quota(rate.per_s, 0)) if exceeded else self.quota_headers(rate)
        headers += [(b"x-request-id", rid.encode()), *quota]
        await response.send_response(send, error.status, headers, error.body if scope["method"] != "HEAD" else b"")
        self._metrics.rejected[problem.code] += 1
        self.count(scope, site, error.status, "none", len(error.body))
        self.log(scope, site.name, error.status, "none", len(error.body), rid, problem=problem.code)

    async def send_dialect_response(
        self, site: Site, reply: Response, scope: Scope, send: Send, *, origin: str
    ) -> None:
        """Send a response that the dialect returned in place of an order, such as a redirect."""
        rid = self.request_id(scope)
        headers = site.cors.apply(response.dialect_headers(reply), origin)
        headers.append((b"x-request-id", rid.encode()))
        await response.send_response(send, reply.status, headers, reply.body if scope["method"] != "HEAD" else b"")
        self.count(scope, site, reply.status, "none", len(reply.body))
        self.log(scope, site.name, reply.status, "none", len(reply.body), rid)

    async def send_preflight(self, site: Site, scope: Scope, send: Send, *, origin: str) -> None:
        """Send the response to a CORS preflight request."""
        rid = self.request_id(scope)
        headers = [*response.preflight_headers(site, origin), (b"x-request-id", rid.encode())]
        await response.send_response(send, 204, headers)
        self.count(scope, site, 204, "none")
        self.log(scope, site.name, 204, "none", 0, rid)

    async def send_problem(self, problem: Problem, scope: Scope, send: Send) -> None:
        """Send an error response for a request without a site: plain text, or a page for a browser in development."""
        body, headers = response.problem_response(problem)
        if not self._production and is_navigation(scope):
            shown, headers = _error_page(problem, problem.status, scope, None)
            body = shown.body
        rid = self.request_id(scope)
        headers.append((b"x-request-id", rid.encode()))
        await response.send_response(send, problem.status, headers, body if scope["method"] != "HEAD" else b"")
        self._metrics.rejected[problem.code] += 1
        self.count(scope, None, problem.status, "none", len(body))
        self.log(scope, "none", problem.status, "none", len(body), rid, problem=problem.code)

    async def send_page(self, pages: Pages, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a URL that no site serves. Only error responses are counted and logged."""
        status = length = 0

        async def observed(message: Message) -> None:
            nonlocal status, length
            status = message.get("status", status)
            length += len(message.get("body", b""))
            await send(message)

        await pages(scope, receive, observed)
        if status >= HTTPStatus.BAD_REQUEST:
            self.count(scope, None, status, "none", length)
            self.log(scope, "none", status, "none", length, self.request_id(scope))

    def quota_headers(self, rate: MissRate) -> RawHeaders:
        return response.quota_headers(self._limiter.peek(rate.key, rate.per_s, 1)) if rate.per_s else []

    def count(self, scope: Scope, site: Site | None, status: int, cache: str, length: int = 0) -> None:
        """Count a request and the bytes of its response. `site` None: no site serves the URL."""
        name, dialect = (site.name, site.dialect.name) if site else ("none", "none")
        if scope["method"] != "HEAD":
            self._metrics.response_bytes[dialect] += length
        duration_s = time.perf_counter() - scope["started_s"]
        self._metrics.count_request(name, dialect, status, cache, duration_s)

    def log_disconnect(self, site: Site, reason: str, scope: Scope) -> None:
        """Log that the client disconnected (`gone`), or was disconnected because it read too slowly (`slow`)."""
        self.log(scope, site.name, CLIENT_CLOSED_REQUEST, reason, 0, self.request_id(scope))

    def log(self, scope: Scope, site: str, status: int, cache: str, length: int, rid: str, **more: str) -> None:
        """Write the request's line of the access log. `site` is the site's name, `none` if no site serves the URL."""
        if not self._logs:
            return
        log.info(
            "request",
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1")[:512],
            site=site,
            status=status,
            cache=cache,
            bytes=length if scope["method"] != "HEAD" else 0,
            ms=round((time.perf_counter() - scope["started_s"]) * 1000, 1),
            id=rid,
            **request_fields(scope, self._client_ip),
            **more,
        )


def is_navigation(scope: Scope) -> bool:
    """True if a browser opens the URL itself in a tab; False if a page loads it as an image.

    Source: https://www.w3.org/TR/fetch-metadata/#sec-fetch-dest-header
    """
    return (b"sec-fetch-dest", b"document") in ((name, value) for name, value in scope["headers"])


def _error_page(problem: Problem, status: int, scope: Scope, dialect: str | None) -> tuple[Response, RawHeaders]:
    """The response with the HTML page about an error, and its headers."""
    url = target(scope["raw_path"], scope["query_string"]).decode("latin-1")
    body = encoded(error_page(problem, status, dialect=dialect, url=url))
    headers = (("content-type", "text/html; charset=utf-8"), ("content-length", str(len(body))), *HTML_HEADERS.items())
    encoded_headers = [(name.encode(), value.encode()) for name, value in headers]
    return Response(status, body, "text/html"), encoded_headers
