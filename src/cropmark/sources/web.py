"""Images from the web: stored originals in front of a guarded fetcher, one fetch per URL at a time.

stat  fresh: its version · stale but usable: its version, and a conditional request in the background · else None
open  like stat, else one fetch: 200 is stored, 304 renews the record, an error is replaced by a stale original

Rules:
- An original is stored for the Policy that it was fetched under. A source does not serve an
  original that only the policy of another source allows.
- A response that may not be stored is shared by requests of the same moment (`minimum_s`).
- A failure is remembered for `failure_s`.
- A purge during a fetch: the fetch is answered and not stored; later requests start another one.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

import structlog
from cachetools import LRUCache, TTLCache
from yarl import URL

from cropmark.model.problems import Problem, SourceFailed, SourceNotFound, SourceProblem, SourceTimeout
from cropmark.plan.source import SourceRef, WebUrl
from cropmark.ports import OpenSource, SourceVersion, purge_matches
from cropmark.runtime.singleflight import SingleFlight
from cropmark.sources.connection import SYSTEM, NetworkAccess
from cropmark.sources.fetcher import Fetcher, OriginRequest, OriginResponse, Validators
from cropmark.sources.freshness import DEFAULT_BOUNDS, LifetimeBounds, http_date, lifetimes_of
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.original_record import Freshness, SourceRecord
from cropmark.sources.policy import Policy, forwardable
from cropmark.sources.shared_file import SharedFile
from cropmark.sources.urls import loggable_origin, read_url

log = structlog.get_logger("cropmark.sources")

_MAX_TARGETS = 4096
_MAX_FAILURES = 4096
_MAX_PENDING = 32
"""Largest number of responses that are shared without being stored."""
_MAX_VALIDATOR_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL that the policy allows, with the headers to send, its identity, and its key in the cache of originals."""

    url: URL
    headers: tuple[tuple[str, str], ...]
    identity: str
    key: str


@dataclass(frozen=True, slots=True)
class _Failure:
    identity: str
    problem: SourceProblem


class WebSource:
    """The Source of WebUrls.

    Raises the port's Problems, SourceUnusable for a response that is not an image, and Overloaded if too many fetches
    are in progress.
    """

    def __init__(
        self,
        policy: Policy,
        originals: OriginalCache,
        *,
        bounds: LifetimeBounds = DEFAULT_BOUNDS,
        network: NetworkAccess = SYSTEM,
        clock: Callable[[], float] = time.time,
        max_failures: int = _MAX_FAILURES,
    ) -> None:
        """`max_failures` bounds the number of failures that are remembered."""
        self._policy = policy
        self._scope = policy.scope
        self._originals = originals
        self._bounds = bounds
        self._fetcher = Fetcher(policy, network)
        self._clock = clock
        self._targets: LRUCache[WebUrl, _Target] = LRUCache(_MAX_TARGETS)
        self._flights: SingleFlight[tuple[str, int], SharedFile] = SingleFlight()
        self._revalidating: dict[str, asyncio.Task[None]] = {}
        self._failures: TTLCache[str, _Failure] = TTLCache(max_failures, bounds.failure_s, timer=clock)
        self._pending: dict[str, SharedFile] = {}

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        """The version of a usable original. Raises SourceForbidden, and SourceNotFound after a recent 404."""
        target = self._target(ref)
        record, freshness = self._stored(target)
        if record is not None and freshness is not Freshness.EXPIRED:
            if freshness is Freshness.STALE:
                self._start_revalidation(target)
            return record.version
        if (pending := self._pending.get(target.key)) is not None:
            return pending.version
        failure = self._failures.get(target.key)
        if failure is not None and isinstance(failure.problem, SourceNotFound):
            raise copy.copy(failure.problem)
        return None

    async def open(self, ref: SourceRef) -> OpenSource:
        """The original, stored or fetched."""
        target = self._target(ref)
        freshness = self._stored(target)[1]
        if freshness is not Freshness.EXPIRED:
            if freshness is Freshness.STALE:
                self._start_revalidation(target)
            if (stored := await self._originals.read(target.key)) is not None:
                return OpenSource.from_fd(stored[0], stored[1].bytes, stored[1].version)
        if (pending := self._pending.get(target.key)) is not None:
            return pending.open()
        if (failure := self._failures.get(target.key)) is not None:
            raise copy.copy(failure.problem)
        return (await self._revalidate(target)).open()

    def identity(self, ref: SourceRef) -> str:
        """`web:https://host/path`, followed by # and a digest if headers are forwarded. Raises SourceForbidden."""
        url, headers = self._read(_web_url(ref))
        return _identity(url, headers)

    def purge(self, prefix: str) -> None:
        """Remove originals, failures and shared responses; fetches in progress are answered but not stored."""
        self._originals.purge(prefix)
        for key in [k for k, f in self._failures.items() if purge_matches(prefix, f.identity)]:
            self._failures.pop(key, None)
        for key in [k for k, file in self._pending.items() if purge_matches(prefix, file.version.identity)]:
            del self._pending[key]

    async def close(self) -> None:
        """Stop all fetches and close all connections."""
        tasks = list(self._revalidating.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._flights.close()
        await self._fetcher.close()
        self._pending.clear()

    # ---------------------------------------------------------------------------------------------- state

    def _target(self, ref: SourceRef) -> _Target:
        web_url = _web_url(ref)
        target = self._targets.get(web_url)
        if target is None:
            url, headers = self._read(web_url)
            self._policy.reachability(url)
            identity = _identity(url, headers)
            key = hashlib.sha256(f"{self._scope} {identity}".encode()).hexdigest()
            target = self._targets[web_url] = _Target(url, headers, identity, key)
        return target

    def _read(self, web_url: WebUrl) -> tuple[URL, tuple[tuple[str, str], ...]]:
        return read_url(web_url.url), forwardable(self._policy, web_url.headers)

    def _stored(self, target: _Target) -> tuple[SourceRecord | None, Freshness]:
        record = self._originals.find(target.key)
        if record is None:
            return None, Freshness.EXPIRED
        now = self._clock()
        freshness = record.freshness(now, failing=False)
        if freshness is Freshness.FRESH:  # the usual case, on the path of every hit
            return record, freshness
        failure = self._failures.get(target.key)
        return record, record.freshness(now, failing=failure is not None and _is_transient(failure.problem))

    # ---------------------------------------------------------------------------------------------- fetching

    def _start_revalidation(self, target: _Target) -> None:
        """Revalidate in the background, unless that is in progress or has just failed."""
        if target.key in self._revalidating or target.key in self._failures:
            return
        task = asyncio.get_running_loop().create_task(self._revalidate_in_background(target))
        self._revalidating[target.key] = task
        task.add_done_callback(lambda _: self._revalidating.pop(target.key, None))

    async def _revalidate_in_background(self, target: _Target) -> None:
        try:
            await self._revalidate(target)
        except Problem as problem:
            log.info("revalidating a stale original failed", origin=loggable_origin(target.url), error=problem.code)

    async def _revalidate(self, target: _Target) -> SharedFile:
        generation = self._originals.generation(target.identity)
        # The generation is in the key: a request after a purge must not join a fetch from before it.
        return (await self._flights.run((target.key, generation), lambda: self._fetch(target, generation)))[0]

    async def _fetch(self, target: _Target, generation: int) -> SharedFile:
        """One fetch, conditional if an original is stored."""
        record = self._originals.find(target.key)
        known = None if record is None else Validators(record.final_url, record.etag, record.last_modified)
        try:
            response = await self._fetcher.fetch(
                OriginRequest(target.url, target.headers, known), self._originals.spool
            )
        except SourceProblem as problem:
            log.info(
                "fetch failed", origin=loggable_origin(target.url), error=problem.code, status=problem.origin_status
            )
            return await self._stale_on_error(problem, target, generation)
        if response.body is None:
            return await self._not_modified(target, generation, response)
        try:
            return self._store_response(target, generation, response)
        finally:
            response.body.discard()

    async def _stale_on_error(self, problem: SourceProblem, target: _Target, generation: int) -> SharedFile:
        """The stale original if it may be used in place of this error; else raises the error."""
        if generation == self._originals.generation(target.identity):
            self._failures[target.key] = _Failure(target.identity, problem)
            if not _is_transient(problem):
                self._originals.drop(target.key)
        record = self._originals.find(target.key)
        if _is_transient(problem) and record is not None and self._clock() < record.stale_if_error_until_s:
            stored = await self._originals.read(target.key)
            if stored is not None:
                return SharedFile(stored[0], stored[1].bytes, stored[1].version)
        raise problem

    async def _not_modified(self, target: _Target, generation: int, response: OriginResponse) -> SharedFile:
        """The stored original, with the record renewed by a 304."""
        record = self._originals.find(target.key)
        if record is not None:
            headers = response.headers
            has_lifetime = "Cache-Control" in headers or "Expires" in headers
            now = self._clock()
            lifetimes = lifetimes_of(headers, now, self._bounds) if has_lifetime else record.lifetimes
            cache_control = _cache_control(headers) if has_lifetime else record.cache_control
            renewed = replace(record.revalidated(now, lifetimes), cache_control=cache_control)
            self._originals.update(target.key, renewed)
            if (stored := await self._originals.read(target.key)) is not None:
                if not lifetimes.storable:
                    self._originals.drop(target.key)
                return SharedFile(stored[0], stored[1].bytes, stored[1].version)
        # Purged, evicted or corrupt since the request was sent: the next one is unconditional.
        return await self._fetch(target, generation)

    def _store_response(self, target: _Target, generation: int, response: OriginResponse) -> SharedFile:
        """A new original: stored if it may be, else shared for a moment."""
        body = response.body
        assert body is not None
        now = self._clock()
        lifetimes = lifetimes_of(response.headers, now, self._bounds)
        record = _new_record(target, generation, response, now).revalidated(now, lifetimes)
        file = SharedFile(body.open_for_reading(), body.bytes, record.version)
        if not lifetimes.storable:
            self._originals.drop(target.key)
        if not (lifetimes.storable and self._originals.store(target.key, body, record)):
            self._share_briefly(target, generation, file)
        return file

    def _share_briefly(self, target: _Target, generation: int, file: SharedFile) -> None:
        """Share a response that is not stored for `minimum_s`: one request opens its source several times."""
        is_current = generation == self._originals.generation(target.identity)
        if is_current and len(self._pending) < _MAX_PENDING:
            self._pending[target.key] = file
            asyncio.get_running_loop().call_later(self._bounds.minimum_s, self._pending.pop, target.key, None)


def _new_record(target: _Target, generation: int, response: OriginResponse, now_s: float) -> SourceRecord:
    """The record of a response that was fetched now, before its lifetimes are known."""
    assert response.body is not None
    return SourceRecord(
        identity=target.identity,
        final_url=response.final_url,
        digest=response.body.digest,
        bytes=response.body.bytes,
        fetched_s=now_s,
        fresh_until_s=now_s,
        stale_while_revalidate_until_s=now_s,
        stale_if_error_until_s=now_s,
        etag=_repeatable(response.headers.get("ETag")),
        last_modified=_repeatable(response.headers.get("Last-Modified")),
        modified_s=http_date(response.headers.get("Last-Modified")),
        generation=generation,
        cache_control=_cache_control(response.headers),
    )


def _web_url(ref: SourceRef) -> WebUrl:
    if not isinstance(ref, WebUrl):
        raise SourceNotFound("the image is not on the web", fix="name it by its URL")
    return ref


def _identity(url: URL, headers: tuple[tuple[str, str], ...]) -> str:
    # read_url() removes fragments, so no other URL has this identity.
    suffix = f"#{hashlib.sha256(repr(headers).encode()).hexdigest()[:16]}" if headers else ""
    return f"web:{url}{suffix}"


def _is_transient(problem: SourceProblem) -> bool:
    """True if a stale original may be used in place of this error.

    RFC 5861, section 4, names 5xx and an unreachable origin; 429 only asks to come back later.
    """
    if isinstance(problem, SourceTimeout):
        return True
    status = problem.origin_status
    return isinstance(problem, SourceFailed) and (
        status is None or status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500
    )


def _cache_control(headers: Mapping[str, str]) -> str | None:
    """The Cache-Control header; `no-store` in place of a value that cannot be repeated in a header."""
    text = headers.get("Cache-Control")
    return None if text is None else _repeatable(text) or "no-store"


def _repeatable(text: str | None) -> str | None:
    """The value of a header if it can be sent again, else None."""
    is_safe = text and len(text) <= _MAX_VALIDATOR_CHARACTERS and text.isascii() and text.isprintable()
    return text if is_safe else None
