"""Turns the values of a query into Steps, always in the order of the reference.

Source: https://kontent.ai/learn/docs/apis/image-transformation-api
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import assert_never

from cropmark.dialects.kontent.query import KontentQuery
from cropmark.dialects.kontent.readers import CropWord, FitWord
from cropmark.model.values import FULL_LENGTH, Point
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import AnyStep, Crop, Fit, Flatten, Focus, Overflow, Resize


def steps(query: KontentQuery) -> tuple[AnyStep, ...]:
    """The Steps of a query: the crop to its region, the resize, then the background color."""
    return (*_region(query), *_resize(query), *_background(query))


def _region(query: KontentQuery) -> tuple[AnyStep, ...]:
    rect = query.rect
    if rect is None:
        return ()
    return (Crop(rect.area, rect.x, rect.y, overflow=Overflow.CLIP_OR_ORIGINAL, parameter="rect"),)


def _resize(query: KontentQuery) -> tuple[AnyStep, ...]:
    if not query.has_size:
        return _zoom(query)
    dpr = query.dpr or Fraction(1)
    match query.fit:
        case FitWord.CROP:
            covered = Resize(query.width, query.height, Fit.COVER, dpr=dpr, parameter="w")
            return (_with_focus(covered, query),)
        case FitWord.SCALE if query.width is not None and query.height is not None:
            return (Resize(query.width, query.height, Fit.STRETCH, enlarge=True, dpr=dpr, parameter="w"),)
        # Judgement: scale with one side alone distorts nothing, so it counts as clip and does not enlarge either.
        case FitWord.CLIP | FitWord.SCALE | None:
            return (Resize(query.width, query.height, Fit.INSIDE, dpr=dpr, parameter="w"),)
        case _:
            assert_never(query.fit)


def _zoom(query: KontentQuery) -> tuple[AnyStep, ...]:
    """The Step that zooms in on a focal point, for a query without w and h. No Step without a focal point."""
    if not query.has_focal_point:
        return ()
    return (_with_focus(Resize(FULL_LENGTH, FULL_LENGTH, Fit.COVER, parameter="fp-z"), query),)


def _with_focus(covered: Resize, query: KontentQuery) -> Resize:
    match query.crop:
        case CropWord.FOCAL_POINT:
            middle, point = Fraction(1, 2), query.focal_point
            focus = Point(middle if point.x is None else point.x, middle if point.y is None else point.y)
            return replace(covered, focus=focus, zoom=point.zoom or Fraction(1))
        case CropWord.SMART:
            return replace(covered, focus=Focus.SMART)
        case None:
            return covered
        case _:
            assert_never(query.crop)


def _background(query: KontentQuery) -> tuple[AnyStep, ...]:
    color = query.background
    if color is None or color.alpha == 0:
        return ()
    return (Flatten(color, skipped_for=(SourceFilter(alpha=False),)),)
