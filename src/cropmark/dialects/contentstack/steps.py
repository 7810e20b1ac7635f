"""Turns typed values into Steps in a fixed order, independent of the order in the query.

Contentstack documents no order. This is the order of Fastly's Image Optimizer, which the service runs.
Source: https://docs.fastly.com/en/guides/serving-images
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from cropmark.dialects.contentstack import params
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.imageopto.encoding import GIFS
from cropmark.dialects.imageopto.readers import Alignment, Repeat
from cropmark.dialects.imageopto.steps import (
    adjust_steps,
    background_steps,
    crop_steps,
    orient_steps,
    present,
    trim_steps,
)
from cropmark.dialects.params import ParsedParams, StepParameter, single_steps
from cropmark.plan.steps import AnyStep, Canvas, Edges, Filter, Fit, Overlay, Resize

BEFORE_OVERLAY: Final[tuple[StepParameter[Any], ...]] = (params.SHARPEN, params.BLUR)
"""Parameters that describe one Step each, in the order of execution. The writer uses the same order."""

_NOT_ON_GIF = "a GIF is not resized"


def steps(parsed: ParsedParams, settings: ContentstackSettings) -> tuple[AnyStep, ...]:
    """The Steps of a request, in the order of execution."""
    return (
        *trim_steps(params.TRIM.of(parsed)),
        *crop_steps(params.CROP.of(parsed)),
        *orient_steps(params.ORIENT.of(parsed)),
        *present(_resize(parsed, settings)),
        *background_steps(params.BG_COLOR.of(parsed), _canvas(parsed), params.PAD.of(parsed)),
        *adjust_steps(params.BRIGHTNESS.of(parsed), params.CONTRAST.of(parsed), params.SATURATION.of(parsed)),
        *single_steps(BEFORE_OVERLAY, parsed),
        *present(_overlay(parsed)),
    )


def _resize(parsed: ParsedParams, settings: ContentstackSettings) -> Resize | None:
    """The resize to the requested width and height; None if the query has neither.

    Without a width or a height, the parameters dpr, fit, resize-filter and disable have no effect.
    """
    width, height = params.WIDTH.of(parsed), params.HEIGHT.of(parsed)
    if width is None and height is None:
        return None
    return Resize(
        width=width,
        height=height,
        fit=_fit(params.FIT.of(parsed), settings) if width and height else Fit.STRETCH,
        enlarge=params.DISABLE.of(parsed) is None,
        dpr=params.DPR.of(parsed) or Fraction(1),
        filter=params.RESIZE_FILTER.of(parsed) or Filter.LANCZOS3,
        parameter="width" if width else "height",
        skipped_for=() if settings.gif_resize else (GIFS,),
        warning_if_skipped=None if settings.gif_resize else _NOT_ON_GIF,
    )


def _fit(word: str | None, settings: ContentstackSettings) -> Fit:
    fits = {"bounds": Fit.INSIDE, "crop": Fit.COVER, "cover": settings.fit_cover.fit}
    return fits[word] if word else Fit.STRETCH


def _canvas(parsed: ParsedParams) -> Canvas | None:
    canvas = params.CANVAS.of(parsed)
    return None if canvas is None else replace(canvas, warn_if_cut=True)


def _overlay(parsed: ParsedParams) -> Overlay | None:
    """The Step that draws the overlay on the finished image; None without an overlay.

    The overlay is source 1 of the Order.
    """
    if params.OVERLAY.of(parsed) is None:
        return None
    align = params.OVERLAY_ALIGN.of(parsed)
    place = align.known[0] if align else Alignment()
    repeat = params.OVERLAY_REPEAT.of(parsed) or Repeat(across=False, down=False)
    return Overlay(
        source=1,
        width=params.OVERLAY_WIDTH.of(parsed),
        height=params.OVERLAY_HEIGHT.of(parsed),
        x=place.x,
        y=place.y,
        edges=params.OVERLAY_PAD.of(parsed) or Edges(),
        opaque_padding=True,
        repeat_across=repeat.across,
        repeat_down=repeat.down,
    )
