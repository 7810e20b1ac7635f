"""An Order as a Fastly query: the reverse of steps.py and output.py."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Final

from cropmark.dialects.dialect import Headers, Serialized, Unsupported
from cropmark.dialects.fastly.overlays import OVERLAY_HEADER
from cropmark.dialects.fastly.readers import OPTIMIZED, FormatWord
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.imageopto import writer as imageopto
from cropmark.dialects.imageopto.readers import FITS
from cropmark.dialects.writers import (
    QueryParams,
    Slot,
    UnsupportedValue,
    combinations,
    common_format,
    encode_query,
    format_color,
    format_decimal,
    format_length,
    is_first_frame,
    param_choices,
    qualities,
    serialize_steps,
    serialized,
)
from cropmark.model.formats import Format
from cropmark.model.values import Pixels
from cropmark.plan.equivalents import with_ratio_crops
from cropmark.plan.plan import KeepMetadata, Order, Output
from cropmark.plan.steps import (
    Adjust,
    AutoColor,
    Blur,
    Canvas,
    Crop,
    Dither,
    Flatten,
    Monochrome,
    Orient,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    Threshold,
    TrimBorder,
    TrimEdges,
)

_LEAST_RADIUS: Final = Fraction(1, 2)
_NAMED: Final = {
    Format.JPEG: (FormatWord.JPEG, FormatWord.PROGRESSIVE_JPEG, FormatWord.BASELINE_JPEG),
    Format.PNG: (FormatWord.PNG, FormatWord.PNG8),
    Format.WEBP: (FormatWord.WEBP, FormatWord.LOSSLESS_WEBP, FormatWord.LOSSY_WEBP),
    Format.GIF: (FormatWord.GIF,),
    Format.AVIF: (FormatWord.AVIF,),
}


def serialize(order: Order, settings: FastlySettings) -> Serialized | Unsupported:
    """Queries for the Order's Steps, with an overlay in its header."""
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
        Slot(TrimBorder, _border),
        Slot(Crop, imageopto.write_crop("precrop")),
        Slot(TrimEdges, imageopto.write_trim),
        Slot(Crop, imageopto.write_crop("crop")),
        Slot(Orient, imageopto.write_orient),
        Slot(Resize, partial(_resize, settings=settings)),
        Slot(Flatten, imageopto.write_flatten),
        Slot(Canvas, imageopto.write_canvas),
        Slot(Pad, imageopto.write_pad),
        Slot(Adjust, imageopto.write_adjust),
        Slot(Sharpen, _sharpen),
        Slot(Blur, _blur),
        Slot(Overlay, partial(_overlay, order=order, settings=settings)),
        Slot(Monochrome, _monochrome),
    )


def _border(step: TrimBorder) -> QueryParams:
    color_text = "auto" if step.color is AutoColor.TOP_LEFT else format_color(step.color)
    tolerance = f",t{format_decimal('TrimBorder.tolerance', step.tolerance)}" if step.tolerance else ""
    return {"trim-color": color_text + tolerance}


def _resize(step: Resize, settings: FastlySettings) -> QueryParams:
    params = imageopto.write_size(step)
    params |= imageopto.write_fit(step, FITS)
    params |= imageopto.write_dpr(step, Fraction(1), Fraction(10))
    params |= imageopto.write_filter(step, settings.resize_filter)
    if step.enlarge != settings.upscale:
        params["enable" if step.enlarge else "disable"] = "upscale"
    return params


def _sharpen(step: Sharpen) -> QueryParams:
    return imageopto.write_sharpen(step, imageopto.format_radius("Sharpen.radius", step.radius, _LEAST_RADIUS))


def _blur(step: Blur) -> QueryParams:
    if isinstance(step.radius, Pixels):
        return {"blur": imageopto.format_radius("Blur.radius", step.radius, _LEAST_RADIUS)}
    if step.min_px != _LEAST_RADIUS:
        raise UnsupportedValue("Blur.min_px", "the minimum of a blur by percentage is half a pixel here")
    return {"blur": format_length("Blur.radius", step.radius)}


def _overlay(step: Overlay, order: Order, settings: FastlySettings) -> QueryParams:
    if not (settings.read_overlay_header or settings.overlay_parameters):
        raise UnsupportedValue("Overlay", "this site does not read overlays, neither in the header nor in the query")
    return imageopto.write_overlay(step, order)


def _monochrome(step: Monochrome) -> QueryParams:
    match step.method:
        case Dither.ATKINSON:
            return {"bw": "atkinson"}
        case Threshold(level):
            return {"bw": f"threshold,{format_decimal('Monochrome.method', level)}"}


# ------------------------------------------------------------------------------------------------ encodings


def _encodings(output: Output) -> tuple[QueryParams, ...]:
    """The parameters of possible encodings, the simplest first."""
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
