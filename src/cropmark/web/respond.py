"""Responses that the hit path and the miss path share: 304, error responses, and the access log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus

import structlog

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.model.problems import InternalError, MethodNotAllowed, Problem, TooManyRequests
from cropmark.plan.plan import Order
from cropmark.ports import Quota, Record
from cropmark.web import response
from cropmark.web.cors import RawHeaders
from cropmark.web.deps import AppDeps, Pages
from cropmark.web.request import Message, Receive, Scope, Send, request_id
from cropmark.web.site import MissRate, Site

log = structlog.get_logger("cropmark.access")


@dataclass(slots=True)
class CachedOrder:
    """A request that was read before: its order, and the headers of its last response."""

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

    @property
    def memo_bytes(self) -> int:
        """An upper estimate of the memory of this entry and of its key: texts are held about four times."""
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

    def _expires_in_s(self) -> float | None:
        return self.expires_s - time.time() if self.expires_s else None


class Responder:
    """Sends the responses that do not carry an image, and counts and logs requests."""

    def __init__(self, deps: AppDeps) -> None:
        self._limiter = deps.limiter
        self._metrics = deps.metrics
        self._production = deps.production
        self._logs = deps.access_log != "off"

    async def send_not_modified(
        self, cached: CachedOrder, record: Record, cache: str, scope: Scope, send: Send, *, logged: bool
    ) -> None:
        """Send a 304. `logged` False: a memory hit that the access log leaves out."""
        rid = request_id()
        headers = cached.not_modified_headers(record)
        headers += [(b"x-request-id", rid.encode()), *self.quota_headers(cached.rate)]
        headers += response.age_headers(cached.site, cached.order, record, time.time())
        await response.send_response(send, 304, headers)
        self.count(scope, cached.site.dialect.name, 304, cache)
        if logged:
            self.log(scope, cached.site.name, 304, cache, 0, rid)

    async def send_error_of(self, cached: CachedOrder, problem: Problem, scope: Scope, send: Send) -> None:
        """Send the dialect's error response to a request with a known order."""
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
        """Send the dialect's error response. Without `cached`, the query may not have been read."""
        rate = cached.rate if cached else site.miss_rate
        # Vary: Accept too if the query was not read, since it may select the format by Accept.
        negotiated = cached.order.delivery.negotiated if cached else not isinstance(problem, MethodNotAllowed)
        if self._production and isinstance(problem, InternalError):
            problem = InternalError("internal server error; see the server log")
        error, headers = response.error_response(site.dialect, problem, request, negotiated=negotiated)
        headers = site.cors.apply(headers, origin)
        rid = request_id()
        exceeded = isinstance(problem, TooManyRequests) and rate.per_s
        quota = response.quota_headers(Quota(rate.per_s, 0)) if exceeded else self.quota_headers(rate)
        headers += [(b"x-request-id", rid.encode()), *quota]
        await response.send_response(send, error.status, headers, error.body if scope["method"] != "HEAD" else b"")
        self.count(scope, site.dialect.name, error.status, "none", len(error.body))
        self.log(scope, site.name, error.status, "none", len(error.body), rid, problem=problem.code)

    async def send_dialect_response(
        self, site: Site, reply: Response, scope: Scope, send: Send, *, origin: str
    ) -> None:
        """Send a response that the dialect returned in place of an order, such as a redirect."""
        rid = request_id()
        headers = site.cors.apply(response.dialect_headers(reply), origin)
        headers.append((b"x-request-id", rid.encode()))
        await response.send_response(send, reply.status, headers, reply.body if scope["method"] != "HEAD" else b"")
        self.count(scope, site.dialect.name, reply.status, "none", len(reply.body))
        self.log(scope, site.name, reply.status, "none", len(reply.body), rid)

    async def send_problem(self, problem: Problem, scope: Scope, send: Send) -> None:
        """Send a plain text error response, before a site is known."""
        body, headers = response.problem_response(problem)
        rid = request_id()
        headers.append((b"x-request-id", rid.encode()))
        await response.send_response(send, problem.status, headers, body if scope["method"] != "HEAD" else b"")
        self.count(scope, "none", problem.status, "none", len(body))
        self.log(scope, "none", problem.status, "none", len(body), rid, problem=problem.code)

    async def send_page(self, pages: Pages, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a path or a host that no site serves. Errors are counted and logged, pages and probes are not."""
        status = length = 0

        async def observed(message: Message) -> None:
            nonlocal status, length
            status = message.get("status", status)
            length += len(message.get("body", b""))
            await send(message)

        await pages(scope, receive, observed)
        if status >= HTTPStatus.BAD_REQUEST:
            self.count(scope, "none", status, "none", length)
            self.log(scope, "none", status, "none", length, request_id())

    def quota_headers(self, rate: MissRate) -> RawHeaders:
        return response.quota_headers(self._limiter.peek(rate.key, rate.per_s, 1)) if rate.per_s else []

    def count(self, scope: Scope, dialect: str, status: int, cache: str, length: int = 0) -> None:
        """Count a request and its body after its response; time it if the time of its start is known."""
        if scope["method"] != "HEAD":
            self._metrics.response_bytes[dialect] += length
        started_s = scope.get("started_s")
        self._metrics.count_request(dialect, status, cache, started_s and time.perf_counter() - started_s)

    def log(self, scope: Scope, site: str, status: int, cache: str, length: int, rid: str, **more: str) -> None:
        """Write the request's line of the access log. `site` is its name, `none` for a request to no site."""
        if not self._logs:
            return
        started_s = scope.get("started_s")
        log.info(
            "request",
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1")[:512],
            site=site,
            status=status,
            cache=cache,
            bytes=length if scope["method"] != "HEAD" else 0,
            ms=None if started_s is None else round((time.perf_counter() - started_s) * 1000, 1),
            id=rid,
            **more,
        )
