"""Writes Steps as parameters of Fastly's Image Optimizer: the reverse of readers.py."""

from __future__ import annotations

from fractions import Fraction
from typing import Final
from urllib.parse import quote

from cropmark.dialects.imageopto.readers import FILTERS, MAX_SIDE, ORIENTATIONS, REPEATS, Repeat
from cropmark.dialects.writers import (
    QueryParams,
    UnsupportedValue,
    aliases,
    format_color,
    format_decimal,
    format_edges,
    format_length,
    format_placement,
    format_shape,
    param_choices,
    qualities,
    reject_other_fields,
    word_for,
)
from cropmark.model.values import Length, Pixels
from cropmark.plan.plan import Order, Output
from cropmark.plan.source import SitePath
from cropmark.plan.steps import (
    Adjust,
    Align,
    Canvas,
    Edges,
    Filter,
    Fit,
    Flatten,
    Middle,
    Orient,
    Overlay,
    Pad,
    Placement,
    Resize,
    Sharpen,
    TrimEdges,
)


def write_trim(step: TrimEdges) -> QueryParams:
    return {"trim": format_edges("TrimEdges.edges", step.edges)}


def write_orient(step: Orient) -> QueryParams:
    return {"orient": word_for("Orient.orientation", ORIENTATIONS, step.orientation)}


def write_size(step: Resize) -> dict[str, str]:
    """The parameters `width` and `height` of a resize.

    Raises UnsupportedValue above 8192 px, and for a resize with a focus.
    """
    reject_other_fields(step, "width", "height", "fit", "enlarge", "dpr", "filter")
    sides = {"width": step.width, "height": step.height}
    return {name: format_side(f"Resize.{name}", value) for name, value in sides.items() if value is not None}


def format_side(field: str, value: Length) -> str:
    if isinstance(value, Pixels) and value.count > MAX_SIDE:
        raise UnsupportedValue(field, f"at most {MAX_SIDE} px are possible")
    if value.of(1) == 0:
        raise UnsupportedValue(field, "a side is above 0")
    return format_length(field, value)


def write_dpr(step: Resize, least: Fraction, most: Fraction) -> QueryParams:
    """The parameter `dpr`; no parameter for a dpr of 1.

    Raises UnsupportedValue if the dpr is below `least` or above `most`.
    """
    if step.dpr == 1:
        return {}
    if not least <= step.dpr <= most:
        raise UnsupportedValue("Resize.dpr", f"it is from {least} to {most} here")
    return {"dpr": format_decimal("Resize.dpr", step.dpr)}


def write_filter(step: Resize, usual: Filter) -> QueryParams:
    if step.filter is usual:
        return {}
    return {"resize-filter": word_for("Resize.filter", FILTERS, step.filter)}


def write_fit(step: Resize, fits: dict[str, Fit]) -> QueryParams:
    """The parameter `fit`; no parameter for Fit.STRETCH, or if the resize has only one side."""
    if step.fit is Fit.STRETCH or step.width is None or step.height is None:
        return {}
    return {"fit": word_for("Resize.fit", fits, step.fit)}


def write_flatten(step: Flatten) -> QueryParams:
    return {"bg-color": format_color(step.color)}


def write_pad(step: Pad) -> QueryParams:
    return {"pad": format_edges("Pad.edges", step.edges), **_background(step)}


def write_canvas(step: Canvas) -> QueryParams:
    parts = (
        format_shape("Canvas.shape", step.shape),
        *format_placement("x", "Canvas.x", step.x),
        *format_placement("y", "Canvas.y", step.y),
    )
    return {"canvas": ",".join(parts), **_background(step)}


def _background(step: Pad | Canvas) -> QueryParams:
    return {} if step.color is None else {"bg-color": format_color(step.color)}


def write_adjust(step: Adjust) -> QueryParams:
    values = {"brightness": step.brightness, "contrast": step.contrast, "saturation": step.saturation}
    return {name: format_decimal(f"Adjust.{name}", value) for name, value in values.items() if value}


def format_sharpen(step: Sharpen, radius: str) -> str:
    """The text of a sharpen Step, such as `a5,r2,t1`. `radius` is the text of its radius."""
    return f"a{format_decimal('Sharpen.amount', step.amount)},r{radius},t{step.threshold}"


def format_radius(field: str, value: Length, least: Fraction) -> str:
    """The text of a radius in pixels. Raises UnsupportedValue below `least` and above 1000 pixels."""
    if not isinstance(value, Pixels):
        raise UnsupportedValue(field, "a radius is in pixels here")
    if not least <= value.count <= 1000:
        raise UnsupportedValue(field, f"a radius is from {format_decimal(field, least)} to 1000 px here")
    return format_decimal(field, value.count)


# ------------------------------------------------------------------------------------------------ encodings

AUTO_CHOICES: Final = param_choices("auto", ("webp", "avif", "avif,webp"))
_MAX_PAIRED: Final = 3


def quality_choices(output: Output) -> tuple[QueryParams, ...]:
    """The choices for the parameter `quality`: absent, one quality of the output, or a pair of two qualities.

    An output with more than _MAX_PAIRED qualities has no pairs.
    """
    numbers = qualities(output)
    pairs = (f"{usual},{webp}" for usual in numbers for webp in numbers if usual != webp)
    return param_choices("quality", (*map(str, numbers), *(pairs if len(numbers) <= _MAX_PAIRED else ())))


# ------------------------------------------------------------------------------------------------ overlays

_ACROSS: Final = {"left": Align(Fraction(0)), "center": Align(Fraction(1, 2)), "right": Align(Fraction(1))}
_DOWN: Final = {"top": Align(Fraction(0)), "middle": Align(Fraction(1, 2)), "bottom": Align(Fraction(1))}


def write_overlay(step: Overlay, order: Order) -> QueryParams:
    """The parameters that describe the overlay, with the path of its image. Raises UnsupportedValue."""
    reject_other_fields(
        step, "source", "width", "height", "x", "y", "edges", "opaque_padding", "repeat_across", "repeat_down"
    )
    params = {"overlay": _path(step, order)}
    sides = {"overlay-width": step.width, "overlay-height": step.height}
    params |= {name: format_side("Overlay.width", value) for name, value in sides.items() if value is not None}
    if (step.x, step.y) != (_ACROSS["center"], _DOWN["middle"]):
        params["overlay-align"] = f"{_align('y', _DOWN, step.y)},{_align('x', _ACROSS, step.x)}"
    if step.edges != Edges():
        params["overlay-pad"] = format_edges("Overlay.edges", step.edges)
    if step.repeat_across or step.repeat_down:
        params["overlay-repeat"] = aliases(REPEATS, Repeat(step.repeat_across, step.repeat_down))[0]
    return params


def _align(axis: str, words: dict[str, Align], place: Placement | Middle) -> str:
    return word_for(f"Overlay.{axis}", words, place)


def _path(step: Overlay, order: Order) -> str:
    ref = order.sources[step.source].ref if step.source < len(order.sources) else None
    if not isinstance(ref, SitePath):
        raise UnsupportedValue("Overlay.source", "an overlay is named by its path on the site")
    # It is decoded twice: with the query, and as a URL.
    return "/" + quote(ref.path.encode("utf-8", "surrogateescape"))
