"""Writes an Order as a Fastly query: the reverse of steps.py and output.py."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Final

from cropmark.dialects.dialect import Headers, Serialized, Unsupported
from cropmark.dialects.fastly import params
from cropmark.dialects.fastly.overlays import OVERLAY_HEADER
from cropmark.dialects.fastly.readers import OPTIMIZED, FormatWord
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.fastly.steps import AFTER_OVERLAY, BEFORE_OVERLAY
from cropmark.dialects.imageopto import writer as imageopto
from cropmark.dialects.imageopto.readers import FITS
from cropmark.dialects.writers import (
    QueryParams,
    Slot,
    UnsupportedValue,
    combinations,
    common_format,
    encode_query,
    is_first_frame,
    param_choices,
    parameter_slot,
    qualities,
    serialize_steps,
    serialized,
)
from cropmark.model.formats import Format
from cropmark.plan.equivalents import with_ratio_crops
from cropmark.plan.plan import KeepMetadata, Order, Output
from cropmark.plan.steps import (
    Adjust,
    Canvas,
    Flatten,
    Orient,
    Overlay,
    Pad,
    Resize,
    TrimEdges,
)

_NAMED: Final = {
    Format.JPEG: (FormatWord.JPEG, FormatWord.PROGRESSIVE_JPEG, FormatWord.BASELINE_JPEG),
    Format.PNG: (FormatWord.PNG, FormatWord.PNG8),
    Format.WEBP: (FormatWord.WEBP, FormatWord.LOSSLESS_WEBP, FormatWord.LOSSY_WEBP),
    Format.GIF: (FormatWord.GIF,),
    Format.AVIF: (FormatWord.AVIF,),
}


def serialize(order: Order, settings: FastlySettings) -> Serialized | Unsupported:
    """The queries that may express an Order, or the reasons why no query expresses it.

    An overlay is written into the overlay header if the site reads this header, else into the query.
    """
    if order.plan is None:
        return Unsupported(("Plan: the stored bytes cannot be requested, every response is encoded",))
    params = serialize_steps(with_ratio_crops(order.plan.steps), _slots(order, settings))
    if isinstance(params, Unsupported):
        return params
    overlay = {name: text for name, text in params.items() if name.startswith("overlay")}
    headers: Headers = ()
    if overlay and settings.read_overlay_header:
        headers = ((OVERLAY_HEADER, encode_query(overlay)),)
        params = {name: text for name, text in params.items() if name not in overlay}
    return serialized(params, _encodings(order.plan.output), headers=headers)


def _slots(order: Order, settings: FastlySettings) -> tuple[Slot, ...]:
    return (
        parameter_slot(params.TRIM_COLOR),
        parameter_slot(params.PRECROP),
        Slot(TrimEdges, imageopto.write_trim),
        parameter_slot(params.CROP),
        Slot(Orient, imageopto.write_orient),
        Slot(Resize, partial(_resize, settings=settings)),
        Slot(Flatten, imageopto.write_flatten),
        Slot(Canvas, imageopto.write_canvas),
        Slot(Pad, imageopto.write_pad),
        Slot(Adjust, imageopto.write_adjust),
        *map(parameter_slot, BEFORE_OVERLAY),
        Slot(Overlay, partial(_overlay, order=order, settings=settings)),
        *map(parameter_slot, AFTER_OVERLAY),
    )


def _resize(step: Resize, settings: FastlySettings) -> QueryParams:
    params = imageopto.write_size(step)
    params |= imageopto.write_fit(step, FITS)
    params |= imageopto.write_dpr(step, Fraction(1), Fraction(10))
    params |= imageopto.write_filter(step, settings.resize_filter)
    if step.enlarge != settings.upscale:
        params["enable" if step.enlarge else "disable"] = "upscale"
    return params


def _overlay(step: Overlay, order: Order, settings: FastlySettings) -> QueryParams:
    if not (settings.read_overlay_header or settings.overlay_parameters):
        raise UnsupportedValue("Overlay", "this site does not read overlays, neither in the header nor in the query")
    return imageopto.write_overlay(step, order)


# ------------------------------------------------------------------------------------------------ encodings


def _encodings(output: Output) -> tuple[QueryParams, ...]:
    """All sets of encoding parameters that may give this output. The smallest sets come first."""
    return combinations(
        param_choices("format", _formats(output)),
        imageopto.AUTO_CHOICES,
        (*imageopto.quality_choices(output), *_optimized(output)),
        ({"frame": "1"},) if is_first_frame(output) else ({},),
        ({"metadata": "copyright"},) if KeepMetadata.COPYRIGHT in output.metadata else ({},),
    )


def _formats(output: Output) -> tuple[str, ...]:
    target = common_format(output)
    if target is None:
        return ("auto",)
    return tuple(word.value for word in _NAMED.get(target, ()))


def _optimized(output: Output) -> tuple[QueryParams, ...]:
    return tuple({"optimize": word} for word, quality in OPTIMIZED.items() if quality in qualities(output))
