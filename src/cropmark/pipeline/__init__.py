"""Delivers an Order: finds its result in the cache, or opens its sources, analyzes and renders them.

peek     source versions ─▶ key ─▶ cache ─▶ hit, without waiting
deliver  source versions ─▶ key ─▶ cache ─▶ hit
                                     └─▶ one task per key: open sources ─▶ [analysis] ─▶ render ─▶ cache ─▶ miss

Rules:
- The key contains the version of every source: a changed source is a miss.
- A result is not cached if one of its sources was replaced or purged while it was rendered.
- A request after a purge does not share a render that began before the purge.
- After a soft purge, the purged renditions in memory and on the disk are sent until new renditions are ready.
- Concurrent requests with one key share one render (single flight). Analyses of one source are shared too.
- A result that may soon improve has a short TTL: PARTIAL_TTL_S if an optional source is missing, LOW_EFFORT_TTL_S if
  it was rendered with reduced effort or without its analysis.
- A failed render is not repeated for FAILED_RENDER_TTL_S.
- Private orders are neither read from the cache nor stored. Analyses of untrusted sources are not cached.
- An original is never cached, only the decision to send it. Its file is opened for every request.

deliver.py   the order of events: peek() and deliver()
keys.py      cache keys, fingerprints, and tags for purges
sources.py   versions and open files of the sources of an order
analyses.py  content analyses, from the cache or a renderer
info.py      the document of all facts about an image
stale.py     purged renditions in memory that are sent after a soft purge
records.py   the record of a rendition, a document or an original
"""

from cropmark.pipeline.deliver import (
    FAILED_RENDER_TTL_S,
    LOW_EFFORT_TTL_S,
    NO_CONTEXT,
    PARTIAL_TTL_S,
    Admit,
    Delivered,
    Pipeline,
    RequestContext,
)
from cropmark.pipeline.info import info_order
from cropmark.pipeline.keys import (
    PurgeTarget,
    cache_key,
    cache_tag,
    fingerprint_of,
    source_targets,
    url_tag,
)

__all__ = [
    "FAILED_RENDER_TTL_S",
    "LOW_EFFORT_TTL_S",
    "NO_CONTEXT",
    "PARTIAL_TTL_S",
    "Admit",
    "Delivered",
    "Pipeline",
    "PurgeTarget",
    "RequestContext",
    "cache_key",
    "cache_tag",
    "fingerprint_of",
    "info_order",
    "source_targets",
    "url_tag",
]
