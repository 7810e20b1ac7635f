"""What a running server tells of itself: whether it is ready, and what is counted elsewhere than in Metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cropmark.analysis import models
from cropmark.caches.tiered import TieredCaches
from cropmark.config.loader import Settings
from cropmark.renderers.pool import Pool
from cropmark.web.app import App


def readiness(app: App, pool: Pool, settings: Settings) -> dict[str, Any]:
    """What /readyz tells; `ready` decides its status."""
    state = pool.state()
    smart = models.available() if settings.smart else "switched off"
    return {
        "ready": state.ready and not app.stopping,
        "stopping": app.stopping,
        "renderers": {"alive": state.alive, "running": state.running, "queued": state.queued},
        "sandbox": {"mode": settings.sandbox, "whole": state.sandboxed, "missing": list(state.missing)},
        "libraries": list(state.libraries),
        "smart": smart or "on",
    }


Row = tuple[str, str, dict[str, str], float]


def rows(pool: Pool, tiers: TieredCaches, app: App) -> Iterable[Row]:
    """What Prometheus gets besides the counters: name, help, labels, value."""
    yield from pool.state().rows()
    for tier in tiers.stats():
        label = {"tier": tier.name}
        yield "cropmark_cache_entries", "Entries kept.", label, tier.entries
        yield "cropmark_cache_bytes", "Bytes kept.", label, tier.bytes
        yield "cropmark_cache_hits_total", "Lookups that found something.", label, tier.hits
        yield "cropmark_cache_misses_total", "Lookups that found nothing.", label, tier.misses
        yield "cropmark_cache_evictions_total", "Entries removed to make room.", label, tier.evictions
        yield "cropmark_cache_errors_total", "Troubles with storage.", label, tier.errors
    yield "cropmark_requests_in_hand", "Requests being answered now.", {}, app.in_hand
