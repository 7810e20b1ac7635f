"""Replaces a missing or broken image with the fallback image of its site.

The fallback image is rendered with the query of the request. Its max-age is short, and a response header marks it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cropmark.model.problems import Problem, SourceProblem
from cropmark.plan.source import SitePath
from cropmark.web.respond import CachedOrder

MAX_AGE_S: Final = 60
"""Cache-Control max-age of a fallback image: short, because the requested image may appear at any time."""


def fallback_request(cached: CachedOrder, problem: Problem) -> CachedOrder | None:
    """The request with the site's fallback image in place of the requested image.

    None if the site has no fallback image, if the request is for facts about an image, or if `problem` does not
    concern a source.
    """
    order, fallback = cached.order, cached.site.fallback
    if fallback is None or order.facts is not None or not isinstance(problem, SourceProblem):
        return None
    image = replace(order.sources[0], ref=SitePath(fallback.path))
    delivery = replace(order.delivery, max_age_s=MAX_AGE_S, versioned=False, use_origin_cache_control=False)
    order = replace(order, sources=(image, *order.sources[1:]), delivery=delivery)
    return replace(cached, order=order, etag="", headers=None, fallback=problem.code)
