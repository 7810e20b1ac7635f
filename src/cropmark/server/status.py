"""Readiness of a running server, and the metrics that other objects count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cropmark.analysis import models
from cropmark.caches.tiered import TieredCaches
from cropmark.config.settings import Settings
from cropmark.renderers.pool import Pool
from cropmark.runtime.metrics import Sample
from cropmark.web.app import App


def readiness(app: App, pool: Pool, settings: Settings) -> dict[str, Any]:
    """The JSON of /readyz; `ready` decides its status code."""
    state = pool.state()
    smart = models.unavailable_reason() if settings.smart_crop else "switched off"
    return {
        "ready": state.ready and not app.stopping,
        "stopping": app.stopping,
        "renderers": {"alive": state.alive, "running": state.running, "queued": state.queued},
        "sandbox": {"mode": settings.sandbox, "complete": state.sandboxed, "missing": list(state.missing_layers)},
        "libraries": list(state.libraries),
        "smart": smart or "on",
    }


def metric_samples(pool: Pool, tiers: TieredCaches, app: App) -> Iterable[Sample]:
    """The values of the metrics that are read at each scrape."""
    yield from pool.state().samples()
    for tier in tiers.stats():
        labels = (tier.name,)
        yield "cropmark_cache_entries", labels, tier.entries
        yield "cropmark_cache_bytes", labels, tier.bytes
        yield "cropmark_cache_hits_total", labels, tier.hits
        yield "cropmark_cache_misses_total", labels, tier.misses
        yield "cropmark_cache_evictions_total", labels, tier.evictions
        yield "cropmark_cache_errors_total", labels, tier.errors
    yield "cropmark_requests_in_progress", (), app.requests_in_progress
