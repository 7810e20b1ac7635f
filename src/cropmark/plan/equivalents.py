"""Converts between two forms of one request: one covering resize (Fit.COVER), or a crop to a ratio and then a resize.

    w=300&h=200&fit=crop&crop=smart          Kontent.ai: one covering resize
    crop=3:2,smart&width=300&height=200      Fastly, Contentstack: a crop and a resize

Both give the same size. They show the same window within a pixel of the source, because a crop rounds its window to
whole pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cropmark.model.values import Length, Pixels, Ratio
from cropmark.plan.steps import CENTERED, AnyStep, Crop, Fit, Focus, Resize


def with_covering_resizes(steps: Sequence[AnyStep]) -> tuple[AnyStep, ...]:
    """Join each crop to a ratio with the resize after it into one covering resize, if both have the same ratio."""
    joined: list[AnyStep] = []
    for step in steps:
        covering = _covering(joined[-1], step) if joined else None
        if covering is None:
            joined.append(step)
        else:
            joined[-1] = covering
    return tuple(joined)


def with_ratio_crops(steps: Iterable[AnyStep]) -> tuple[AnyStep, ...]:
    """Split each covering resize into a crop to its ratio and a resize.

    Only covering resizes with Focus.SMART and both sides in pixels are split.
    """
    return tuple(part for step in steps for part in _split(step))


def _covering(crop: AnyStep, resize: AnyStep) -> Resize | None:
    if not (isinstance(crop, Crop) and isinstance(crop.shape, Ratio) and isinstance(resize, Resize)):
        return None
    if (crop.x, crop.y) != (CENTERED, CENTERED) or resize.focus is not None or resize.zoom != 1:
        return None
    width, height = _pixels(resize.width), _pixels(resize.height)
    proportion = crop.shape.width / crop.shape.height
    if width is not None and resize.height is None:
        height = Pixels(width.count / proportion)
    if height is not None and resize.width is None:
        width = Pixels(height.count * proportion)
    if width is None or height is None or width.count != height.count * proportion:
        return None
    return replace(resize, width=width, height=height, fit=Fit.COVER, focus=crop.focus)


def _split(step: AnyStep) -> tuple[AnyStep, ...]:
    if not (isinstance(step, Resize) and step.fit is Fit.COVER and step.focus is Focus.SMART and step.zoom == 1):
        return (step,)
    width, height = _pixels(step.width), _pixels(step.height)
    if width is None or height is None:
        return (step,)
    crop = Crop(Ratio(width.count, height.count), focus=Focus.SMART, skipped_for=step.skipped_for)
    return crop, replace(step, fit=Fit.STRETCH, focus=None)


def _pixels(length: Length | None) -> Pixels | None:
    return length if isinstance(length, Pixels) else None
