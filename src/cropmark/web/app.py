"""The ASGI app. A hit touches no framework, database or thread; all that is no picture goes to the pages.

request ─memo─▶ Order ─▶ pipeline.peek ─▶ hit: sent
                          └─ pipeline.deliver, watched for a client that hangs up ─▶ sent
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from cachetools import LRUCache

from cropmark.dialects.dialect import ImageRequest
from cropmark.model.problems import InternalError, MethodNotAllowed, Overloaded, Problem, TooManyRequests
from cropmark.pipeline import Delivered, Pipeline, url_tag
from cropmark.plan.plan import Order
from cropmark.ports import Limiter, Quota, Record, Timing
from cropmark.runtime.metrics import Metrics
from cropmark.security.signing import expired, target, unsigned
from cropmark.web import response
from cropmark.web.client_ip import ClientIp
from cropmark.web.cors import ORIGIN
from cropmark.web.request import (
    Receive,
    RequestHeaders,
    Scope,
    Send,
    ask_of,
    checked_target,
    host_name,
    hung_up,
    parse_headers,
    request_id,
)
from cropmark.web.response import RawHeaders
from cropmark.web.site import MissRate, Site, Sites
from cropmark.web.variant_quota import VariantQuota

log = structlog.get_logger("cropmark.access")

HITS = {tier: f"cache;desc=hit-{tier}".encode() for tier in ("memory", "disk", "shared")}
MEMO_ENTRIES = 8192
SILENT = 499
"""The status logged for a client that hung up; nothing is sent."""

Pages = Callable[[Scope, Receive, Send], Awaitable[None]]


class Endpoint(Protocol):
    """Paths that are no pictures by URL, such as PixLab's endpoints: it answers all that it opens for."""

    def matches(self, host: str, path: str) -> bool:
        """Whether a request is for it. `host` without a port, in lower case, `path` as it came."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


@dataclass(slots=True)
class CachedOrder:
    """A request read before: its order, and the headers of the rendition that answered it last."""

    site: Site
    ask: ImageRequest
    order: Order
    fingerprint: str
    rate: MissRate
    until_s: float = 0.0
    """Unix time until which its signed address holds; 0: for ever."""
    origin: str = ""
    etag: str = ""
    headers: RawHeaders | None = None


class App:
    """Pictures by their sites' dialects; all other paths by `pages`."""

    def __init__(
        self,
        *,
        sites: Sites,
        pipeline: Pipeline,
        limiter: Limiter,
        metrics: Metrics,
        pages: Pages,
        doors: Sequence[Endpoint] = (),
        access_log: str = "misses",
        clients: ClientIp | None = None,
        budget: VariantQuota | None = None,
        production: bool = False,
    ) -> None:
        """`access_log`: misses, all, or off. A line for each hit from memory costs more than the hit.

        In `production` an answer tells less: no times by stage, and of our own faults only that there was one.
        """
        self._sites = sites
        self._pipeline = pipeline
        self._limiter = limiter
        self._metrics = metrics
        self._pages = pages
        self._doors = doors
        self._clients = clients or ClientIp()
        self._budget = budget or VariantQuota(limiter)
        self._production = production
        self._log_hits = access_log == "all"
        self._logs = access_log != "off"
        self._memo: LRUCache[tuple[object, ...], CachedOrder] = LRUCache(MEMO_ENTRIES)
        self._read = frozenset(name.encode() for site in sites for name in site.dialect.headers)
        if any(site.cors.by_origin for site in sites):
            self._read |= {ORIGIN.encode()}
        self._hits = {
            (site.name, tier): metrics.requests.labels(site.dialect.name, "200", f"hit-{tier}")
            for site in sites
            for tier in HITS
        }
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._in_hand += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def drained(self, timeout_s: float) -> bool:
        """Refuse new work from now on, and wait for what is in hand; False where some was left."""
        self.stopping = True
        if not self._in_hand:
            return True
        self._idle.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def in_hand(self) -> int:
        """Requests being answered now."""
        return self._in_hand

    # ------------------------------------------------------------------------------------------ the hit

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        try:
            asked = parse_headers(scope, self._read)
        except Problem as problem:
            await self._plain(send, problem)
            return
        memo_key = (scope["raw_path"], scope["query_string"], asked.host, asked.accept, asked.others)
        known = self._memo.get(memo_key) if method in ("GET", "HEAD") else None
        if known is None:
            await self._first_seen(scope, receive, send, asked, memo_key)
            return
        if known.until_s:
            known.headers = None  # they tell how long the address still holds
            if time.time() > known.until_s:
                await self._refused_known(known, expired(), scope, send)
                return
        found = self._pipeline.peek(known.site.source, known.order, known.fingerprint)
        if found is None or found[0].record.original is not None:
            await self._miss(known, asked, scope, receive, send)
            return
        rendition, tier = found
        record = rendition.record
        if known.headers is None or known.etag != record.etag:
            known.headers = self._headers(known, record, cached=True)
            known.etag = record.etag
        if (asked.if_none_match or asked.if_modified_since) and response.unchanged(asked, known.order, record):
            await self._not_modified(known, record, f"hit-{tier}", send)
            return
        rid = request_id()
        headers = [*known.headers, (b"server-timing", HITS[tier]), (b"x-request-id", rid.encode())]
        if known.rate.per_s:
            headers += response.quota_headers(self._limiter.peek(known.rate.key, known.rate.per_s))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": rendition.body if method == "GET" else b""})
        self._hits[known.site.name, tier].inc()
        if self._log_hits:
            self._log(scope, known.site, 200, f"hit-{tier}", record.length, 0.0, rid)

    # ------------------------------------------------------------------------------------------ the rest

    async def _first_seen(
        self, scope: Scope, receive: Receive, send: Send, asked: RequestHeaders, memo_key: tuple[object, ...]
    ) -> None:
        host = host_name(asked.host)
        for door in self._doors:
            if door.matches(host, scope["raw_path"].decode("latin-1")):
                await door(scope, receive, send)
                return
        try:
            path = checked_target(scope["raw_path"], scope["query_string"])
        except Problem as problem:
            await self._plain(send, problem)
            return
        found = self._sites.find(host, path)
        if found is None:
            await self._pages(scope, receive, send)
            return
        site, rest = found
        ask = ask_of(site, rest, scope["query_string"], asked, scope["method"])
        origin = dict(asked.others).get(ORIGIN, "")
        try:
            if self.stopping:
                raise Overloaded("the server is stopping", retry_after_s=1)
            if ask.method == "OPTIONS":
                await response.send_whole(send, 204, site.cors.preflight(origin))
                return
            if ask.method not in ("GET", "HEAD"):
                raise MethodNotAllowed(f"expected GET or HEAD, got {ask.method}", fix="send a GET")
            allowed = site.access.authorize(scope["raw_path"], scope["query_string"], time.time())
            ask = ask_of(site, rest, allowed.query, asked, scope["method"])
            order = site.access.constrain(site.dialect.order(ask))
        except Problem as problem:
            await self._refused(site, ask, problem, scope, send, origin)
            return
        except Exception:
            log.exception("a dialect failed", dialect=site.dialect.name)
            fault = InternalError("the request could not be read")
            await self._refused(site, ask, fault, scope, send, origin)
            return
        rate = MissRate(*order.delivery.rate) if order.delivery.rate else site.miss_rate
        known = CachedOrder(site, ask, order, self._pipeline.fingerprint_of(order), rate, allowed.until_s, origin)
        self._memo[memo_key] = known
        await self._miss(known, asked, scope, receive, send)

    async def _miss(
        self, known: CachedOrder, asked: RequestHeaders, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Deliver, unless the client hangs up first: the server does not cancel us, so receive() is watched."""
        started = time.perf_counter()
        if self.stopping:
            await self._refused_known(known, Overloaded("the server is stopping", retry_after_s=1), scope, send)
            return
        work = asyncio.ensure_future(self._delivered(known, scope))
        gone = asyncio.ensure_future(hung_up(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                self._log(scope, known.site, SILENT, "gone", 0, time.perf_counter() - started, request_id())
                return
            delivered = work.result()
        except Problem as problem:
            await self._refused_known(known, problem, scope, send)
            return
        except Exception:
            log.exception("a delivery failed", dialect=known.site.dialect.name)
            await self._refused_known(known, InternalError("the picture could not be made"), scope, send)
            return
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
        try:
            await self._send(known, asked, delivered, scope, send, started)
        finally:
            if delivered.opened is not None:
                delivered.opened.close()

    async def _delivered(self, known: CachedOrder, scope: Scope) -> Delivered:
        query = unsigned(scope["query_string"]) if known.site.access.keys else scope["query_string"]
        url = target(scope["raw_path"], query).decode("latin-1")
        client = self._clients.resolve(scope)
        return await self._pipeline.deliver(
            known.site.source,
            known.order,
            tags=(url_tag(url),),
            admit=self._admission(known.rate) if known.rate.per_s else None,
            spend=partial(self._budget.consume, known.site.source.identity(known.order.sources[0].ref), client),
            client=client,
        )

    def _admission(self, rate: MissRate) -> Callable[[], Awaitable[None]]:
        async def admit() -> None:
            quota = await self._limiter.hit(rate.key, rate.per_s)
            if quota.exceeded:
                raise TooManyRequests(
                    f"expected at most {quota.limit} requests a second that miss the cache",
                    fix="come back in a second",
                    retry_after_s=quota.retry_after_s,
                )

        return admit

    async def _send(
        self, known: CachedOrder, asked: RequestHeaders, delivered: Delivered, scope: Scope, send: Send, started: float
    ) -> None:
        record, site = delivered.record, known.site
        if response.unchanged(asked, known.order, record):
            await self._not_modified(known, record, delivered.cache, send)
            return
        rid = request_id()
        headers = self._headers(known, record, cached=delivered.cache != "miss")
        timing = Timing() if self._production else delivered.timing
        headers += [
            (b"server-timing", response.server_timing(delivered.cache, timing)),
            (b"x-request-id", rid.encode()),
            *self._quota(known.rate),
        ]
        if scope["method"] == "HEAD":
            await response.send_whole(send, 200, headers)
        elif delivered.opened is not None:
            await response.send_file(send, headers, delivered.opened)
        else:
            await response.send_whole(send, 200, headers, delivered.body or b"")
        self._metrics.requests.labels(site.dialect.name, "200", delivered.cache).inc()
        self._metrics.bytes_out.labels(site.dialect.name).inc(record.length)
        self._log(scope, site, 200, delivered.cache, record.length, time.perf_counter() - started, rid)

    def _headers(self, known: CachedOrder, record: Record, *, cached: bool) -> RawHeaders:
        left_s = known.until_s - time.time() if known.until_s else None
        return response.picture_headers(
            known.site, known.order, record, cached=cached, origin=known.origin, left_s=left_s
        )

    def _quota(self, rate: MissRate) -> RawHeaders:
        return response.quota_headers(self._limiter.peek(rate.key, rate.per_s)) if rate.per_s else []

    async def _not_modified(self, known: CachedOrder, record: Record, cache: str, send: Send) -> None:
        left_s = known.until_s - time.time() if known.until_s else None
        headers = response.unchanged_headers(known.site, known.order, record, origin=known.origin, left_s=left_s)
        headers += [(b"x-request-id", request_id().encode()), *self._quota(known.rate)]
        await response.send_whole(send, 304, headers)
        self._metrics.requests.labels(known.site.dialect.name, "304", cache).inc()

    async def _refused_known(self, known: CachedOrder, problem: Problem, scope: Scope, send: Send) -> None:
        await self._refused(known.site, known.ask, problem, scope, send, known.origin, known)

    async def _refused(
        self,
        site: Site,
        ask: ImageRequest,
        problem: Problem,
        scope: Scope,
        send: Send,
        origin: str,
        known: CachedOrder | None = None,
    ) -> None:
        """`known` None: the query was not read, so Accept may have had a say, but for a method that is not allowed."""
        rate = known.rate if known else site.miss_rate
        negotiated = known.order.delivery.negotiated if known else not isinstance(problem, MethodNotAllowed)
        if self._production and isinstance(problem, InternalError):
            problem = InternalError("our fault: the log knows more")
        answer, headers = response.refusal(site.dialect, problem, ask, negotiated=negotiated)
        headers = site.cors.apply(headers, origin)
        rid = request_id()
        headers += [(b"x-request-id", rid.encode()), *self._refused_quota(rate, problem)]
        await response.send_whole(send, answer.status, headers, answer.body if scope["method"] != "HEAD" else b"")
        self._metrics.requests.labels(site.dialect.name, str(answer.status), "none").inc()
        self._log(scope, site, answer.status, "none", len(answer.body), 0.0, rid, problem=problem.code)

    def _refused_quota(self, rate: MissRate, problem: Problem) -> RawHeaders:
        if isinstance(problem, TooManyRequests) and rate.per_s:
            return response.quota_headers(Quota(rate.per_s, 0))
        return self._quota(rate)

    async def _plain(self, send: Send, problem: Problem) -> None:
        """A refusal before any site is known."""
        body, headers = response.plain(problem)
        await response.send_whole(send, problem.status, [*headers, (b"x-request-id", request_id().encode())], body)
        self._metrics.requests.labels("none", str(problem.status), "none").inc()

    def _log(
        self,
        scope: Scope,
        site: Site,
        status: int,
        cache: str,
        length: int,
        seconds: float,
        rid: str,
        **more: str,
    ) -> None:
        if not self._logs:
            return
        log.info(
            "request",
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1")[:512],
            site=site.name,
            status=status,
            cache=cache,
            bytes=length,
            ms=round(seconds * 1000, 1),
            id=rid,
            **more,
        )
