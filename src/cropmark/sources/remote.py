"""Fetches originals from web origins and buckets, and stores them. Only one fetch of an original runs at a time.

stat  returns the version of a fresh or stale original; if it is stale, starts a conditional request in the background.
      Returns None if no usable original is stored.
open  opens a fresh or stale original. If no usable original is stored, fetches it: a body is stored, and a response
      "not modified" renews the record. If the fetch fails, a stale original may be opened.

Rules:
- A response that may not be stored is shared with other requests for `minimum_s`.
- A failed fetch is not repeated for `failure_s`.
- If a purge comes during a fetch, the response is sent but not stored, and later requests start another fetch.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

import structlog
from cachetools import TTLCache

from cropmark.model.problems import Problem, SourceFailed, SourceNotFound, SourceProblem, SourceTimeout
from cropmark.ports import OpenSource, SourceVersion, purge_matches
from cropmark.runtime.singleflight import SingleFlight
from cropmark.sources.freshness import DEFAULT_BOUNDS, LifetimeBounds, http_date, lifetimes_of, origin_keys
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.original_record import Freshness, SourceRecord
from cropmark.sources.shared_file import SharedFile
from cropmark.sources.transfer import NewSpool, OriginResponse, Validators

log = structlog.get_logger("cropmark.sources")

MAX_FAILURES = 4096
_MAX_PENDING = 32
"""Largest number of responses that are shared without being stored."""
_MAX_VALIDATOR_CHARACTERS = 512


Fetch = Callable[[Validators | None, NewSpool], Awaitable[OriginResponse]]
"""Fetches an original; with validators, by a conditional request. Raises the Problems of ports.Source."""


OnFetch = Callable[[str, float, int], None]
"""Called after each fetch with its result, its duration in seconds, and the length of the body.

The result is `ok`, `not_modified`, `cancelled` or the code of a Problem.
"""


def ignore_fetch(result: str, duration_s: float, length: int) -> None:
    """Do nothing: the default for `on_fetch`."""


@dataclass(frozen=True, slots=True)
class Target:
    """An original to fetch, and the function that fetches it.

    `key` is its key in the cache of originals. `origin` names its origin in the log.
    """

    identity: str
    key: str
    origin: str
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class _Failure:
    identity: str
    problem: SourceProblem


class RemoteOriginals:
    """The originals of one source: opens stored originals, and fetches the others."""

    def __init__(
        self,
        originals: OriginalCache,
        *,
        bounds: LifetimeBounds = DEFAULT_BOUNDS,
        clock: Callable[[], float] = time.time,
        max_failures: int = MAX_FAILURES,
        on_fetch: OnFetch = ignore_fetch,
    ) -> None:
        """`max_failures` limits the number of failed fetches that are remembered."""
        self._originals = originals
        self._on_fetch = on_fetch
        self._bounds = bounds
        self._clock = clock
        self._flights: SingleFlight[tuple[str, int, int], SharedFile] = SingleFlight()
        self._revalidating: dict[str, asyncio.Task[None]] = {}
        self._failures: TTLCache[str, _Failure] = TTLCache(max_failures, bounds.failure_s, timer=clock)
        self._pending: dict[str, SharedFile] = {}

    def stat(self, target: Target) -> SourceVersion | None:
        """The version of an original that may be used now, or None. Raises SourceNotFound after a recent 404."""
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

    async def open(self, target: Target) -> OpenSource:
        """Open the stored original, or fetch it first."""
        freshness = self._stored(target)[1]
        if freshness is not Freshness.EXPIRED:
            if freshness is Freshness.STALE:
                self._start_revalidation(target)
            if (stored := await self._originals.read(target.key)) is not None:
                self._originals.hits += 1
                return OpenSource.from_fd(stored[0], stored[1].bytes, stored[1].version)
        if (pending := self._pending.get(target.key)) is not None:
            return pending.open()
        if (failure := self._failures.get(target.key)) is not None:
            raise copy.copy(failure.problem)
        self._originals.misses += 1
        return (await self._revalidate(target)).open()

    def purge(self, prefix: str) -> None:
        """Remove the originals, failures and shared responses that `prefix` covers.

        The responses of fetches in progress are sent but not stored.
        """
        self._originals.purge(prefix)
        for key in [k for k, f in self._failures.items() if purge_matches(prefix, f.identity)]:
            self._failures.pop(key, None)
        for key in [k for k, file in self._pending.items() if purge_matches(prefix, file.version.identity)]:
            del self._pending[key]

    async def close(self) -> None:
        """Stop all fetches."""
        tasks = list(self._revalidating.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._flights.close()
        self._pending.clear()

    # ---------------------------------------------------------------------------------------------- state

    def _stored(self, target: Target) -> tuple[SourceRecord | None, Freshness]:
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

    def _start_revalidation(self, target: Target) -> None:
        """Revalidate the original in the background, unless a revalidation is in progress or has just failed."""
        if target.key in self._revalidating or target.key in self._failures:
            return
        task = asyncio.get_running_loop().create_task(self._revalidate_in_background(target))
        self._revalidating[target.key] = task
        task.add_done_callback(lambda _: self._revalidating.pop(target.key, None))

    async def _revalidate_in_background(self, target: Target) -> None:
        try:
            await self._revalidate(target)
        except Problem as problem:
            log.info("revalidating a stale original failed", origin=target.origin, error=problem.code)

    async def _revalidate(self, target: Target) -> SharedFile:
        generation = self._originals.generation(target.identity)
        # The generation is in the key: a request after a purge must not share a fetch that began before the purge.
        flight = (target.key, generation, self._originals.key_purges)
        return (await self._flights.run(flight, lambda: self._fetch(target, generation)))[0]

    async def _fetch(self, target: Target, generation: int) -> SharedFile:
        """Fetch the original. If it is already stored, sends a conditional request."""
        record, key_purges = self._originals.find(target.key), self._originals.key_purges
        known = None if record is None else Validators(record.final_url, record.etag, record.last_modified)
        try:
            response = await self._counted(target.fetch(known, self._originals.spool))
        except SourceProblem as problem:
            log.info("fetch failed", origin=target.origin, error=problem.code, status=problem.origin_status)
            return await self._stale_on_error(problem, target, generation)
        if response.body is None:
            return await self._not_modified(target, generation, response)
        try:
            return self._store_response(target, generation, response, key_purges)
        finally:
            response.body.discard()

    async def _counted(self, fetch: Awaitable[OriginResponse]) -> OriginResponse:
        """Wait for a fetch and return its response.

        Reports the result to `on_fetch`, even if the fetch fails or is cancelled.
        """
        result, length, started_s = "cancelled", 0, time.perf_counter()
        try:
            response = await fetch
            result, length = ("ok", response.body.bytes) if response.body is not None else ("not_modified", 0)
            return response
        except Problem as problem:
            result = problem.code
            raise
        finally:
            self._on_fetch(result, time.perf_counter() - started_s, length)

    async def _stale_on_error(self, problem: SourceProblem, target: Target, generation: int) -> SharedFile:
        """The stale original, if it may be sent after a failed fetch. Otherwise raises `problem`.

        The failure is remembered, so that the fetch is not repeated for some seconds. If the problem is not transient,
        the stored original is removed.
        """
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

    async def _not_modified(self, target: Target, generation: int, response: OriginResponse) -> SharedFile:
        """Renew the record of the stored original after a 304 response, and return the original."""
        record = self._originals.find(target.key)
        if record is not None:
            headers = response.headers
            has_lifetime = "Cache-Control" in headers or "Expires" in headers
            now = self._clock()
            lifetimes = lifetimes_of(headers, now, self._bounds) if has_lifetime else record.lifetimes
            cache_control = _cache_control(headers) if has_lifetime else record.cache_control
            keys = origin_keys(headers) or record.keys
            renewed = replace(record.revalidated(now, lifetimes), cache_control=cache_control, keys=keys)
            self._originals.update(target.key, renewed)
            if (stored := await self._originals.read(target.key)) is not None:
                if not lifetimes.storable:
                    self._originals.drop(target.key)
                return SharedFile(stored[0], stored[1].bytes, stored[1].version)
        # The original was purged, evicted or found corrupt after the request was sent; the next fetch is unconditional.
        return await self._fetch(target, generation)

    def _store_response(self, target: Target, generation: int, response: OriginResponse, key_purges: int) -> SharedFile:
        """Store the fetched original if its headers permit this, and return it. Otherwise share it for a moment."""
        body = response.body
        assert body is not None
        now = self._clock()
        lifetimes = lifetimes_of(response.headers, now, self._bounds)
        record = _new_record(target, generation, response, now).revalidated(now, lifetimes)
        file = SharedFile(body.open_for_reading(), body.bytes, record.version)
        if self._originals.has_purged_key(record, key_purges):
            return file
        if not lifetimes.storable:
            self._originals.drop(target.key)
        if not (lifetimes.storable and self._originals.store(target.key, body, record)):
            self._share_briefly(target, generation, file)
        return file

    def _share_briefly(self, target: Target, generation: int, file: SharedFile) -> None:
        """Share a response that is not stored with the requests of the next `minimum_s`.

        Even a single request opens its source several times.
        """
        is_current = generation == self._originals.generation(target.identity)
        if is_current and len(self._pending) < _MAX_PENDING:
            self._pending[target.key] = file
            asyncio.get_running_loop().call_later(self._bounds.minimum_s, self._pending.pop, target.key, None)


def _new_record(target: Target, generation: int, response: OriginResponse, now_s: float) -> SourceRecord:
    """A new record for a response that was received at `now_s`. Its lifetimes are not set yet."""
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
        keys=origin_keys(response.headers),
    )


def _is_transient(problem: SourceProblem) -> bool:
    """True if a stale original may be sent instead of this error.

    RFC 5861, section 4, names 5xx and an unreachable origin. 429 is added: the origin asks to repeat the request later.
    """
    if isinstance(problem, SourceTimeout):
        return True
    status = problem.origin_status
    return isinstance(problem, SourceFailed) and (
        status is None or status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500
    )


def _cache_control(headers: Mapping[str, str]) -> str | None:
    """The Cache-Control header, or None. A value that is not safe to send in a header becomes `no-store`."""
    text = headers.get("Cache-Control")
    return None if text is None else _repeatable(text) or "no-store"


def _repeatable(text: str | None) -> str | None:
    """The value of a header if it is safe to send it in another header, else None."""
    is_safe = text and len(text) <= _MAX_VALIDATOR_CHARACTERS and text.isascii() and text.isprintable()
    return text if is_safe else None
