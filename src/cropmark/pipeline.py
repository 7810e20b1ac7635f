"""The path of a request from its Order to a Delivered: caches, sources, analysis, render.

peek     source versions ─▶ key ─▶ cache ─▶ hit, without waiting
deliver  source versions ─▶ key ─▶ cache ─▶ hit
                                     └─▶ one task per key: open sources ─▶ [analysis] ─▶ render ─▶ cache ─▶ miss

Rules:
- The key contains the version and generation of every source: a changed or purged source is a miss.
- A result is cached only if no source was replaced or purged while it was rendered.
- Concurrent requests with one key share one render (single flight); so do analyses of one source.
- A result that may soon improve has a TTL: PARTIAL_TTL_S without an optional source, LOW_EFFORT_TTL_S after a render
  with reduced effort or without its analysis. A failed render is not repeated for NEGATIVE_TTL_S.
- Private orders are neither read from the cache nor stored. Analyses of untrusted sources are not cached.
- An original is never cached, only the decision to send it; its file is opened for every request.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import structlog
from cachetools import TTLCache

from cropmark.analysis import codec
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import SNIFF_BYTES, TRAITS, CmykConversion
from cropmark.model.media_types import media_type_of
from cropmark.model.problems import (
    Problem,
    SourceNotFound,
    SourceProblem,
    SourceUnusable,
    Unprocessable,
    restored_problem,
)
from cropmark.plan.plan import Delivery, Fallback, Order, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRef, SourceRequest
from cropmark.ports import (
    RENDER_VERSION,
    AnalysisResult,
    Digest,
    Facts,
    OpenSource,
    Passthrough,
    Record,
    Rendered,
    Renderers,
    Rendition,
    Source,
    SourceVersion,
    TieredCache,
    Timing,
)
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.reads import read_up_to, source_format
from cropmark.runtime.singleflight import SingleFlight

log = structlog.get_logger("cropmark.pipeline")

PARTIAL_TTL_S = 10.0
"""TTL of a result rendered without an optional source."""
LOW_EFFORT_TTL_S = 60.0
"""TTL of a result rendered with reduced effort, or without the analysis it needs."""
NEGATIVE_TTL_S = 5.0
"""Time for which a failed render is not repeated."""

NO_PLAN = "original"
"""The fingerprint of an order without a plan."""

Admit = Callable[[], Awaitable[None]]
"""Raises a Problem to reject the request."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Facts about a request that do not change its image, and the limits that apply to it."""

    tags: tuple[str, ...] = ()
    """Tags for purges, in addition to those of the sources."""
    client: str | None = None
    """The client's address: a full queue is shared fairly between clients."""
    admit: Admit | None = None
    """Called before a result that is not in the cache is rendered, or an original is sent."""
    admit_render: Admit | None = None
    """Called after `admit` if the request starts a new render, not if it shares one."""


NO_CONTEXT = RequestContext()


@dataclass(frozen=True, slots=True)
class Delivered:
    """A result: a rendition's record and body, or an original's record and its open file."""

    record: Record
    body: bytes | None
    cache_status: str
    """hit-memory, hit-disk, hit-shared or miss."""
    source: OpenSource | None = None
    """The open file of an original; the receiver closes it."""
    timing: Timing = Timing()


class _Result(NamedTuple):
    rendition: Rendition
    cache_status: str
    timing: Timing


def _with_fetch(timing: Timing, ms: float) -> Timing:
    """The timing with a longer fetch; a result from the cache has no stages and gets none."""
    return Timing(tuple((stage, spent_ms + ms if stage == "fetch" else spent_ms) for stage, spent_ms in timing.stages))


def cache_tag(kind: str, name: str) -> str:
    """A tag for purges. It ends with a newline, so that no name is a prefix of a longer one."""
    return f"{kind}:{name}\n"


def url_tag(url: str) -> str:
    """The tag of a URL, path and query. It contains a digest, since tags are written to disk and a URL may hold a
    token."""
    return cache_tag("url", hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32])


def fingerprint_of(order: Order) -> str:
    """Identifies the image or the document that an order requests, among all of the same sources."""
    if order.facts is not None:
        return f"facts/{order.facts.name}"
    return _fingerprint(order.plan) if order.plan else NO_PLAN


@lru_cache(1024)  # the URLs of a site share few Plans; computing a fingerprint takes ten times as long as the lookup
def _fingerprint(plan: Plan) -> str:
    return plan.fingerprint()


def cache_key(versions: Sequence[SourceVersion | None], fingerprint: str) -> Digest:
    """The cache key of a result: the versions of its sources, its fingerprint, and RENDER_VERSION."""
    parts = [RENDER_VERSION, fingerprint]
    for version in versions:
        parts += [version.identity, version.version, str(version.generation)] if version else ["-", "-", "-"]
    return Digest(hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest())


@lru_cache(8192)  # for hits: three times faster than computing the digest
def _cached_key(versions: tuple[SourceVersion, ...], fingerprint: str) -> Digest:
    return cache_key(versions, fingerprint)


class Pipeline:
    """Delivers orders. Independent of HTTP."""

    def __init__(
        self,
        *,
        cache: TieredCache,
        renderers: Renderers,
        metrics: Metrics,
        analysis_enabled: bool = True,
        cmyk: CmykConversion = CmykConversion.BROWSER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._analysis_enabled = analysis_enabled
        self._cmyk = cmyk
        self.renderers = renderers
        self._metrics = metrics
        self._clock = clock
        self._renders: SingleFlight[Digest, tuple[Rendition, Timing]] = SingleFlight()
        self._analyses: SingleFlight[Digest, AnalysisResult] = SingleFlight()
        self._failures: TTLCache[Digest, Problem] = TTLCache(4096, NEGATIVE_TTL_S)

    def fingerprint_of(self, order: Order) -> str:
        """Like fingerprint_of(), but different for settings that change images.

        Results without analysis must not be served once it is on, nor results of another conversion of CMYK.
        """
        if order.plan is None:
            return fingerprint_of(order)
        is_centered = not self._analysis_enabled and order.plan.needs_analysis
        press = "/press" if self._cmyk is CmykConversion.PRESS else ""
        return f"{fingerprint_of(order)}{'/center' if is_centered else ''}{press}"

    async def close(self) -> None:
        """Cancel all renders and analyses in progress."""
        await self._renders.close()
        await self._analyses.close()

    # ------------------------------------------------------------------------------------------ hits

    def peek(self, source: Source, order: Order, fingerprint: str) -> tuple[Rendition, str] | None:
        """A rendition that is available without waiting, and the name of its tier.

        None also if the version of a source is not known without opening it.
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
        return self._cache.peek(_cached_key(tuple(versions), fingerprint))

    # ------------------------------------------------------------------------------------------ misses

    async def deliver(self, source: Source, order: Order, context: RequestContext = NO_CONTEXT) -> Delivered:
        """The result of an order, from the cache or rendered. Raises Problems."""
        if order.plan is None and order.facts is None:
            return await self._original_order(source, order, context)
        started_s = time.perf_counter()
        versions = await self._versions(source, order)
        fetch_ms = (time.perf_counter() - started_s) * 1000  # a source without a stored copy is fetched here
        key = cache_key(versions, self.fingerprint_of(order))
        result = await self._cached(order, key) or await self._fresh(source, order, key, context)
        record, timing = result.rendition.record, _with_fetch(result.timing, fetch_ms)
        if record.original is not None:
            return await self._original(source, order, record, result.cache_status, timing)
        return Delivered(record, result.rendition.body, result.cache_status, timing=timing)

    async def _original_order(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        """The first source, for an order without a plan."""
        delivered = await self._original(source, order, Record("", "", 0, original=Reason.REQUESTED), "miss")
        try:
            if context.admit is not None:  # after opening: a missing source does not count against the limit
                await context.admit()
        except BaseException:
            assert delivered.source is not None
            delivered.source.close()
            raise
        return delivered

    async def _cached(self, order: Order, key: Digest) -> _Result | None:
        found = None if order.delivery.private else await self._cache.lookup(key)
        return None if found is None else _Result(found[0], f"hit-{found[1]}", Timing())

    async def _fresh(self, source: Source, order: Order, key: Digest, context: RequestContext) -> _Result:
        """A result that is rendered for this request, or shared with another request that renders it now."""
        if (failure := self._failures.get(key)) is not None:
            raise restored_problem(failure.code, failure.detail, failure.fix, failure.parameter)
        if context.admit is not None:
            await context.admit()
        if context.admit_render is not None and key not in self._renders:
            await context.admit_render()
        create = self._render if order.facts is None else self._describe
        (rendition, timing), is_shared = await self._renders.run(key, lambda: create(source, order, key, context))
        if is_shared:
            self._metrics.coalesced_requests.inc()
        return _Result(rendition, "miss", timing)

    async def _versions(self, source: Source, order: Order) -> list[SourceVersion | None]:
        """The current version of each source; None for an optional one that is missing."""
        versions: list[SourceVersion | None] = []
        for request in order.sources:
            try:
                version = source.stat(request.ref)
                if version is None:
                    opened = await source.open(request.ref)
                    opened.close()
                    version = opened.version
            except SourceProblem as problem:
                if not request.optional:
                    raise _naming_parameter(problem, request) from problem.__cause__
                version = None
            versions.append(version)
        return versions

    async def _render(
        self, source: Source, order: Order, key: Digest, context: RequestContext
    ) -> tuple[Rendition, Timing]:
        """Render the image and store it in the cache."""
        assert order.plan is not None
        started_s = time.perf_counter()
        with ExitStack() as cleanup:
            sources, warnings = await self._open_all(source, order.sources, cleanup)
            opened_s = time.perf_counter()
            try:
                outcome, analysis = await self._outcome(sources, order.plan, order.delivery, context.client)
            except (Unprocessable, SourceUnusable) as problem:
                self._failures[key] = problem
                raise
        versions = tuple(each.version for each in sources if each is not None)
        rendition = _rendition(outcome, versions, warnings, context.tags)
        ttl_s = self._short_ttl_s(outcome, order.plan, analysis, incomplete=None in sources)
        if ttl_s is not None:
            rendition = replace(rendition, record=replace(rendition.record, expires_s=self._clock() + ttl_s))
        if not order.delivery.private and self._is_current(source, order, versions):
            await self._cache.put(key, rendition)
        self._count(outcome, sources[0])
        return rendition, Timing((("fetch", (opened_s - started_s) * 1000), *outcome.timing.stages))

    async def _describe(
        self, source: Source, order: Order, key: Digest, context: RequestContext
    ) -> tuple[Rendition, Timing]:
        """Write the document about the first source and store it in the cache."""
        assert order.facts is not None
        untrusted, client = order.delivery.untrusted, context.client
        with ExitStack() as cleanup:
            sources, _ = await self._open_all(source, order.sources, cleanup)
            opened = sources[0]
            if opened is None:
                raise SourceNotFound("the image is not available", fix="check the path")
            info = await self.renderers.inspect(opened, untrusted=untrusted, client=client)
        body = order.facts.serialize(info)
        tags = (cache_tag("source", opened.version.identity), *context.tags)
        record = Record(order.facts.media_type, _etag(body), len(body), Facts(info), (), (opened.version,), tags)
        rendition = Rendition(body, record=record)
        if not order.delivery.private and self._is_current(source, order, record.versions):
            await self._cache.put(key, rendition)
        return rendition, Timing()

    async def _outcome(
        self, sources: Sequence[OpenSource | None], plan: Plan, delivery: Delivery, client: str | None
    ) -> tuple[Rendered | Passthrough, AnalysisResult | None]:
        """The result of a renderer, and the analysis for it. Raises Problems."""
        first, untrusted = sources[0], delivery.untrusted
        if first is not None and plan.on_unsupported is Fallback.ORIGINAL and source_format(first) is None:
            return Passthrough(Reason.UNSUPPORTED, Facts()), None  # not read by a renderer: a video may be large
        analysis = await self._analysis_for(first, plan, untrusted=untrusted, client=client)
        return await self.renderers.render(sources, plan, analysis, untrusted=untrusted, client=client), analysis

    async def _open_all(
        self, source: Source, requests: Sequence[SourceRequest], cleanup: ExitStack
    ) -> tuple[list[OpenSource | None], list[RequestWarning]]:
        """The open sources, which `cleanup` closes, with None and a warning for each optional one that fails."""
        sources: list[OpenSource | None] = []
        warnings = []
        for request in requests:
            try:
                opened = await source.open(request.ref)
            except SourceProblem as problem:
                if not request.optional:
                    raise _naming_parameter(problem, request) from problem.__cause__
                warnings.append(RequestWarning(request.parameter or "source", f"left out, {problem.detail}"))
                sources.append(None)
                continue
            cleanup.callback(opened.close)
            sources.append(opened)
        return sources, warnings

    def _is_current(self, source: Source, order: Order, versions: tuple[SourceVersion, ...]) -> bool:
        """True if no source was replaced or purged since it was opened."""
        for request in order.sources:
            try:
                version = source.stat(request.ref)
            except SourceProblem:
                if request.optional:
                    continue
                return False
            if version is not None and version not in versions:
                return False
        return True

    @staticmethod
    def _short_ttl_s(
        outcome: Rendered | Passthrough, plan: Plan, analysis: AnalysisResult | None, *, incomplete: bool
    ) -> float | None:
        """The TTL of a result that may soon improve; None for any other."""
        if incomplete:
            return PARTIAL_TTL_S
        if isinstance(outcome, Rendered) and outcome.low_effort:
            return LOW_EFFORT_TTL_S
        lacks_analysis = analysis is not None and analysis.analysis is None and analysis.transient
        return LOW_EFFORT_TTL_S if plan.needs_analysis and lacks_analysis else None

    def _count(self, outcome: Rendered | Passthrough, first: OpenSource | None) -> None:
        for stage, ms in outcome.timing.stages:
            self._metrics.stage_duration.labels(stage).observe(ms / 1000)
        if isinstance(outcome, Rendered) and first is not None:
            self._metrics.saved_bytes.inc(max(0, first.bytes - len(outcome.body)))

    # ------------------------------------------------------------------------------------------ analysis

    async def analysis(
        self, opened: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        """The content analysis of a source, from the cache or a renderer; concurrent calls share one task.

        A source beyond the limits of the plan is not analyzed.
        """
        key = cache_key([opened.version], f"analysis/{codec.VERSION}")
        cached = None if untrusted else await self._cache.get(key)
        if cached is not None:
            with suppress(codec.MalformedAnalysis):
                return AnalysisResult(codec.parse_analysis(cached.body))
        # Requests share a task only if the same limits apply to the source.
        flight = cache_key([opened.version], f"{key}/{plan.limits}/{sorted(f.value for f in plan.reads)}")
        result, _ = await self._analyses.run(
            flight, lambda: self._analyze(opened, plan, key, untrusted=untrusted, client=client)
        )
        return result

    async def _analysis_for(
        self, first: OpenSource | None, plan: Plan, *, untrusted: bool, client: str | None
    ) -> AnalysisResult | None:
        if not plan.needs_analysis or first is None:
            return None
        return await self.analysis(first, plan, untrusted=untrusted, client=client)

    async def _analyze(
        self, opened: OpenSource, plan: Plan, key: Digest, *, untrusted: bool, client: str | None
    ) -> AnalysisResult:
        # A descriptor of its own: the first caller may be cancelled, and close its descriptor, while others wait.
        duplicate = replace(opened, descriptor=os.dup(opened.descriptor))
        try:
            result = await self.renderers.analyze(duplicate, plan, untrusted=untrusted, client=client)
        except Problem as problem:
            log.warning("analysis failed", source=opened.version.identity, error=problem.detail)
            return AnalysisResult(None, problem.detail, transient=True)
        finally:
            os.close(duplicate.descriptor)
        if result.analysis is not None and not untrusted:
            body = codec.serialize_analysis(result.analysis)
            tag = cache_tag("source", opened.version.identity)
            record = Record("application/json", _etag(body), len(body), versions=(opened.version,), tags=(tag,))
            await self._cache.put(key, Rendition(body, record=record))
        return result

    # ------------------------------------------------------------------------------------------ originals

    async def _original(
        self, source: Source, order: Order, record: Record, cache_status: str, timing: Timing = Timing()
    ) -> Delivered:
        """The unchanged first source: an image, or a file next to the images. Raises SourceNotFound for any other."""
        opened = await source.open(order.sources[0].ref)
        try:
            image_format = source_format(opened)
            media_type = TRAITS[image_format].media_type if image_format else _other_media_type(opened, order)
            if media_type is None:
                raise SourceNotFound("the file at this path is not an image", fix="check the path")
        except BaseException:
            opened.close()
            raise
        record = _original_record(record, opened, media_type)
        record = replace(record, facts=replace(record.facts, format=image_format))
        return Delivered(record, None, cache_status, opened, timing)

    # ------------------------------------------------------------------------------------------ purges

    async def purge_source(self, source: Source, ref: SourceRef, *, below: bool = False) -> int:
        """Purge the renditions and analyses of a source; with `below`, of all sources below it.

        Returns the number of purged entries.
        """
        self._failures.clear()
        purged = 0
        for end in ("",) if below else ("\n", "?"):  # an origin's image may have a query
            prefix = source.identity(ref) + end
            source.purge(prefix)
            purged += await self._cache.purge(f"source:{prefix}")
        return purged

    async def purge_tag(self, tag: str) -> int:
        """Purge every rendition with a tag that begins with `tag`; returns their number."""
        self._failures.clear()
        return await self._cache.purge(tag)


def _naming_parameter(problem: SourceProblem, request: SourceRequest) -> SourceProblem:
    """The problem with the parameter that named the image, and its path; unchanged for images of other origins."""
    if request.parameter is None or not isinstance(request.ref, SitePath):
        return problem
    named = copy(problem)  # a source may raise the same object to other requests
    named.parameter, named.fix = request.parameter, f"check the paths in {request.parameter}"
    named.detail = f"{request.parameter}: {request.ref.path!r}: {problem.detail}"
    return named


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _rendition(
    outcome: Rendered | Passthrough,
    versions: tuple[SourceVersion, ...],
    warnings: list[RequestWarning],
    tags: tuple[str, ...],
) -> Rendition:
    all_warnings = (*warnings, *outcome.warnings)
    tags = (*(cache_tag("source", version.identity) for version in versions), *tags)
    if isinstance(outcome, Passthrough):
        record = Record("", "", 0, outcome.facts, all_warnings, versions, tags, outcome.reason)
        return Rendition(b"", record=record)
    media_type = TRAITS[outcome.format].media_type
    facts = replace(outcome.facts, format=outcome.format)
    record = Record(media_type, _etag(outcome.body), len(outcome.body), facts, all_warnings, versions, tags)
    return Rendition(outcome.body, record=record)


def _other_media_type(opened: OpenSource, order: Order) -> str | None:
    """The media type of a file that is not an image; None if it is unknown, or if a client names its images itself."""
    ref = order.sources[0].ref
    if order.delivery.untrusted or not isinstance(ref, SitePath):
        return None
    return media_type_of(ref.path.rpartition("/")[2], read_up_to(opened.descriptor, min(SNIFF_BYTES, opened.bytes)))


def _original_record(record: Record, opened: OpenSource, media_type: str) -> Record:
    """The cached record of an original, with the facts of the file that is open now."""
    version = opened.version
    digest = hashlib.sha256(f"{version.identity}\n{version.version}".encode("utf-8", "surrogateescape")).hexdigest()
    return replace(
        record,
        media_type=media_type,
        etag=f'"{digest[:32]}"',
        length=opened.bytes,
        versions=(version,),
    )
