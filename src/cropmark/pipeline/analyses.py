"""Content analyses of sources: their faces and saliency, from the cache or a renderer."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

import structlog

from cropmark.analysis import codec
from cropmark.model.problems import Problem
from cropmark.pipeline.keys import cache_key
from cropmark.pipeline.records import etag_of, source_tags, store
from cropmark.plan.plan import Plan
from cropmark.ports import AnalysisResult, Cache, Digest, OpenSource, Record, Renderers, Rendition
from cropmark.runtime.purge_log import PurgeHistory
from cropmark.runtime.singleflight import SingleFlight

log = structlog.get_logger("cropmark.pipeline")


class Analyses:
    """Analyzes the content of sources, and caches the analyses."""

    def __init__(self, cache: Cache, renderers: Renderers, history: PurgeHistory) -> None:
        self._cache = cache
        self._history = history
        self._renderers = renderers
        self._flights: SingleFlight[Digest, AnalysisResult] = SingleFlight()

    async def close(self) -> None:
        """Cancel all analyses in progress."""
        await self._flights.close()

    async def of(
        self, opened: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        """The content analysis of an open source, from the cache or a renderer.

        Concurrent calls for one source share one task. A source that exceeds the plan's limits is not analyzed.
        """
        key = cache_key([opened.version], f"analysis/{codec.VERSION}")
        cached = None if untrusted else await self._cache.get(key)
        if cached is not None:
            with suppress(codec.MalformedAnalysis):
                return AnalysisResult(codec.parse_analysis(cached.body))
        covering = self._history.covering(source_tags((opened.version,)))
        # Requests share a task only if the same limits apply to the source.
        flight = cache_key([opened.version], f"{key}/{covering}/{plan.limits}/{sorted(f.value for f in plan.reads)}")
        result, _ = await self._flights.run(
            flight, lambda: self._analyze(opened, plan, key, untrusted=untrusted, client=client)
        )
        return result

    async def _analyze(
        self, opened: OpenSource, plan: Plan, key: Digest, *, untrusted: bool, client: str | None
    ) -> AnalysisResult:
        began = self._history.began()
        # A duplicate of the descriptor: the first caller may be cancelled and close its descriptor while others wait.
        duplicate = replace(opened, descriptor=os.dup(opened.descriptor))
        try:
            result = await self._renderers.analyze(duplicate, plan, untrusted=untrusted, client=client)
        except Problem as problem:
            log.warning("analysis failed", source=opened.version.identity, error=problem.detail)
            return AnalysisResult(None, problem.detail, transient=True)
        finally:
            os.close(duplicate.descriptor)
        if result.analysis is not None and not untrusted:
            body = codec.serialize_analysis(result.analysis)
            versions = (opened.version,)
            record = Record("application/json", etag_of(body), len(body), versions=versions, tags=source_tags(versions))
            await store(self._cache, self._history, key, Rendition(body, record=record), began)
        return result
