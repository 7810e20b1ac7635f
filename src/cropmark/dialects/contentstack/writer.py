"""Writes an Order as a Contentstack query: the reverse of steps.py and output.py."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Final

from cropmark.dialects.contentstack import params
from cropmark.dialects.contentstack.readers import MAX_DPR, FormatWord
from cropmark.dialects.contentstack.settings import ContentstackSettings, FitCover
from cropmark.dialects.contentstack.steps import BEFORE_OVERLAY
from cropmark.dialects.dialect import Serialized, Unsupported
from cropmark.dialects.imageopto import writer as imageopto
from cropmark.dialects.writers import (
    QueryParams,
    Slot,
    combinations,
    common_format,
    is_first_frame,
    param_choices,
    parameter_slot,
    serialize_steps,
    serialized,
)
from cropmark.model.formats import Format
from cropmark.plan.equivalents import with_ratio_crops
from cropmark.plan.plan import Order, Output
from cropmark.plan.steps import (
    Adjust,
    Canvas,
    Filter,
    Fit,
    Flatten,
    Orient,
    Overlay,
    Pad,
    Resize,
    TrimEdges,
)

_LEAST_DPR: Final = Fraction(1, 10**6)
_NAMED: Final = {
    Format.JPEG: (FormatWord.JPEG, FormatWord.PROGRESSIVE_JPEG),
    Format.PNG: (FormatWord.PNG,),
    Format.WEBP: (FormatWord.WEBP, FormatWord.LOSSLESS_WEBP, FormatWord.LOSSY_WEBP),
    Format.GIF: (FormatWord.GIF,),
    Format.AVIF: (FormatWord.AVIF,),
}


def serialize(order: Order, settings: ContentstackSettings) -> Serialized | Unsupported:
    """The queries that may express an Order, or the reasons why no query expresses it.

    Without a Plan, the query requests the stored bytes. If the site requires an environment, every query has the first
    environment of the settings.
    """
    if order.plan is None:
        return serialized(_required(settings), ({},))
    params = serialize_steps(with_ratio_crops(order.plan.steps), _slots(order, settings))
    if isinstance(params, Unsupported):
        return params
    return serialized({**_required(settings), **params}, _encodings(order.plan.output))


def _required(settings: ContentstackSettings) -> QueryParams:
    if not settings.require_environment or not settings.environments:
        return {}
    return {"environment": settings.environments[0]}


def _slots(order: Order, settings: ContentstackSettings) -> tuple[Slot, ...]:
    return (
        Slot(TrimEdges, imageopto.write_trim),
        parameter_slot(params.CROP),
        Slot(Orient, imageopto.write_orient),
        Slot(Resize, partial(_resize, settings=settings)),
        Slot(Flatten, imageopto.write_flatten),
        Slot(Canvas, imageopto.write_canvas),
        Slot(Pad, imageopto.write_pad),
        Slot(Adjust, imageopto.write_adjust),
        *map(parameter_slot, BEFORE_OVERLAY),
        Slot(Overlay, partial(imageopto.write_overlay, order=order)),
    )


def _resize(step: Resize, settings: ContentstackSettings) -> QueryParams:
    fits = {"bounds": Fit.INSIDE, "crop": Fit.COVER}
    if settings.fit_cover is FitCover.FASTLY:
        fits["cover"] = Fit.OUTSIDE
    params = imageopto.write_size(step)
    params |= imageopto.write_fit(step, fits)
    params |= imageopto.write_dpr(step, _LEAST_DPR, Fraction(MAX_DPR))
    params |= imageopto.write_filter(step, Filter.LANCZOS3)
    if not step.enlarge:
        params["disable"] = "upscale"
    return params


# ------------------------------------------------------------------------------------------------ encodings


def _encodings(output: Output) -> tuple[QueryParams, ...]:
    """All sets of encoding parameters that may give this output. The smallest sets come first."""
    return combinations(
        param_choices("format", _formats(output)),
        imageopto.AUTO_CHOICES,
        imageopto.quality_choices(output),
        ({"frame": "1"},) if is_first_frame(output) else ({},),
    )


def _formats(output: Output) -> tuple[str, ...]:
    target = common_format(output)
    if target is None:
        return ("auto",)
    return tuple(word.value for word in _NAMED.get(target, ()))
