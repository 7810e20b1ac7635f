"""Reports the readiness of a running server, and collects metrics from its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

from cropmark.analysis import models
from cropmark.caches.stats import TierStats
from cropmark.renderers.stats import PoolState
from cropmark.runtime.metrics import ReadSamples, Sample, build_info
from cropmark.security.rate_limit import RedisLimiter
from cropmark.server.components import Components
from cropmark.web.app import App
from cropmark.web.deps import Shutdown
from cropmark.web.sending import BodySender

if TYPE_CHECKING:
    from cropmark.library.service import LibraryHealth


def readiness(shutdown: Shutdown, parts: Components) -> dict[str, Any]:
    """The JSON object for /readyz. Its member `ready` decides the status code of the response."""
    state, settings = parts.pool.state(), parts.settings
    is_ending = shutdown.stopping or shutdown.leaving
    library = None if parts.library is None else parts.library.health()
    smart = models.unavailable_reason() if settings.smart_crop else "switched off"
    return {
        "ready": state.ready and not is_ending and (library is None or library.ready),
        "stopping": is_ending,
        "renderers": {"alive": state.alive, "running": state.running, "queued": state.queued},
        "sandbox": {"mode": settings.sandbox, "complete": state.sandboxed, "missing": list(state.missing_layers)},
        "libraries": list(state.libraries),
        "smart": smart or "on",
        **({} if library is None else {"library": {"reachable": library.reachable, "ready": library.ready}}),
    }


def samples(app: App, parts: Components, sender: BodySender) -> Iterator[tuple[object, ReadSamples]]:
    """Pairs of a part of the server that has metrics, and the function that reads these metrics at a scrape.

    The part identifies the metrics: after a reload, two servers may have the same part, such as the memory cache.
    """
    yield parts.pool, lambda: _pool_samples(parts.pool.state())
    for tier in parts.caches.tiers:
        yield tier, partial(_tier_samples, tier.stats)
    yield parts.originals, parts.originals.samples
    yield app, lambda: _app_samples(app, sender)
    if isinstance(parts.limiter, RedisLimiter):
        yield parts.limiter, partial(_redis_samples, parts.limiter)
    if parts.library is not None:
        yield parts.library, partial(_library_samples, parts.library.health)


def _pool_samples(state: PoolState) -> Iterator[Sample]:
    yield from state.samples()
    versions = dict(library.rsplit(" ", 1) for library in state.libraries)
    yield build_info(metadata.version("cropmark"), versions.get("libvips", "unknown"))


def _tier_samples(stats: Callable[[], TierStats]) -> Iterator[Sample]:
    tier = stats()
    labels = (tier.name,)
    yield "cropmark_cache_entries", labels, tier.entries
    yield "cropmark_cache_bytes", labels, tier.bytes
    yield "cropmark_cache_hits_total", labels, tier.hits
    yield "cropmark_cache_misses_total", labels, tier.misses
    yield "cropmark_cache_evictions_total", labels, tier.evictions
    yield "cropmark_cache_errors_total", labels, tier.errors
    yield "cropmark_cache_skipped_total", labels, tier.skipped
    yield "cropmark_cache_damaged_total", labels, tier.damaged
    yield "cropmark_cache_available", labels, tier.available


def _app_samples(app: App, sender: BodySender) -> Iterator[Sample]:
    yield "cropmark_requests_in_progress", (), app.requests_in_progress
    yield "cropmark_large_responses", (), sender.responses
    yield "cropmark_large_response_bytes", (), sender.bytes


def _redis_samples(limiter: RedisLimiter) -> Iterator[Sample]:
    yield "cropmark_redis_available", (), limiter.available
    yield "cropmark_redis_errors_total", (), limiter.errors


def _library_samples(health: Callable[[], LibraryHealth]) -> Iterator[Sample]:
    library = health()
    yield "cropmark_library_reachable", (), library.reachable
    yield "cropmark_library_feed_age_seconds", (), library.feed_age_s
    yield "cropmark_library_stale_lookups_total", (), library.stale_uses
    yield "cropmark_library_rejected_lookups_total", (), library.rejected
