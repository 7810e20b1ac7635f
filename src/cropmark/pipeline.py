"""The whole line, once: an Order becomes a Delivered.

stamps ─▶ key ─memory, disk─▶ hit
miss: one flight a key ─▶ sources opened ─▶ [analysis: cache, or a task] ─▶ render ─▶ stored
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

import structlog
from cachetools import TTLCache

from cropmark.analysis import codec
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import SNIFFED_BYTES, TRAITS, Format, sniffed
from cropmark.model.problems import (
    Problem,
    SourceNotFound,
    SourceProblem,
    SourceUnusable,
    Unprocessable,
    restored_problem,
)
from cropmark.plan.plan import Order, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRef, SourceRequest
from cropmark.ports import (
    RENDER_VERSION,
    AnalysisResult,
    Digest,
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
from cropmark.runtime.singleflight import SingleFlight

log = structlog.get_logger("cropmark.pipeline")

PARTIAL_TTL_S = 10.0
"""How long an answer made without an optional source is kept."""
LOW_EFFORT_TTL_S = 60.0
"""How long one made at reduced effort, or without the analysis it asked for, is kept."""
NEGATIVE_TTL_S = 5.0
"""How long a picture that could not be made is not tried again."""

Admit = Callable[[], Awaitable[None]]

NO_PLAN = "original"
"""Stands for the fingerprint of an order without a plan."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """An answer: a rendition's record and body, or an original's record and the open file that is its body."""

    record: Record
    body: bytes | None
    cache: str
    """hit-memory, hit-disk, hit-shared or miss."""
    opened: OpenSource | None = None
    timing: Timing = Timing()


def tag_of(kind: str, name: str) -> str:
    """A tag that a purge may name: closed by a newline, so that a name is not the beginning of a longer one."""
    return f"{kind}:{name}\n"


def url_tag(url: str) -> str:
    """The tag of an address, path and query: a digest, for tags are kept on disk, and there may be a token in it."""
    return tag_of("url", hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32])


def fingerprint_of(order: Order) -> str:
    """What tells this order's picture from others of the same sources."""
    return _fingerprint(order.plan) if order.plan else NO_PLAN


@lru_cache(1024)  # a site's pictures share few Plans, and a fingerprint takes ten times what finding it again does
def _fingerprint(plan: Plan) -> str:
    return plan.fingerprint()


def key_of(stamps: Sequence[SourceVersion | None], fingerprint: str) -> Digest:
    """The cache key: sources with their stamps, the fingerprint, and who made it."""
    told = [RENDER_VERSION, fingerprint]
    for stamp in stamps:
        told += [stamp.identity, stamp.version, str(stamp.generation)] if stamp else ["-", "-", "-"]
    return Digest(hashlib.sha256("\n".join(told).encode("utf-8", "surrogateescape")).hexdigest())


@lru_cache(8192)  # of a hit: three times quicker than working it out
def _key_of(stamps: tuple[SourceVersion, ...], fingerprint: str) -> Digest:
    return key_of(stamps, fingerprint)


class Pipeline:
    """Knows the whole line and nothing of HTTP."""

    def __init__(
        self,
        *,
        cache: TieredCache,
        renderers: Renderers,
        metrics: Metrics,
        analysis_enabled: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`sees`: there is content analysis; what is made without it must not be shown once there is."""
        self._cache = cache
        self._sees = analysis_enabled
        self.renderers = renderers
        self._metrics = metrics
        self._clock = clock
        self._flights: SingleFlight[Digest, tuple[Rendition, Timing]] = SingleFlight()
        self._analyzing: SingleFlight[Digest, AnalysisResult] = SingleFlight()
        self._trouble: TTLCache[Digest, Problem] = TTLCache(4096, NEGATIVE_TTL_S)

    def fingerprint_of(self, order: Order) -> str:
        """What tells the picture that is made here of this order from others of the same sources."""
        blind = not self._sees and order.plan is not None and order.plan.wants_analysis
        return f"{fingerprint_of(order)}/center" if blind else fingerprint_of(order)

    # ------------------------------------------------------------------------------------------ hits

    def peek(self, source: Source, order: Order, fingerprint: str) -> tuple[Rendition, str] | None:
        """A rendition that is at hand, and the tier that had it: no wait, no thread, no database.

        None also where the sources must be opened to know which bytes they are.
        """
        stamps = []
        for wanted in order.sources:
            try:
                stamp = source.stat(wanted.ref)
            except SourceProblem:
                return None
            if stamp is None:
                return None
            stamps.append(stamp)
        return self._cache.peek(_key_of(tuple(stamps), fingerprint))

    async def close(self) -> None:
        """Cancel all work in the air."""
        await self._flights.close()
        await self._analyzing.close()

    # ------------------------------------------------------------------------------------------ misses

    async def deliver(
        self,
        source: Source,
        order: Order,
        *,
        tags: tuple[str, ...] = (),
        admit: Admit | None = None,
        spend: Admit | None = None,
        client: str | None = None,
    ) -> Delivered:
        """The answer to an order, from a cache or made. Raises Problems.

        `tags` are what a purge may name the rendition by, besides its sources. `admit` is asked before anything is
        made or read from where sources are kept, and raises a Problem to refuse. `spend` the
        same, but only of whoever has something new made that nobody makes yet. `client` is who asks, for fair shares.
        """
        if order.plan is None:
            delivered = await self._original(source, order, Record("", "", 0, original=Reason.ASKED), "miss")
            try:
                if admit is not None:  # only now: what is not there costs its caller nothing
                    await admit()
            except BaseException:
                assert delivered.opened is not None
                delivered.opened.close()
                raise
            return delivered
        stamps = await self._stamps(source, order)
        key = key_of(stamps, self.fingerprint_of(order))
        found = None if order.delivery.private else await self._cache.lookup(key)
        timing = Timing()
        if found is not None:
            rendition, tier = found[0], f"hit-{found[1]}"
        else:
            if (known := self._trouble.get(key)) is not None:
                raise restored_problem(known.code, known.detail, known.fix, known.parameter)
            if admit is not None:
                await admit()
            if spend is not None and key not in self._flights:
                await spend()
            (rendition, timing), shared = await self._flights.run(
                key, lambda: self._made(source, order, key, tags, client)
            )
            tier = "miss"
            if shared:
                self._metrics.shared_flights.inc()
        if rendition.record.original is not None:
            return await self._original(source, order, rendition.record, tier, timing)
        return Delivered(rendition.record, rendition.body, tier, timing=timing)

    async def _stamps(self, source: Source, order: Order) -> list[SourceVersion | None]:
        stamps: list[SourceVersion | None] = []
        for wanted in order.sources:
            try:
                stamp = source.stat(wanted.ref)
                if stamp is None:
                    opened = await source.open(wanted.ref)
                    opened.close()
                    stamp = opened.stamp
            except SourceProblem as problem:
                if not wanted.optional:
                    raise _named(problem, wanted) from problem.__cause__
                stamp = None
            stamps.append(stamp)
        return stamps

    async def _made(
        self, source: Source, order: Order, key: Digest, tags: tuple[str, ...], client: str | None
    ) -> tuple[Rendition, Timing]:
        """Make the picture, and keep it."""
        assert order.plan is not None
        started = time.perf_counter()
        with ExitStack() as held:
            opened, warnings = await self._opened(source, order.sources, held)
            fetched = time.perf_counter()
            foreign = order.delivery.untrusted
            analyzed = await self._analyzed(opened[0], order.plan, foreign=foreign, client=client)
            try:
                outcome = await self.renderers.render(opened, order.plan, analyzed, foreign=foreign, client=client)
            except (Unprocessable, SourceUnusable) as problem:
                self._trouble[key] = problem
                raise
        stamps = tuple(each.stamp for each in opened if each is not None)
        rendition = _rendition(outcome, stamps, warnings, tags)
        short = self._short_life(outcome, order.plan, analyzed, incomplete=None in opened)
        if short is not None:
            rendition = replace(rendition, record=replace(rendition.record, expires_s=self._clock() + short))
        if not order.delivery.private and self._current(source, order, stamps):
            await self._cache.put(key, rendition)
        self._count(outcome, opened[0])
        stages = (("fetch", (fetched - started) * 1000), *outcome.timing.stages)
        return rendition, Timing(stages)

    async def _opened(
        self, source: Source, sources: Sequence[SourceRequest], held: ExitStack
    ) -> tuple[list[OpenSource | None], list[RequestWarning]]:
        opened: list[OpenSource | None] = []
        warnings = []
        for wanted in sources:
            try:
                one = await source.open(wanted.ref)
            except SourceProblem as problem:
                if not wanted.optional:
                    raise _named(problem, wanted) from problem.__cause__
                warnings.append(RequestWarning(wanted.parameter or "source", f"left out, {problem.detail}"))
                opened.append(None)
                continue
            held.callback(one.close)
            opened.append(one)
        return opened, warnings

    def _current(self, source: Source, order: Order, stamps: tuple[SourceVersion, ...]) -> bool:
        """Whether nothing was replaced or purged while the picture was made."""
        for wanted in order.sources:
            try:
                now = source.stat(wanted.ref)
            except SourceProblem:
                if wanted.optional:
                    continue
                return False
            if now is not None and now not in stamps:
                return False
        return True

    @staticmethod
    def _short_life(
        outcome: Rendered | Passthrough, plan: Plan, analyzed: AnalysisResult | None, *, incomplete: bool
    ) -> float | None:
        if incomplete:
            return PARTIAL_TTL_S
        if isinstance(outcome, Rendered) and outcome.low_effort:
            return LOW_EFFORT_TTL_S
        unanalyzed = analyzed is not None and analyzed.analysis is None and analyzed.transient
        return LOW_EFFORT_TTL_S if plan.wants_analysis and unanalyzed else None

    def _count(self, outcome: Rendered | Passthrough, first: OpenSource | None) -> None:
        for stage, ms in outcome.timing.stages:
            self._metrics.stage_seconds.labels(stage).observe(ms / 1000)
        if isinstance(outcome, Rendered) and first is not None:
            self._metrics.bytes_saved.inc(max(0, first.bytes - len(outcome.body)))

    # ------------------------------------------------------------------------------------------ analysis

    async def analysis(self, opened: OpenSource, *, foreign: bool = False, client: str | None = None) -> AnalysisResult:
        """What the source is about: kept, or asked of a renderer; one flight a source."""
        key = key_of([opened.stamp], f"analysis/{codec.VERSION}")
        kept = None if foreign else await self._cache.get(key)
        if kept is not None:
            with suppress(codec.MalformedAnalysis):
                return AnalysisResult(codec.read_analysis(kept.body))
        analyzed, _ = await self._analyzing.run(key, lambda: self._analyze(opened, key, foreign=foreign, client=client))
        return analyzed

    async def _analyzed(
        self, first: OpenSource | None, plan: Plan, *, foreign: bool, client: str | None
    ) -> AnalysisResult | None:
        if not plan.wants_analysis or first is None:
            return None
        return await self.analysis(first, foreign=foreign, client=client)

    async def _analyze(self, opened: OpenSource, key: Digest, *, foreign: bool, client: str | None) -> AnalysisResult:
        # A descriptor of its own: who asked first may hang up, and close theirs, while others wait for this.
        held = replace(opened, descriptor=os.dup(opened.descriptor))
        try:
            analyzed = await self.renderers.analyze(held, foreign=foreign, client=client)
        except Problem as problem:
            log.warning("no analysis", source=opened.stamp.identity, why=problem.detail)
            return AnalysisResult(None, problem.detail, transient=True)
        finally:
            os.close(held.descriptor)
        if analyzed.analysis is not None and not foreign:
            body = codec.analysis_json(analyzed.analysis)
            tag = tag_of("source", opened.stamp.identity)
            record = Record("application/json", _etag(body), len(body), versions=(opened.stamp,), tags=(tag,))
            await self._cache.put(key, Rendition(body, record=record))
        return analyzed

    # ------------------------------------------------------------------------------------------ originals

    async def _original(
        self, source: Source, order: Order, record: Record, cache: str, timing: Timing = Timing()
    ) -> Delivered:
        """The first source's bytes as they are, where they are a picture that may go out."""
        opened = await source.open(order.sources[0].ref)
        try:
            head = os.pread(opened.descriptor, SNIFFED_BYTES, 0)
            found = sniffed(head)
            if found is None:
                raise SourceNotFound("no picture at this address", fix="check the path")
        except BaseException:
            opened.close()
            raise
        return Delivered(_original_record(record, opened, found), None, cache, opened, timing)

    async def purge_source(self, source: Source, where: SourceRef, *, below: bool = False) -> int:
        """Forget every rendition and analysis of a source, or of all whose names begin so; how many there were."""
        named = source.identity(where) + ("" if below else "\n")
        source.purge(named)
        self._trouble.clear()
        return await self._cache.purge(f"source:{named}")

    async def purge_tag(self, tag: str) -> int:
        """Forget every rendition with this tag."""
        self._trouble.clear()
        return await self._cache.purge(tag)


def _named(problem: SourceProblem, wanted: SourceRequest) -> SourceProblem:
    """The problem; of a picture of the site that a parameter named, with that name and the path."""
    if wanted.parameter is None or not isinstance(wanted.ref, SitePath):
        return problem
    named = copy(problem)  # the problem itself may be told to others too: sources remember failures
    named.parameter, named.fix = wanted.parameter, f"check the paths in {wanted.parameter}"
    named.detail = f"{wanted.parameter}: {wanted.ref.path!r}: {problem.detail}"
    return named


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _rendition(
    outcome: Rendered | Passthrough,
    stamps: tuple[SourceVersion, ...],
    warnings: list[RequestWarning],
    tags: tuple[str, ...],
) -> Rendition:
    told = (*warnings, *outcome.warnings)
    tags = (*(tag_of("source", stamp.identity) for stamp in stamps), *tags)
    if isinstance(outcome, Passthrough):
        record = Record("", "", 0, outcome.facts, told, stamps, tags, outcome.reason)
        return Rendition(b"", record=record)
    media_type = TRAITS[outcome.format].media_type
    facts = replace(outcome.facts, format=outcome.format)
    record = Record(media_type, _etag(outcome.body), len(outcome.body), facts, told, stamps, tags)
    return Rendition(outcome.body, record=record)


def _original_record(record: Record, opened: OpenSource, found: Format) -> Record:
    """The verdict's record with what is true of the file as it lies there now."""
    stamp = opened.stamp
    digest = hashlib.sha256(f"{stamp.identity}\n{stamp.version}".encode("utf-8", "surrogateescape")).hexdigest()
    return replace(
        record,
        media_type=TRAITS[found].media_type,
        etag=f'"{digest[:32]}"',
        length=opened.bytes,
        versions=(stamp,),
        facts=replace(record.facts, format=found),
    )
