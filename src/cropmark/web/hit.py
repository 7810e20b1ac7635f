"""The path of a cache hit: no framework, database or thread; nothing is awaited before the response is sent.

Rules: a memory hit parses the headers, looks up the memo and peeks into the caches. Everything else (the first request
of a URL, a miss, an original) is left to miss.py. `python benchmarks/hit_path.py` measures this path.
"""

from __future__ import annotations

import time

from cachetools import LRUCache

from cropmark.model.problems import Problem
from cropmark.ports import Record
from cropmark.security.signing import url_expired
from cropmark.web.cors import ORIGIN, RawHeaders
from cropmark.web.deps import AppDeps
from cropmark.web.miss import MissPath
from cropmark.web.request import Receive, RequestHeaders, Scope, Send, parse_headers, request_id
from cropmark.web.respond import CachedOrder, Responder
from cropmark.web.response import age_headers, is_not_modified, quota_headers

MEMO_BYTES = 32 * 2**20
"""Estimated bytes of the orders in the memo."""
TIMING_OF_HIT = {tier: f"cache;desc=hit-{tier}".encode() for tier in ("memory", "disk", "shared")}


class HitPath:
    """Serves cache hits of requests that it has seen before; passes all others on to the MissPath."""

    def __init__(self, deps: AppDeps, responder: Responder, miss: MissPath) -> None:
        self._pipeline = deps.pipeline
        self._limiter = deps.limiter
        self._responder = responder
        self._miss = miss
        self._sent_bytes = deps.metrics.response_bytes
        self._log_hits = deps.access_log == "all"
        self._counters = {
            (site.name, tier): deps.metrics.request_counter(site.dialect.name, 200, f"hit-{tier}")
            for site in deps.sites
            for tier in TIMING_OF_HIT
        }
        self._memo: LRUCache[tuple[object, ...], CachedOrder] = LRUCache(
            MEMO_BYTES, getsizeof=lambda cached: cached.memo_bytes
        )
        self._header_names = frozenset(name.encode() for site in deps.sites for name in site.dialect.request_headers)
        self._image_header_names = frozenset(n for site in deps.sites for n in site.dialect.image_request_headers)
        self._client_ip = deps.client_ip
        if any(site.cors.by_origin for site in deps.sites):
            self._header_names |= {ORIGIN.encode()}

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if self._log_hits:
            scope["started_s"] = time.perf_counter()
        try:
            headers = parse_headers(scope, self._header_names)
        except Problem as problem:
            scope.setdefault("started_s", time.perf_counter())
            await self._responder.send_problem(problem, scope, send)
            return
        # The scheme is in the request that a dialect reads.
        address = (scope.get("scheme"), headers.host, scope["raw_path"], scope["query_string"])
        trusted = bool(headers.others) and self._sends_trusted_image_headers(headers, scope)
        memo_key = (*address, headers.accept, headers.others, trusted)
        cached = self._memo.get(memo_key) if method in ("GET", "HEAD") else None
        if cached is None:
            await self._first_request(scope, receive, send, headers, memo_key)
            return
        if cached.expires_s:
            cached.headers = None  # max-age is at most the time until the signed URL expires
            if time.time() > cached.expires_s:
                scope.setdefault("started_s", time.perf_counter())
                await self._responder.send_error_of(cached, url_expired(), scope, send)
                return
        found = self._pipeline.peek(cached.site.source, cached.order, cached.fingerprint)
        if found is None or found[0].record.original is not None:
            await self._miss.deliver(cached, headers, scope, receive, send)
            return
        rendition, tier = found
        record = rendition.record
        if (headers.if_none_match or headers.if_modified_since) and is_not_modified(headers, cached.order, record):
            await self._responder.send_not_modified(cached, record, f"hit-{tier}", scope, send, logged=self._log_hits)
            return
        rid = request_id()
        response_headers = self._headers(cached, record, tier, rid)
        await send({"type": "http.response.start", "status": 200, "headers": response_headers})
        await send({"type": "http.response.body", "body": rendition.body if method == "GET" else b""})
        if method == "GET":
            self._sent_bytes[cached.site.dialect.name] += record.length
        self._counters[cached.site.name, tier].inc()  # not timed: that takes a fifth of the time of a hit
        if self._log_hits:
            self._responder.log(scope, cached.site.name, 200, f"hit-{tier}", record.length, rid)

    def _headers(self, cached: CachedOrder, record: Record, tier: str, rid: str) -> RawHeaders:
        """The headers of a hit; those that depend only on the rendition are made once for each URL."""
        if cached.headers is None or cached.etag != record.etag:
            cached.headers = cached.image_headers(record, cached=True)
            cached.etag = record.etag
        headers = [*cached.headers, (b"server-timing", TIMING_OF_HIT[tier]), (b"x-request-id", rid.encode())]
        if cached.order.delivery.use_origin_cache_control and record.versions and record.versions[0].cache_control:
            headers += age_headers(cached.site, cached.order, record, time.time())
        if cached.rate.per_s:
            headers += quota_headers(self._limiter.peek(cached.rate.key, cached.rate.per_s, 1))
        return headers

    async def _first_request(
        self, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders, memo_key: tuple[object, ...]
    ) -> None:
        trusted = memo_key[-1] is True
        cached = await self._miss.first_request(scope, receive, send, headers, trusted=trusted)
        if cached is not None:
            self._memo[memo_key] = cached
            await self._miss.deliver(cached, headers, scope, receive, send)

    def _sends_trusted_image_headers(self, headers: RequestHeaders, scope: Scope) -> bool:
        """True if the request has headers that change the image, and comes from a trusted proxy."""
        has_image_headers = any(name in self._image_header_names for name, _ in headers.others)
        return has_image_headers and self._client_ip.is_trusted_proxy(scope)
