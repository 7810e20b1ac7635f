"""Pictures from the web: the guarded fetcher behind a store of originals, one fetch for all who want the same.

glance ── fresh: stamp; stale but usable: stamp, and one conditional request behind it; else None
open   ── as glance, or one flight a URL: 200 kept, 304 renewed, an error answered by the stale original or told
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
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.ports import OpenSource, SourceVersion, purge_matches
from cropmark.runtime.singleflight import SingleFlight
from cropmark.sources.connection import SYSTEM, NetworkAccess
from cropmark.sources.fetcher import Fetcher, OriginRequest, OriginResponse, Validators
from cropmark.sources.freshness import LIFETIMES, LifetimeBounds, freshness, http_date
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.original_record import Freshness, SourceRecord
from cropmark.sources.policy import Policy, forwardable
from cropmark.sources.shared_file import SharedFile, handed
from cropmark.sources.urls import read_url, shown

log = structlog.get_logger("cropmark.sources")

_TARGETS = 4096
_FAILURES = 4096
_MOMENTS = 32
"""Answers that may not be kept, held for those who ask in the same moment."""
_LONGEST_VALIDATOR = 512


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL that the policy admits, and what it is kept and told by."""

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

    Problems: the port's own; SourceUnusable for what is no picture; Overloaded where too many are fetched.
    An original is kept for the Policy that it was fetched under: where several sources share a store, none answers
    with what another's rules let in.
    """

    def __init__(
        self,
        policy: Policy,
        originals: OriginalCache,
        *,
        lifetimes: LifetimeBounds = LIFETIMES,
        network: NetworkAccess = SYSTEM,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._scope = policy.scope
        self._originals = originals
        self._lifetimes = lifetimes
        self._fetcher = Fetcher(policy, network)
        self._clock = clock
        self._targets: LRUCache[WebUrl, _Target] = LRUCache(_TARGETS)
        self._flights: SingleFlight[tuple[str, int], SharedFile] = SingleFlight()
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._failures: TTLCache[str, _Failure] = TTLCache(_FAILURES, lifetimes.failure_s, timer=clock)
        self._moments: dict[str, SharedFile] = {}

    def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion | None:
        """The stamp of what is kept and may be used now. Raises SourceRefused, and SourceMissing where just told."""
        target = self._target(where)
        record, use = self._kept(target)
        if record is not None and use is not Freshness.EXPIRED:
            if use is Freshness.STALE:
                self._refresh(target)
            return record.version
        if (moment := self._moments.get(target.key)) is not None:
            return moment.stamp
        failure = self._failures.get(target.key)
        if failure is not None and isinstance(failure.problem, SourceNotFound):
            raise copy.copy(failure.problem)
        return None

    async def open(self, where: SitePath | WebUrl | UploadRef) -> OpenSource:
        """The original, kept or fetched."""
        target = self._target(where)
        use = self._kept(target)[1]
        if use is not Freshness.EXPIRED:
            if use is Freshness.STALE:
                self._refresh(target)
            if (kept := await self._originals.read(target.key)) is not None:
                return handed(kept[0], kept[1].bytes, kept[1].version)
        if (moment := self._moments.get(target.key)) is not None:
            return moment.opened()
        if (failure := self._failures.get(target.key)) is not None:
            raise copy.copy(failure.problem)
        return (await self._renewal(target)).opened()

    def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
        """`web:https://host/path`, with a digest behind a # where headers are forwarded. Raises SourceRefused."""
        url, headers = self._read(_web_url(where))
        return _identity(url, headers)

    def purge(self, named: str) -> None:
        """Forget originals, failures and moments; fetches under way are answered, and not kept."""
        self._originals.purge(named)
        for key in [k for k, f in self._failures.items() if purge_matches(named, f.identity)]:
            self._failures.pop(key, None)
        for key in [k for k, held in self._moments.items() if purge_matches(named, held.stamp.identity)]:
            del self._moments[key]

    async def close(self) -> None:
        """Stop all fetches and close all connections."""
        tasks = list(self._refreshing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._flights.close()
        await self._fetcher.close()
        self._moments.clear()

    # ---------------------------------------------------------------------------------------------- what is asked

    def _target(self, where: SitePath | WebUrl | UploadRef) -> _Target:
        asked = _web_url(where)
        target = self._targets.get(asked)
        if target is None:
            url, headers = self._read(asked)
            self._policy.way(url)
            identity = _identity(url, headers)
            key = hashlib.sha256(f"{self._scope} {identity}".encode()).hexdigest()
            target = self._targets[asked] = _Target(url, headers, identity, key)
        return target

    def _read(self, asked: WebUrl) -> tuple[URL, tuple[tuple[str, str], ...]]:
        return read_url(asked.url), forwardable(self._policy, asked.headers)

    def _kept(self, target: _Target) -> tuple[SourceRecord | None, Freshness]:
        record = self._originals.find(target.key)
        if record is None:
            return None, Freshness.EXPIRED
        now = self._clock()
        use = record.use(now, failing=False)
        if use is Freshness.FRESH:  # the main case, on the path of every hit
            return record, use
        failure = self._failures.get(target.key)
        return record, record.use(now, failing=failure is not None and _passing(failure.problem))

    # ---------------------------------------------------------------------------------------------- fetching

    def _refresh(self, target: _Target) -> None:
        """Ask the origin in the background, unless that is being done or has just failed."""
        if target.key in self._refreshing or target.key in self._failures:
            return
        task = asyncio.get_running_loop().create_task(self._refreshed(target))
        self._refreshing[target.key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(target.key, None))

    async def _refreshed(self, target: _Target) -> None:
        try:
            await self._renewal(target)
        except Problem as problem:
            log.info("a stale original could not be renewed", origin=shown(target.url), why=problem.code)

    async def _renewal(self, target: _Target) -> SharedFile:
        generation = self._originals.generation(target.identity)
        # The generation is in the key: who asks after a purge must not join a fetch from before it.
        return (await self._flights.run((target.key, generation), lambda: self._renewed(target, generation)))[0]

    async def _renewed(self, target: _Target, generation: int) -> SharedFile:
        """One fetch, conditional where an original is kept."""
        record = self._originals.find(target.key)
        known = None if record is None else Validators(record.final_url, record.etag, record.last_modified)
        try:
            answer = await self._fetcher.fetch(OriginRequest(target.url, target.headers, known), self._originals.spool)
        except SourceProblem as problem:
            log.info("fetch failed", origin=shown(target.url), why=problem.code, status=problem.origin_status)
            return await self._despite(problem, target, generation)
        if answer.body is None:
            return await self._confirmed(target, generation, answer)
        try:
            return self._taken(target, generation, answer)
        finally:
            answer.body.discard()

    async def _despite(self, problem: SourceProblem, target: _Target, generation: int) -> SharedFile:
        """The stale original where it may stand in for an error, else the error."""
        if generation == self._originals.generation(target.identity):
            self._failures[target.key] = _Failure(target.identity, problem)
            if not _passing(problem):
                self._originals.drop(target.key)
        record = self._originals.find(target.key)
        if _passing(problem) and record is not None and self._clock() < record.stale_if_error_until_s:
            kept = await self._originals.read(target.key)
            if kept is not None:
                return SharedFile(kept[0], kept[1].bytes, kept[1].version)
        raise problem

    async def _confirmed(self, target: _Target, generation: int, answer: OriginResponse) -> SharedFile:
        """The kept original, said to be current still."""
        record = self._originals.find(target.key)
        if record is not None:
            told = "Cache-Control" in answer.headers or "Expires" in answer.headers
            now = self._clock()
            fresh = freshness(answer.headers, now, self._lifetimes) if told else record.lifetimes
            said = _cache_control(answer.headers) if told else record.cache_control
            self._originals.update(target.key, replace(record.revalidated(now, fresh), cache_control=said))
            if (kept := await self._originals.read(target.key)) is not None:
                if not fresh.storable:
                    self._originals.drop(target.key)
                return SharedFile(kept[0], kept[1].bytes, kept[1].version)
        # Purged, pushed out or damaged while the origin was asked: now there is nothing to ask conditionally with.
        return await self._renewed(target, generation)

    def _taken(self, target: _Target, generation: int, answer: OriginResponse) -> SharedFile:
        """A new original: kept where it may be, held for a moment where not."""
        body = answer.body
        assert body is not None
        now = self._clock()
        fresh = freshness(answer.headers, now, self._lifetimes)
        record = SourceRecord(
            identity=target.identity,
            final_url=answer.final_url,
            digest=body.digest,
            bytes=body.bytes,
            fetched_s=now,
            fresh_until_s=now,
            stale_while_revalidate_until_s=now,
            stale_if_error_until_s=now,
            etag=_validator(answer.headers.get("ETag")),
            last_modified=_validator(answer.headers.get("Last-Modified")),
            modified_s=http_date(answer.headers.get("Last-Modified")),
            generation=generation,
            cache_control=_cache_control(answer.headers),
        ).revalidated(now, fresh)
        held = SharedFile(body.reading(), body.bytes, record.version)
        if not fresh.storable:
            self._originals.drop(target.key)
        if not (fresh.storable and self._originals.store(target.key, body, record)):
            self._hold(target, generation, held)
        return held

    def _hold(self, target: _Target, generation: int, held: SharedFile) -> None:
        """Hold what is not kept for the moment in which one request looks at it several times."""
        current = generation == self._originals.generation(target.identity)
        if current and len(self._moments) < _MOMENTS:
            self._moments[target.key] = held
            asyncio.get_running_loop().call_later(self._lifetimes.minimum_s, self._moments.pop, target.key, None)


def _web_url(where: SitePath | WebUrl | UploadRef) -> WebUrl:
    if not isinstance(where, WebUrl):
        raise SourceNotFound("no such picture on the web", fix="name it by its URL")
    return where


def _identity(url: URL, headers: tuple[tuple[str, str], ...]) -> str:
    # A URL has no fragment here: behind a # stands nobody else's source.
    mark = f"#{hashlib.sha256(repr(headers).encode()).hexdigest()[:16]}" if headers else ""
    return f"web:{url}{mark}"


def _passing(problem: SourceProblem) -> bool:
    """Whether it is trouble of the moment, for which a stale original may stand in.

    RFC 5861 4 names 5xx and no answer; 429 asks us to come back later, which says nothing against the picture.
    """
    if isinstance(problem, SourceTimeout):
        return True
    status = problem.origin_status
    return isinstance(problem, SourceFailed) and (
        status is None or status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500
    )


def _cache_control(headers: Mapping[str, str]) -> str | None:
    """What the origin said of keeping its answer. What cannot be repeated counts as a no."""
    text = headers.get("Cache-Control")
    return None if text is None else _validator(text) or "no-store"


def _validator(text: str | None) -> str | None:
    """A header's value that may be sent back."""
    return text if text and len(text) <= _LONGEST_VALIDATOR and text.isascii() and text.isprintable() else None
