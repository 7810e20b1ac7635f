"""Turns typed values into Steps, in the order of the documentation, independent of the order in the query.

Source: https://docs.fastly.com/en/guides/serving-images
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from cropmark.dialects.fastly import params
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.imageopto.encoding import GIFS
from cropmark.dialects.imageopto.steps import (
    adjust_steps,
    background_steps,
    crop_steps,
    orient_steps,
    present,
    trim_steps,
)
from cropmark.dialects.params import ParsedParams, StepParameter, single_steps
from cropmark.model.values import FULL_LENGTH
from cropmark.plan.steps import AnyStep, Fit, Overlay, Resize, TrimBorder

BEFORE_OVERLAY: Final[tuple[StepParameter[Any], ...]] = (params.SHARPEN, params.BLUR)
AFTER_OVERLAY: Final[tuple[StepParameter[Any], ...]] = (params.BW,)
"""BEFORE_OVERLAY and AFTER_OVERLAY: parameters that describe one Step each, in the order of execution. The writer uses
the same order."""

_NOT_ON_GIF = "the border of a GIF is not removed"


def steps(parsed: ParsedParams, overlay: Overlay | None, settings: FastlySettings) -> tuple[AnyStep, ...]:
    """The Steps of a request, in the order of execution."""
    return (
        # Before precrop, although that is documented as the first: the border is detected on the full image.
        *present(_border(params.TRIM_COLOR.of(parsed))),
        *crop_steps(params.PRECROP.of(parsed), settings.rounding),
        *trim_steps(params.TRIM.of(parsed)),
        *crop_steps(params.CROP.of(parsed), settings.rounding),
        *orient_steps(params.ORIENT.of(parsed)),
        *present(_resize(parsed, settings)),
        *background_steps(params.BG_COLOR.of(parsed), params.CANVAS.of(parsed), params.PAD.of(parsed)),
        *adjust_steps(params.BRIGHTNESS.of(parsed), params.CONTRAST.of(parsed), params.SATURATION.of(parsed)),
        *single_steps(BEFORE_OVERLAY, parsed),
        *present(overlay),
        *single_steps(AFTER_OVERLAY, parsed),
    )


def _border(trim: TrimBorder | None) -> TrimBorder | None:
    return None if trim is None else replace(trim, skipped_for=(GIFS,), warning_if_skipped=_NOT_ON_GIF)


def _resize(parsed: ParsedParams, settings: FastlySettings) -> Resize | None:
    width, height = params.WIDTH.of(parsed), params.HEIGHT.of(parsed)
    dpr = params.DPR.of(parsed) or Fraction(1)
    enlarge = (settings.upscale or params.ENABLE.of(parsed) is not None) and params.DISABLE.of(parsed) is None
    fit = params.FIT.of(parsed)
    if width is None and height is None:
        # dpr alone multiplies the natural size, which only has an effect if enlarging is allowed.
        if dpr == 1 or not enlarge:
            return None
        width = FULL_LENGTH
    return Resize(
        width=width,
        height=height,
        fit=fit if fit and width and height else Fit.STRETCH,
        enlarge=enlarge,
        dpr=dpr,
        filter=params.RESIZE_FILTER.of(parsed) or settings.resize_filter,
        parameter=_size_parameter(parsed),
    )


def _size_parameter(parsed: ParsedParams) -> str:
    if params.WIDTH.of(parsed):
        return "width"
    return "height" if params.HEIGHT.of(parsed) else "dpr"
