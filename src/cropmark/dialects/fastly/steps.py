"""From what was asked to the Steps, in the order of the documents, whatever the order of the query.

Source: https://docs.fastly.com/en/guides/serving-images
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from cropmark.dialects.fastly import params
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.imageopto import GIFS, without_idle_focus
from cropmark.dialects.table import Asked
from cropmark.plan.plan import Warned
from cropmark.plan.steps import Adjust, AnyStep, Crop, Fit, Flatten, Orient, Overlay, Pad, Resize, TrimEdges, Turn
from cropmark.values import WHOLE

_NOT_ON_GIF = "a GIF keeps its border"


def steps(asked: Asked, overlay: Overlay | None, settings: FastlySettings) -> tuple[AnyStep, ...]:
    """Every Step that the query asks for, in the order in which they are done."""
    return (
        *_cuts(asked),
        *_turn(asked),
        *_resize(asked, settings),
        *_ground(asked),
        *_tones(asked),
        *_sharpness(asked),
        *_present(overlay),
        *_present(params.BW.of(asked)),
    )


def idle_focus(asked: Asked) -> tuple[Warned, ...]:
    """The warnings of crops whose `smart` has nothing to place."""
    crops = (params.PRECROP.of(asked), params.CROP.of(asked))
    return tuple(warned for crop in crops if crop for warned in without_idle_focus(crop)[1])


def _present(step: AnyStep | None) -> tuple[AnyStep, ...]:
    return () if step is None else (step,)


def _cuts(asked: Asked) -> Iterator[AnyStep]:
    if border := params.TRIM_COLOR.of(asked):
        # First of all, though precrop claims that place too: a border is found on the whole picture.
        yield replace(border, skipped_for=(GIFS,), skipped_warning=_NOT_ON_GIF)
    yield from _crop(params.PRECROP.of(asked))
    if edges := params.TRIM.of(asked):
        yield TrimEdges(edges)
    yield from _crop(params.CROP.of(asked))


def _crop(crop: Crop | None) -> tuple[AnyStep, ...]:
    return () if crop is None else (without_idle_focus(crop)[0],)


def _turn(asked: Asked) -> tuple[AnyStep, ...]:
    turn = params.ORIENT.of(asked)
    return () if turn is None or turn is Turn.NONE else (Orient(turn),)


def _resize(asked: Asked, settings: FastlySettings) -> Iterator[AnyStep]:
    width, height = params.WIDTH.of(asked), params.HEIGHT.of(asked)
    dpr = params.DPR.of(asked) or Fraction(1)
    enlarge = (settings.upscale or params.ENABLE.of(asked) is not None) and params.DISABLE.of(asked) is None
    fit = params.FIT.of(asked)
    if width is None and height is None:
        # dpr alone multiplies the natural size, which shows only where it may grow.
        if dpr == 1 or not enlarge:
            return
        width = WHOLE
    yield Resize(
        width=width,
        height=height,
        fit=fit if fit and width and height else Fit.STRETCH,
        enlarge=enlarge,
        dpr=dpr,
        filter=params.RESIZE_FILTER.of(asked) or settings.resize_filter,
        parameter=_resized_by(asked),
    )


def _resized_by(asked: Asked) -> str:
    if params.WIDTH.of(asked):
        return "width"
    return "height" if params.HEIGHT.of(asked) else "dpr"


def _ground(asked: Asked) -> Iterator[AnyStep]:
    """What lies around and under the picture.

    The colour goes under the picture before the room is added in the same colour. The other way round, one with alpha
    would be laid twice where the room is.
    """
    colour = params.BG_COLOR.of(asked)
    if colour:
        yield Flatten(colour)
    if canvas := params.CANVAS.of(asked):
        yield replace(canvas, colour=colour)
    elif edges := params.PAD.of(asked):
        yield Pad(edges, colour)


def _tones(asked: Asked) -> tuple[AnyStep, ...]:
    tones = [row.of(asked) or Fraction(0) for row in (params.BRIGHTNESS, params.CONTRAST, params.SATURATION)]
    return (Adjust(*tones),) if any(tones) else ()


def _sharpness(asked: Asked) -> Iterator[AnyStep]:
    sharpen = params.SHARPEN.of(asked)
    if sharpen and sharpen.amount:
        yield sharpen
    yield from _present(params.BLUR.of(asked))
