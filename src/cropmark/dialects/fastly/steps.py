"""From what was asked to the Steps, in the order of the documents, whatever the order of the query.

Source: https://docs.fastly.com/en/guides/serving-images
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from cropmark.dialects.fastly import params
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.imageopto.encoding import GIFS
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
from cropmark.model.values import FULL_LENGTH
from cropmark.plan.steps import AnyStep, Fit, Overlay, Resize, TrimBorder

_NOT_ON_GIF = "a GIF keeps its border"


def steps(asked: ParsedParams, overlay: Overlay | None, settings: FastlySettings) -> tuple[AnyStep, ...]:
    """Every Step that the query asks for, in the order in which they are done."""
    return (
        # First of all, though precrop claims that place too: a border is found on the whole picture.
        *present(_border(params.TRIM_COLOR.of(asked))),
        *crop_steps(params.PRECROP.of(asked)),
        *trim_steps(params.TRIM.of(asked)),
        *crop_steps(params.CROP.of(asked)),
        *orient_steps(params.ORIENT.of(asked)),
        *present(_resize(asked, settings)),
        *background_steps(params.BG_COLOR.of(asked), params.CANVAS.of(asked), params.PAD.of(asked)),
        *adjust_steps(params.BRIGHTNESS.of(asked), params.CONTRAST.of(asked), params.SATURATION.of(asked)),
        *sharpen_steps(params.SHARPEN.of(asked)),
        *present(params.BLUR.of(asked), overlay, params.BW.of(asked)),
    )


def _border(trim: TrimBorder | None) -> TrimBorder | None:
    return None if trim is None else replace(trim, skipped_for=(GIFS,), warning_if_skipped=_NOT_ON_GIF)


def _resize(asked: ParsedParams, settings: FastlySettings) -> Resize | None:
    width, height = params.WIDTH.of(asked), params.HEIGHT.of(asked)
    dpr = params.DPR.of(asked) or Fraction(1)
    enlarge = (settings.upscale or params.ENABLE.of(asked) is not None) and params.DISABLE.of(asked) is None
    fit = params.FIT.of(asked)
    if width is None and height is None:
        # dpr alone multiplies the natural size, which shows only where it may grow.
        if dpr == 1 or not enlarge:
            return None
        width = FULL_LENGTH
    return Resize(
        width=width,
        height=height,
        fit=fit if fit and width and height else Fit.STRETCH,
        enlarge=enlarge,
        dpr=dpr,
        filter=params.RESIZE_FILTER.of(asked) or settings.resize_filter,
        parameter=_resized_by(asked),
    )


def _resized_by(asked: ParsedParams) -> str:
    if params.WIDTH.of(asked):
        return "width"
    return "height" if params.HEIGHT.of(asked) else "dpr"
