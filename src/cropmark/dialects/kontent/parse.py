"""Parses a request into an Order. If its parameters contradict each other, the Order is for the original.

A query is never an error: unusable parameters are ignored with a warning.
Source: https://kontent.ai/learn/docs/apis/image-transformation-api
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.kontent.output import READS, SOURCE_FORMAT, output
from cropmark.dialects.kontent.query import KontentQuery, read_query
from cropmark.dialects.kontent.readers import CropWord
from cropmark.dialects.kontent.responses import METHODS
from cropmark.dialects.kontent.settings import KontentSettings
from cropmark.dialects.kontent.steps import steps
from cropmark.dialects.responses import one_line
from cropmark.model.problems import MethodNotAllowed
from cropmark.model.values import Share
from cropmark.plan.plan import Delivery, Fallback, Limits, Order, OverLimit, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRequest

LIMITS: Final = Limits(
    source_bytes=50 * 2**20 - 1,  # "under 50 MB": a file of exactly that is too large
    source_side=12_000,
    side=8_192,
    over_limit=OverLimit.SHRINK,
    # The limit of a source: an animation that is not enlarged is never sized down for its number of frames.
    animation_area=Limits().source_pixels,
)


def order(request: ImageRequest, settings: KontentSettings) -> Order:
    """Parse a request into an Order. Raises only MethodNotAllowed, for a method other than GET and HEAD."""
    if request.method not in METHODS:
        raise MethodNotAllowed(f"expected {' or '.join(METHODS)}, got {one_line(request.method, 20)}", fix="send a GET")
    query, plan, warnings = _read(request.query, request.accept)
    return Order(
        sources=(SourceRequest(SitePath(request.path)),),
        plan=plan,
        delivery=Delivery(negotiated=query.auto_format, versioned=settings.versioned),
        warnings=warnings,
    )


@lru_cache(256)  # the images of a site share few queries
def _read(raw_query: str, accept: str) -> tuple[KontentQuery, Plan | None, tuple[RequestWarning, ...]]:
    """The values of a query, its Plan (None if the original is sent), and its warnings."""
    query = read_query(raw_query)
    contradictory = contradictions(query)
    warnings = (*query.warnings, *(contradictory or missing_partners(query)))
    return query, None if contradictory else plan_of(query, accept), warnings


def plan_of(query: KontentQuery, accept: str) -> Plan | None:
    """The Plan of a query; None if the query changes nothing, so that the stored bytes are sent."""
    planned, encoding = steps(query), output(query, accept)
    if not planned and encoding.choices == SOURCE_FORMAT:
        return None
    return Plan(
        steps=planned,
        output=encoding,
        reads=READS,
        limits=LIMITS,
        on_unsupported=Fallback.ORIGINAL,
        on_unusable=Fallback.ORIGINAL,
    )


# --------------------------------------------------------------------------------- contradictions

_Predicate = Callable[[KontentQuery], bool]


# fmt: off
CONTRADICTIONS: Final[tuple[tuple[_Predicate, str, str], ...]] = (
    (lambda q: q.rect is not None and q.crops,
     "rect", "it cannot be combined with fit=crop"),
    (lambda q: q.rect is not None and q.crop is CropWord.FOCAL_POINT,
     "rect", "it cannot be combined with crop=focalpoint"),
    (lambda q: q.rect is not None and q.crop is CropWord.SMART,
     "rect", "it cannot be combined with crop=smart"),
    (lambda q: q.crops and any(isinstance(side, Share) for side in (q.width, q.height)),
     "fit", "crop takes w and h in whole pixels only, not below 1"),
    (lambda q: q.is_smart and q.focal_point.named,
     "crop", "smart cannot be combined with fp-x, fp-y or fp-z"),
    (lambda q: q.is_smart and (q.width is None or q.height is None),
     "crop", "smart needs both w and h"),
)
"""Rows of a predicate, a parameter and a reason. If the predicate applies, the original is sent byte for byte."""

MISSING_PARTNERS: Final[tuple[tuple[_Predicate, str, str], ...]] = (
    (lambda q: q.dpr is not None and not q.has_size,
     "dpr", "no effect without w or h"),
    (lambda q: q.fit is not None and not q.has_size and not q.has_focal_point,
     "fit", "no effect without w or h"),
    (lambda q: q.crop is not None and not q.crops,
     "crop", "no effect without fit=crop"),
    (lambda q: q.focal_point.named and not q.has_focal_point,
     "fp-x, fp-y, fp-z", "no effect without fit=crop&crop=focalpoint"),
)
"""Rows as in CONTRADICTIONS. If the predicate applies, the parameter is ignored, because it needs another parameter."""
# fmt: on


def contradictions(query: KontentQuery) -> tuple[RequestWarning, ...]:
    """A warning for each row of CONTRADICTIONS that applies to the query."""
    return tuple(
        RequestWarning(name, f"{why}: the original was sent") for applies, name, why in CONTRADICTIONS if applies(query)
    )


def missing_partners(query: KontentQuery) -> tuple[RequestWarning, ...]:
    """A warning for each parameter that has no effect because the query lacks another parameter."""
    return tuple(RequestWarning(name, why) for applies, name, why in MISSING_PARTNERS if applies(query))
