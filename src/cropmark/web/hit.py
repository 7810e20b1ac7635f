"""Serves cache hits without a framework, a database or a thread. Nothing is awaited before the response is sent.

A hit is a rendition in memory, or in a small file on disk that is in the page cache. To serve a hit, this module only
parses the headers, finds the order in the memo, and peeks into the caches. All else is left to miss.py: the first
request of a URL, a cache miss, an original, a range. `python benchmarks/hit_path.py` measures this path.
"""

from __future__ import annotations

import time
from time import perf_counter

from cachetools import LRUCache

from cropmark.model.problems import Problem
from cropmark.pipeline import Delivered
from cropmark.ports import Record, Rendition
from cropmark.runtime.metrics import FIRST_BUCKET_S
from cropmark.security.signing import url_expired
from cropmark.web.cors import ORIGIN, RawHeaders
from cropmark.web.deps import AppDeps
from cropmark.web.miss import MissPath
from cropmark.web.ranges import has_ranges
from cropmark.web.request import Receive, RequestHeaders, Scope, Send, parse_headers
from cropmark.web.respond import CachedOrder, Responder
from cropmark.web.response import is_not_modified, quota_headers
from cropmark.web.sending import WHOLE_BYTES

MEMO_BYTES = 32 * 2**20
"""Largest size of all orders in the memo together, in estimated bytes."""
TIMING_OF_HIT = {tier: f"cache;desc=hit-{tier}".encode() for tier in ("memory", "disk")}


class HitPath:
    """Serves a cache hit if the same request was made before. Passes all other requests to MissPath."""

    def __init__(self, deps: AppDeps, responder: Responder, miss: MissPath) -> None:
        self._pipeline = deps.pipeline
        self._limiter = deps.limiter
        self._responder = responder
        self._request_id = responder.request_id
        self._miss = miss
        self._sent_bytes = deps.metrics.response_bytes
        self._log_hits = deps.access_log == "all"
        self._served = {
            (site.name, tier): deps.metrics.request_series(site.name, site.dialect.name, f"hit-{tier}", 200)
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
        scope["started_s"] = perf_counter()
        try:
            headers = parse_headers(scope, self._header_names)
        except Problem as problem:
            await self._responder.send_problem(problem, scope, send)
            return
        trusted = bool(headers.others) and self._sends_trusted_image_headers(headers, scope)
        # The scheme is in the request that a dialect reads.
        address = (scope.get("scheme"), headers.host, scope["raw_path"], scope["query_string"])
        memo_key = (*address, headers.accept, headers.others, trusted)
        cached = self._memo.get(memo_key) if scope["method"] in ("GET", "HEAD") else None
        if cached is None:
            await self._first_request(scope, receive, send, headers, memo_key, trusted=trusted)
            return
        if cached.expires_s and await self._refuse_expired(cached, scope, send):
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
        if record.length > WHOLE_BYTES or has_ranges(record):
            hit = Delivered(record, rendition.body, f"hit-{tier}")
            await self._miss.send(cached, headers, hit, scope, send, logged=self._log_hits)
            return
        await self._send(cached, rendition, tier, scope, send)

    async def _send(self, cached: CachedOrder, rendition: Rendition, tier: str, scope: Scope, send: Send) -> None:
        """Send a rendition in one piece, and count the request."""
        record, is_get, rid = rendition.record, scope["method"] == "GET", self._request_id(scope)
        response_headers = self._headers(cached, record, tier, rid)
        await send({"type": "http.response.start", "status": 200, "headers": response_headers})
        await send({"type": "http.response.body", "body": rendition.body if is_get else b""})
        if is_get:
            self._sent_bytes[cached.site.dialect.name] += record.length
        served = self._served[cached.site.name, tier]
        elapsed_s = perf_counter() - scope["started_s"]
        if elapsed_s <= FIRST_BUCKET_S:  # as most do: a call takes as long as all of this
            served.counts[0] += 1
            served.sum_s += elapsed_s
        else:
            served.observe(elapsed_s)
        if self._log_hits:
            self._responder.log(scope, cached.site.name, 200, f"hit-{tier}", record.length, rid)

    def _headers(self, cached: CachedOrder, record: Record, tier: str, rid: str) -> RawHeaders:
        """The response headers of a hit. Those that depend only on the rendition are built once and reused."""
        if cached.headers is None or cached.etag != record.etag:
            cached.headers = cached.image_headers(record, cached=True)
            cached.etag = record.etag
        headers = [*cached.headers, (b"server-timing", TIMING_OF_HIT[tier]), (b"x-request-id", rid.encode())]
        if cached.order.delivery.use_origin_cache_control and record.versions and record.versions[0].cache_control:
            headers += cached.age_headers(record)
        if cached.rate.per_s:
            headers += quota_headers(self._limiter.peek(cached.rate.key, cached.rate.per_s, 1))
        return headers

    async def _first_request(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: RequestHeaders,
        memo_key: tuple[object, ...],
        *,
        trusted: bool,
    ) -> None:
        """Parse a request, store its order in the memo under `memo_key`, and deliver its image."""
        cached = await self._miss.first_request(scope, receive, send, headers, trusted=trusted)
        if cached is not None:
            self._memo[memo_key] = cached
            await self._miss.deliver(cached, headers, scope, receive, send)

    async def _refuse_expired(self, cached: CachedOrder, scope: Scope, send: Send) -> bool:
        """Send the error response if the signed URL has expired. Returns True if the response was sent."""
        cached.headers = None  # max-age is at most the time until the signed URL expires
        if time.time() <= cached.expires_s:
            return False
        await self._responder.send_error_of(cached, url_expired(), scope, send)
        return True

    def _sends_trusted_image_headers(self, headers: RequestHeaders, scope: Scope) -> bool:
        """True if the request has headers that change the image, and comes from a trusted proxy."""
        has_image_headers = any(name in self._image_header_names for name, _ in headers.others)
        return has_image_headers and self._client_ip.is_trusted_proxy(scope)
