"""Readiness of a running server, and the metrics that other objects count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cropmark.analysis import models
from cropmark.runtime.metrics import Sample
from cropmark.server.components import Components
from cropmark.web.app import App


def readiness(app: App, parts: Components) -> dict[str, Any]:
    """The JSON of /readyz; `ready` decides its status code."""
    state, settings = parts.pool.state(), parts.settings
    library = None if parts.library is None else parts.library.health()
    smart = models.unavailable_reason() if settings.smart_crop else "switched off"
    return {
        "ready": state.ready and not app.stopping and (library is None or library.ready),
        "stopping": app.stopping,
        "renderers": {"alive": state.alive, "running": state.running, "queued": state.queued},
        "sandbox": {"mode": settings.sandbox, "complete": state.sandboxed, "missing": list(state.missing_layers)},
        "libraries": list(state.libraries),
        "smart": smart or "on",
        **({} if library is None else {"library": {"reachable": library.reachable, "ready": library.ready}}),
    }


def metric_samples(app: App, parts: Components) -> Iterable[Sample]:
    """The values of the metrics that are read at each scrape."""
    yield from parts.pool.state().samples()
    for tier in parts.caches.stats():
        labels = (tier.name,)
        yield "cropmark_cache_entries", labels, tier.entries
        yield "cropmark_cache_bytes", labels, tier.bytes
        yield "cropmark_cache_hits_total", labels, tier.hits
        yield "cropmark_cache_misses_total", labels, tier.misses
        yield "cropmark_cache_evictions_total", labels, tier.evictions
        yield "cropmark_cache_errors_total", labels, tier.errors
    yield "cropmark_requests_in_progress", (), app.requests_in_progress
    if parts.library is not None:
        library = parts.library.health()
        yield "cropmark_library_reachable", (), library.reachable
        yield "cropmark_library_feed_age_seconds", (), library.feed_age_s
        yield "cropmark_library_stale_lookups_total", (), library.stale_uses
        yield "cropmark_library_rejected_lookups_total", (), library.rejected
