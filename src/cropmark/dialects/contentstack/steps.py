"""From what was asked to the Steps, in one order, whatever the order of the query.

Contentstack gives none; it is that of the engine behind it. Source: https://docs.fastly.com/en/guides/serving-images
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

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
    sharpen_steps,
    trim_steps,
)
from cropmark.dialects.params import ParsedParams
from cropmark.plan.steps import AnyStep, Canvas, Edges, Filter, Fit, Overlay, Resize

_NOT_ON_GIF = "a GIF is not resized"


def steps(asked: ParsedParams, settings: ContentstackSettings) -> tuple[AnyStep, ...]:
    """Every Step that the query asks for, in the order in which they are done."""
    return (
        *trim_steps(params.TRIM.of(asked)),
        *crop_steps(params.CROP.of(asked)),
        *orient_steps(params.ORIENT.of(asked)),
        *present(_resize(asked, settings)),
        *background_steps(params.BG_COLOR.of(asked), _canvas(asked), params.PAD.of(asked)),
        *adjust_steps(params.BRIGHTNESS.of(asked), params.CONTRAST.of(asked), params.SATURATION.of(asked)),
        *sharpen_steps(params.SHARPEN.of(asked)),
        *present(params.BLUR.of(asked), _overlay(asked)),
    )


def _resize(asked: ParsedParams, settings: ContentstackSettings) -> Resize | None:
    """The resize that a width or a height asks for; dpr, fit, filter and disable are nothing without one."""
    width, height = params.WIDTH.of(asked), params.HEIGHT.of(asked)
    if width is None and height is None:
        return None
    return Resize(
        width=width,
        height=height,
        fit=_fit(params.FIT.of(asked), settings) if width and height else Fit.STRETCH,
        enlarge=params.DISABLE.of(asked) is None,
        dpr=params.DPR.of(asked) or Fraction(1),
        filter=params.RESIZE_FILTER.of(asked) or Filter.LANCZOS3,
        parameter="width" if width else "height",
        skipped_for=() if settings.gif_resize else (GIFS,),
        warning_if_skipped=None if settings.gif_resize else _NOT_ON_GIF,
    )


def _fit(word: str | None, settings: ContentstackSettings) -> Fit:
    fits = {"bounds": Fit.INSIDE, "crop": Fit.COVER, "cover": settings.fit_cover.fit}
    return fits[word] if word else Fit.STRETCH


def _canvas(asked: ParsedParams) -> Canvas | None:
    canvas = params.CANVAS.of(asked)
    return None if canvas is None else replace(canvas, warn_if_cut=True)


def _overlay(asked: ParsedParams) -> Overlay | None:
    """The overlay as it lies over the finished picture: the second source."""
    if params.OVERLAY.of(asked) is None:
        return None
    align = params.OVERLAY_ALIGN.of(asked)
    place = align.known[0] if align else Alignment()
    repeat = params.OVERLAY_REPEAT.of(asked) or Repeat(across=False, down=False)
    return Overlay(
        source=1,
        width=params.OVERLAY_WIDTH.of(asked),
        height=params.OVERLAY_HEIGHT.of(asked),
        x=place.x,
        y=place.y,
        edges=params.OVERLAY_PAD.of(asked) or Edges(),
        opaque_padding=True,
        repeat_across=repeat.across,
        repeat_down=repeat.down,
    )
