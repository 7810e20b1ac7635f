"""Finds or renders the result of an Order. The package's docstring has the rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import structlog
from cachetools import TTLCache

from cropmark.geometry.recipe import Reason
from cropmark.model.formats import TRAITS, CmykConversion, Info
from cropmark.model.problems import (
    Problem,
    SourceNotFound,
    SourceProblem,
    SourceUnusable,
    Unprocessable,
    restored_problem,
)
from cropmark.pipeline.analyses import Analyses
from cropmark.pipeline.info import info_body
from cropmark.pipeline.keys import (
    SOURCE_TAG,
    PurgeTarget,
    cache_key,
    covering_tags,
    fingerprint_of,
    memoized_cache_key,
    order_key,
    source_targets,
)
from cropmark.pipeline.records import etag_of, image_rendition, original_record, other_media_type, source_tags, store
from cropmark.pipeline.sources import current_versions, is_current, open_all
from cropmark.pipeline.stale import STALE_BYTES, StaleRenditions
from cropmark.plan.plan import Delivery, FactsDocument, Fallback, InfoDocument, Order, Plan
from cropmark.plan.source import SourceRef
from cropmark.ports import (
    STALE_S,
    AnalysisResult,
    Digest,
    Facts,
    OpenSource,
    Passthrough,
    Record,
    Rendered,
    Renderers,
    RenderLocks,
    Rendition,
    Source,
    SourceVersion,
    StoredRendition,
    TieredCache,
    Timing,
)
from cropmark.runtime import tracing
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_log import Began, Position, PurgeHistory
from cropmark.runtime.reads import source_format
from cropmark.runtime.singleflight import SingleFlight

log = structlog.get_logger("cropmark.pipeline")

PARTIAL_TTL_S = 10.0
"""TTL of a result that was rendered without an optional source, because the source was missing."""
LOW_EFFORT_TTL_S = 60.0
"""TTL of a result rendered with reduced effort, or without the analysis it needs."""
FAILED_RENDER_TTL_S = 5.0
"""Time for which a failed render is not repeated. For a missing source, LifetimeBounds.failure_s applies instead."""


Admit = Callable[[], Awaitable[None]]
"""Admits a request, or raises a Problem to reject it."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The facts about a request that do not change its result, and the checks that may reject it."""

    tags: tuple[str, ...] = ()
    """Tags for purges that the result gets, in addition to the tags of its sources."""
    client: str | None = None
    """The client's address: a full queue is shared fairly between clients."""
    admit: Admit | None = None
    """Called before a result that is not in the cache is rendered, or an original is sent."""
    admit_render: Admit | None = None
    """Called after `admit` if the request starts a new render, not if it shares the render of another request."""
    streams: bool = False
    """True: a large rendition may be returned as an open file. False: it is read into memory."""
    fingerprint: str = ""
    """The result of Pipeline.fingerprint_of() for the order, if it is known already."""


NO_CONTEXT = RequestContext()


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result of an order: a record, with the body of a rendition or the open file of an original."""

    record: Record
    body: bytes | None
    cache_status: str
    """hit-memory, hit-disk, hit-shared, hit-stale or miss."""
    source: OpenSource | None = None
    """The open file of an original; the receiver closes it."""
    timing: Timing = Timing()
    stored: StoredRendition | None = None
    """A rendition in an open file, which the receiver closes. Only set if RequestContext.streams is true."""

    def close(self) -> None:
        """Close the open file, if the result has one."""
        if self.source is not None:
            self.source.close()
        if self.stored is not None:
            self.stored.close()


class _Result(NamedTuple):
    rendition: Rendition
    cache_status: str
    timing: Timing
    is_shared: bool = False
    """True if another request rendered it."""


def _with_fetch(timing: Timing, ms: float) -> Timing:
    """The timing with `ms` added to its stage `fetch`. The timing of a cached result has no stages and is unchanged."""
    return Timing(tuple((stage, spent_ms + ms if stage == "fetch" else spent_ms) for stage, spent_ms in timing.stages))


async def _all(purges: Iterable[Awaitable[int]]) -> list[int]:
    """Wait for purges that run at the same time. Returns the number of entries that each purged.

    If any of them fails, raises the first error after all have ended.
    """
    counts: list[int] = []
    for result in await asyncio.gather(*purges, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        counts.append(result)
    return counts


class Pipeline:
    """Delivers the results of orders, from the cache or rendered. It knows nothing of HTTP."""

    def __init__(
        self,
        *,
        cache: TieredCache,
        renderers: Renderers,
        metrics: Metrics,
        analysis_enabled: bool = True,
        cmyk: CmykConversion = CmykConversion.BROWSER,
        clock: Callable[[], float] = time.time,
        history: PurgeHistory | None = None,
        stale_bytes: int = STALE_BYTES,
        locks: RenderLocks | None = None,
    ) -> None:
        """`stale_bytes` limits the memory for renditions that are still sent after a soft purge, in bytes."""
        self._cache = cache
        self._history = history or PurgeHistory()
        self._stale = StaleRenditions(stale_bytes)
        self._locks = locks
        self._releasing: set[asyncio.Task[None]] = set()
        self._refreshing: dict[Digest, asyncio.Task[None]] = {}
        self._analysis_enabled = analysis_enabled
        self._cmyk = cmyk
        self.renderers = renderers
        self._metrics = metrics
        self._clock = clock
        self._stale_until_s = clock() + STALE_S
        """The time until which renditions of a soft purge may be sent; the disk may have some from before the start."""
        self._renders: SingleFlight[tuple[Digest, int], tuple[Rendition, str, Timing]] = SingleFlight()
        self._analyses = Analyses(cache, renderers, self._history)
        self._failures: TTLCache[Digest, Problem] = TTLCache(4096, FAILED_RENDER_TTL_S)

    def fingerprint_of(self, order: Order) -> str:
        """The fingerprint of an order: a text that identifies the requested result, including settings that change it.

        After a change of the settings for analysis or CMYK conversion, results with the old settings are not served.
        """
        if order.plan is None:
            is_smaller = isinstance(order.facts, InfoDocument) and not self._analysis_enabled
            return f"{fingerprint_of(order)}{'/center' if is_smaller else ''}"
        is_centered = not self._analysis_enabled and order.plan.needs_analysis
        press = "/press" if self._cmyk is CmykConversion.PRESS else ""
        return f"{fingerprint_of(order)}{'/center' if is_centered else ''}{press}"

    async def close(self) -> None:
        """Cancel all renders and analyses in progress, and release their locks."""
        refreshing = list(self._refreshing.values())
        for task in refreshing:
            task.cancel()
        await asyncio.gather(*refreshing, return_exceptions=True)
        await self._renders.close()
        await self._analyses.close()
        await asyncio.gather(*self._releasing, return_exceptions=True)

    # ------------------------------------------------------------------------------------------ hits

    def peek(self, source: Source, order: Order, fingerprint: str) -> tuple[Rendition, str] | None:
        """A rendition that is available without waiting, and the name of its cache tier; else None.

        Also None if the version of a source is known only after opening it.
        """
        versions = []
        for request in order.sources:
            try:
                version = source.stat(request.ref)
            except SourceProblem:
                return None
            if version is None:
                return None
            versions.append(version)
        return self._cache.peek(memoized_cache_key(tuple(versions), fingerprint))

    # ------------------------------------------------------------------------------------------ misses

    async def deliver(self, source: Source, order: Order, context: RequestContext = NO_CONTEXT) -> Delivered:
        """The result of an order, from the cache or rendered. Raises Problems."""
        if order.plan is None and order.facts is None:
            return await self._original_order(source, order, context)
        if self._clock() < self._stale_until_s and (stale := await self._stale_result(source, order, context)):
            return stale
        return await self._current(source, order, context)

    async def _current(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        """The current result, from the cache or rendered. A rendition that a soft purge has purged is not current."""
        started_s = time.perf_counter()
        with tracing.span("fetch"):
            versions = await current_versions(source, order)
        fetch_ms = (time.perf_counter() - started_s) * 1000  # a source without a stored copy is fetched here
        key = cache_key(versions, context.fingerprint or self.fingerprint_of(order))
        found = await self._cached(order, key, streams=context.streams)
        if isinstance(found, Delivered):
            return found
        result = found or await self._fresh(source, order, key, context, versions)
        record, timing = result.rendition.record, _with_fetch(result.timing, fetch_ms)
        if not result.is_shared:
            self._observe(timing)
        if record.original is not None:
            return await self._original(source, order, record, result.cache_status, timing)
        return Delivered(record, result.rendition.body, result.cache_status, timing=timing)

    async def _original_order(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        """The unchanged first source, for an order without a plan and without a document."""
        delivered = await self._original(source, order, Record("", "", 0, original=Reason.REQUESTED), "miss")
        try:
            if context.admit is not None:  # after opening: a missing source does not count against the limit
                await context.admit()
        except BaseException:
            assert delivered.source is not None
            delivered.source.close()
            raise
        return delivered

    async def _cached(self, order: Order, key: Digest, *, streams: bool) -> _Result | Delivered | None:
        """The cached result or None. It is a Delivered if its body is an open file, else a _Result."""
        if order.delivery.private:
            return None
        match await (self._cache.find(key) if streams else self._cache.lookup(key)):
            case None:
                return None
            case StoredRendition() as stored, tier:
                return Delivered(stored.record, None, f"hit-{tier}", stored=stored)
            case rendition, tier:
                return _Result(rendition, f"hit-{tier}", Timing())

    async def _fresh(
        self,
        source: Source,
        order: Order,
        key: Digest,
        context: RequestContext,
        versions: Sequence[SourceVersion | None],
    ) -> _Result:
        """Render the result, or wait for another request that is already rendering it."""
        if (failure := self._failures.get(key)) is not None:
            raise restored_problem(failure.code, failure.detail, failure.fix, failure.parameter)
        if context.admit is not None:
            await context.admit()
        # A request after a purge that covers it must not share a render from before the purge.
        tags = (*source_tags(tuple(each for each in versions if each is not None)), *context.tags)
        flight = (key, self._history.covering(tags))
        if context.admit_render is not None and flight not in self._renders:
            await context.admit_render()
        made, is_shared = await self._renders.run(flight, lambda: self._make(source, order, key, context))
        rendition, cache_status, timing = made
        if is_shared:
            self._metrics.coalesced_requests.inc()
        return _Result(rendition, cache_status, timing, is_shared)

    async def _make(
        self, source: Source, order: Order, key: Digest, context: RequestContext
    ) -> tuple[Rendition, str, Timing]:
        """Make the image or document of an order, or read it from the cache if another request has stored it by now.

        Returns the rendition, its cache status and the timing.
        """
        if not order.delivery.private and (found := self._cache.peek(key)) is not None:
            return found[0], f"hit-{found[1]}", Timing()
        create = self._render_once if order.facts is None else self._describe
        made = await create(source, order, key, context)
        order_key = made[0].record.order_key
        if order_key and self._clock() < self._stale_until_s and not order.delivery.private:
            await self._drop_stale(Digest(order_key))
        return made

    async def _render_once(
        self, source: Source, order: Order, key: Digest, context: RequestContext
    ) -> tuple[Rendition, str, Timing]:
        """Render the image, unless another server or front is already rendering it.

        In that case, wait for the image in the cache tier that both share. If the image does not arrive within
        `longest_wait_s`, render it here.
        """
        locks = self._locks
        if locks is None or order.delivery.private:
            return await self._render(source, order, key, context)
        until_s = time.monotonic() + locks.longest_wait_s
        while (token := await locks.acquire(key)) is None and time.monotonic() < until_s:
            await locks.wait(key, until_s)
            if (found := await self._cache.lookup(key)) is not None:
                return found[0], f"hit-{found[1]}", Timing()
        try:
            if (ready := await self._cache.peek_again(key, locks.tier)) is not None:
                return ready[0], f"hit-{ready[1]}", Timing()
            return await self._render(source, order, key, context)
        finally:
            if token:
                release = asyncio.create_task(self._release(locks, key, token))
                self._releasing.add(release)
                release.add_done_callback(self._releasing.discard)

    async def _release(self, locks: RenderLocks, key: Digest, token: str) -> None:
        """Release the lock as soon as the image is in the shared tier, where other servers or fronts can read it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._cache.written(key, locks.tier), locks.longest_wait_s)
        await locks.release(key, token)

    async def _render(
        self, source: Source, order: Order, key: Digest, context: RequestContext
    ) -> tuple[Rendition, str, Timing]:
        """Render the image and store it in the cache."""
        assert order.plan is not None
        started_s, began = time.perf_counter(), self._history.began()
        with ExitStack() as cleanup:
            with tracing.span("fetch"):
                sources, warnings = await open_all(source, order.sources, cleanup)
            opened_s = time.perf_counter()
            try:
                outcome, analysis = await self._outcome(sources, order.plan, order.delivery, context.client)
            except (Unprocessable, SourceUnusable) as problem:
                self._failures[key] = problem
                raise
        tracing.stage_spans(outcome.timing.stages)
        versions = tuple(each.version for each in sources if each is not None)
        rendition = image_rendition(outcome, versions, warnings, context.tags)
        key_of_order = self._order_key(source, order, context) or ""
        rendition = replace(rendition, record=replace(rendition.record, order_key=key_of_order))
        ttl_s = self._short_ttl_s(outcome, order.plan, analysis, incomplete=None in sources)
        if ttl_s is not None:
            rendition = replace(rendition, record=replace(rendition.record, expires_s=self._clock() + ttl_s))
        if is_current(source, order, versions):
            with tracing.span("store"):
                await self._store(order, key, rendition, began)
        self._count(outcome, sources[0])
        return rendition, "miss", Timing((("fetch", (opened_s - started_s) * 1000), *outcome.timing.stages))

    async def _describe(
        self, source: Source, order: Order, key: Digest, context: RequestContext
    ) -> tuple[Rendition, str, Timing]:
        """Make the document about the first source and store it in the cache."""
        assert order.facts is not None
        untrusted, client, began = order.delivery.untrusted, context.client, self._history.began()
        with ExitStack() as cleanup:
            sources, _ = await open_all(source, order.sources, cleanup)
            opened = sources[0]
            if opened is None:
                raise SourceNotFound("the image is not available", fix="check the path")
            body, info, ttl_s = await self._document(opened, order.facts, untrusted=untrusted, client=client)
        tags = (*source_tags((opened.version,)), *context.tags)
        record = Record(order.facts.media_type, etag_of(body), len(body), Facts(info), (), (opened.version,), tags)
        record = replace(record, order_key=self._order_key(source, order, context) or "")
        if ttl_s is not None:
            record = replace(record, expires_s=self._clock() + ttl_s)
        rendition = Rendition(body, record=record)
        if is_current(source, order, record.versions):
            await self._store(order, key, rendition, began)
        return rendition, "miss", Timing()

    async def _document(
        self, opened: OpenSource, facts: FactsDocument | InfoDocument, *, untrusted: bool, client: str | None
    ) -> tuple[bytes, Info, float | None]:
        """The body of the document, the header of its source, and a TTL in seconds.

        The TTL is set only if the document may soon improve.
        """
        if isinstance(facts, FactsDocument):
            info = await self.renderers.inspect(opened, untrusted=untrusted, client=client)
            return facts.serialize(info), info, None
        appearance = await self.renderers.describe(opened, facts.plan, untrusted=untrusted, client=client)
        found = AnalysisResult(None)
        if self._analysis_enabled:
            found = await self.analysis(opened, facts.plan, untrusted=untrusted, client=client)
        ttl_s = LOW_EFFORT_TTL_S if found.analysis is None and found.transient else None
        return info_body(appearance, found.analysis), appearance.info, ttl_s

    async def _store(self, order: Order, key: Digest, rendition: Rendition, began: Began) -> None:
        """Store a result in the cache, unless it is private or was purged since `began`."""
        if not order.delivery.private:
            await store(self._cache, self._history, key, rendition, began)

    async def _outcome(
        self, sources: Sequence[OpenSource | None], plan: Plan, delivery: Delivery, client: str | None
    ) -> tuple[Rendered | Passthrough, AnalysisResult | None]:
        """Render the sources, unless their format shows that the original is sent. Raises Problems.

        Returns the outcome, and the analysis that the render used, if any.
        """
        first, untrusted = sources[0], delivery.untrusted
        if first is not None and plan.on_unsupported is Fallback.ORIGINAL and source_format(first) is None:
            return Passthrough(Reason.UNSUPPORTED, Facts()), None  # not read by a renderer: a video may be large
        analysis = None
        if plan.needs_analysis and first is not None:
            analysis = await self.analysis(first, plan, untrusted=untrusted, client=client)
        return await self.renderers.render(sources, plan, analysis, untrusted=untrusted, client=client), analysis

    @staticmethod
    def _short_ttl_s(
        outcome: Rendered | Passthrough, plan: Plan, analysis: AnalysisResult | None, *, incomplete: bool
    ) -> float | None:
        """The TTL in seconds of a result that may soon improve; None for a final result."""
        if incomplete:
            return PARTIAL_TTL_S
        if isinstance(outcome, Rendered) and outcome.low_effort:
            return LOW_EFFORT_TTL_S
        lacks_analysis = analysis is not None and analysis.analysis is None and analysis.transient
        return LOW_EFFORT_TTL_S if plan.needs_analysis and lacks_analysis else None

    def _observe(self, timing: Timing) -> None:
        for stage, ms in timing.stages:
            self._metrics.stage_duration.labels(stage).observe(ms / 1000)

    def _count(self, outcome: Rendered | Passthrough, first: OpenSource | None) -> None:
        if isinstance(outcome, Rendered) and first is not None:
            self._metrics.saved_bytes.inc(max(0, first.bytes - len(outcome.body)))

    # ------------------------------------------------------------------------------------------ analysis

    async def analysis(
        self, opened: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        """The content analysis of an open source, from the cache or a renderer (see Analyses.of)."""
        return await self._analyses.of(opened, plan, untrusted=untrusted, client=client)

    # ------------------------------------------------------------------------------------------ originals

    async def _original(
        self, source: Source, order: Order, record: Record, cache_status: str, timing: Timing = Timing()
    ) -> Delivered:
        """The unchanged first source as an open file.

        Raises SourceNotFound if the file is neither an image nor of another type that may be sent.
        """
        opened = await source.open(order.sources[0].ref)
        try:
            image_format = source_format(opened)
            media_type = TRAITS[image_format].media_type if image_format else other_media_type(opened, order)
            if media_type is None:
                raise SourceNotFound("the file at this path is not an image", fix="check the path")
        except BaseException:
            opened.close()
            raise
        record = original_record(record, opened, media_type)
        record = replace(record, facts=replace(record.facts, format=image_format))
        return Delivered(record, None, cache_status, opened, timing)

    # ------------------------------------------------------------------------------------------ purges

    async def purge_source(self, source: Source, ref: SourceRef, *, below: bool = False) -> int:
        """Purge the renditions and analyses of a source; with `below`, of all sources with its path as a prefix.

        Returns the number of purged entries.
        """
        return await self.purge(source_targets(source, ref, below=below))

    async def purge(self, targets: Sequence[PurgeTarget], *, soft: bool = False, at: Position | None = None) -> int:
        """Purge every cache entry that a target selects. Returns the number of purged entries.

        With `soft`, purged renditions in memory and on the disk are still sent until new renditions are ready, for
        STALE_S at most. `at` is the position of this purge in the stream of purges of all servers. If a purge fails,
        raises the first Problem after the others have ended.
        """
        tags = self._forget(targets, soft=soft, at=at)
        return sum(await _all(self._cache.purge(tag, at, soft=soft) for tag in tags))

    async def purge_own(self, targets: Sequence[PurgeTarget], *, soft: bool = False, at: Position | None = None) -> int:
        """Like purge(), but only in the caches of this server. Another server purges the shared cache."""
        tags = self._forget(targets, soft=soft, at=at)
        return sum(await _all(self._cache.purge_own(tag, soft=soft) for tag in tags))

    async def forget(self, targets: Sequence[PurgeTarget], *, soft: bool = False) -> None:
        """Prepare a purge by all fronts of a host: afterwards this front neither finds nor writes a purged entry.

        When all fronts have returned from it, one of them calls purge().
        """
        tags = self._forget(targets, soft=soft)
        await asyncio.gather(*(self._cache.forget(tag) for tag in tags))

    def _forget(self, targets: Sequence[PurgeTarget], *, soft: bool, at: Position | None = None) -> list[str]:
        """Record the purge, and purge everything except the cache. Returns the tags to purge in the cache.

        Never waits: a render that begins after it must know of this purge, and must not read a purged source.
        """
        tags = covering_tags(targets)
        self._failures.clear()
        if soft:
            self._stale_until_s = self._clock() + STALE_S
        for tag in tags:
            self._history.note(tag, at)
            if soft:
                self._stale.add(self._cache.in_memory(tag).values())
            else:
                self._stale.purge(tag)
        for target in targets:
            if target.source is not None:
                target.source.purge(target.tag.removeprefix(SOURCE_TAG))
        return tags

    async def _stale_result(self, source: Source, order: Order, context: RequestContext) -> Delivered | None:
        """The purged rendition if a soft purge covered the order's result, else None.

        Also starts to render the current result in the background.
        """
        key = None if order.delivery.private else self._order_key(source, order, context)
        if key is None:
            return None
        found = self._stale.find(key) or await self._cache.find_stale(key, streams=context.streams)
        if found is None:
            return None
        if key not in self._refreshing:
            task = self._refreshing[key] = asyncio.create_task(self._refresh(source, order, key, context))
            task.add_done_callback(lambda _: self._refreshing.pop(key, None))
        # Transient, so that no other cache stores it for long.
        record = replace(found.record, expires_s=self._clock() + PARTIAL_TTL_S)
        if isinstance(found, StoredRendition):
            return Delivered(record, None, "hit-stale", stored=found)
        return Delivered(record, found.body, "hit-stale")

    def _order_key(self, source: Source, order: Order, context: RequestContext) -> Digest | None:
        """The key of the order, which is the same for all versions of its sources.

        None if the source cannot read a reference.
        """
        try:
            identities = [source.identity(request.ref) for request in order.sources]
        except SourceProblem:
            return None
        return order_key(identities, context.fingerprint or self.fingerprint_of(order))

    async def _refresh(self, source: Source, order: Order, key: Digest, context: RequestContext) -> None:
        """Render the current result, then remove the purged rendition, so that it is not sent any more."""
        context = replace(context, admit=None, admit_render=None)  # once per image, not for each request
        try:
            (await self._current(source, order, context)).close()
        except Problem as problem:
            log.info("rendering an image again after a soft purge failed", error=problem.code)
            if not isinstance(problem, SourceNotFound):
                return
        await self._drop_stale(key)

    async def _drop_stale(self, key: Digest) -> None:
        """Remove the purged rendition of an order, because the current rendition is ready."""
        await self._cache.drop_stale(key)
        self._stale.remove(key)
