"""Writes an Order as a Kontent.ai query: the reverse of steps.py and output.py.

It never writes a query with contradictory parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from cropmark.dialects.dialect import Serialized, Unsupported
from cropmark.dialects.kontent.query import MAX_DPR
from cropmark.dialects.writers import (
    QueryParams,
    Slot,
    UnsupportedValue,
    combinations,
    common_format,
    format_decimal,
    format_fraction_or_pixels,
    param_choices,
    qualities,
    reject_other_fields,
    serialize_steps,
    serialized,
)
from cropmark.model.formats import Format
from cropmark.model.values import FULL_LENGTH, Length, Pixels, Point
from cropmark.plan.equivalents import with_covering_resizes
from cropmark.plan.plan import Order, Output
from cropmark.plan.steps import AnyStep, Crop, Dimensions, Fit, Flatten, Focus, Offset, Placement, Resize

_WORDS: Final = {
    Format.JPEG: ("jpg", "pjpg"),
    Format.PNG: ("png", "png8"),
    Format.WEBP: ("webp",),
    Format.GIF: ("gif",),
}
_MIDDLE: Final = Fraction(1, 2)


def serialize(order: Order) -> Serialized | Unsupported:
    """The queries that may express an Order, or the reasons why no query expresses it.

    Without a Plan, the query is empty, which requests the stored bytes.
    """
    if order.plan is None:
        return serialized({}, ({},))
    steps = with_covering_resizes(order.plan.steps)
    contradiction = _contradiction(steps)
    if contradiction is not None:
        return Unsupported((contradiction,))
    params = serialize_steps(steps, _SLOTS)
    return params if isinstance(params, Unsupported) else serialized(params, _encodings(order.plan.output))


def _contradiction(steps: Sequence[AnyStep]) -> str | None:
    """The reason why no query expresses the Steps, or None.

    A query cannot have both rect and fit=crop: the vendor then sends the original.
    """
    covers = any(isinstance(step, Resize) and step.fit is Fit.COVER for step in steps)
    if covers and any(isinstance(step, Crop) for step in steps):
        return "Crop, Resize.fit: rect cannot be combined with fit=crop"
    return None


def _rect(step: Crop) -> QueryParams:
    reject_other_fields(step, "shape", "x", "y", "overflow", "rounding")
    if not isinstance(step.shape, Dimensions):
        raise UnsupportedValue("Crop.shape", "a region has a width and a height, not a ratio")
    lengths = (
        _start("Crop.x", step.x),
        _start("Crop.y", step.y),
        format_fraction_or_pixels("Crop.shape", step.shape.width),
        format_fraction_or_pixels("Crop.shape", step.shape.height),
    )
    return {"rect": ",".join(lengths)}


def _start(field: str, place: Placement) -> str:
    match place:
        case Offset(distance):
            return format_fraction_or_pixels(field, distance)
        case _ if place.part == 0:
            return "0"
        case _:
            raise UnsupportedValue(field, "a region is placed by its corner, not within the free space")


# ------------------------------------------------------------------------------------------------ the resize


def _resize(step: Resize) -> QueryParams:
    reject_other_fields(step, "width", "height", "fit", "enlarge", "dpr", "focus", "zoom")
    if _is_zoom(step):
        return {"fit": "crop", **_focus(step)}
    return {**_size(step), **_fit(step)}


def _is_zoom(step: Resize) -> bool:
    """True if the resize only zooms into the whole image around a point. It is written without w and h."""
    return step.fit is Fit.COVER and step.width == step.height == FULL_LENGTH and isinstance(step.focus, Point)


def _size(step: Resize) -> QueryParams:
    has_dpr = 0 < step.dpr <= MAX_DPR
    sides = {"w": step.width, "h": step.height}
    if not has_dpr:
        sides = {name: value and value.times(step.dpr) for name, value in sides.items()}
    params = {
        name: format_fraction_or_pixels("Resize.width", value) for name, value in sides.items() if value is not None
    }
    return params | ({"dpr": format_decimal("Resize.dpr", step.dpr)} if has_dpr and step.dpr != 1 else {})


def _fit(step: Resize) -> QueryParams:
    both = step.width is not None and step.height is not None
    if step.enlarge and not (both and step.fit is Fit.STRETCH):
        raise UnsupportedValue("Resize.enlarge", "only fit=scale with both sides enlarges")
    match step.fit:
        case Fit.COVER:
            return {"fit": "crop", **_focus(step)}
        case Fit.STRETCH if both:
            if not step.enlarge:
                raise UnsupportedValue("Resize.enlarge", "fit=scale always enlarges")
            return {"fit": "scale"}
        case Fit.OUTSIDE if both:
            raise UnsupportedValue("Resize.fit", "no fit covers the box without cutting")
        case _:
            return {}


def _focus(step: Resize) -> QueryParams:
    match step.focus:
        case None if step.zoom == 1:
            _pixels_only(step.width, step.height)
            return {}
        case Focus.SMART:
            _pixels_only(step.width, step.height)
            if step.width is None or step.height is None or step.zoom != 1:
                raise UnsupportedValue("Resize.focus", "crop=smart needs both sides and does not zoom")
            return {"crop": "smart"}
        case _:
            point = step.focus or Point(_MIDDLE, _MIDDLE)
            values = {"fp-x": (point.x, _MIDDLE), "fp-y": (point.y, _MIDDLE), "fp-z": (step.zoom, Fraction(1))}
            differing = {
                name: format_decimal("Resize.focus", value)
                for name, (value, default) in values.items()
                if value != default
            }
            return {"crop": "focalpoint", **differing}


def _pixels_only(*sides: Length | None) -> None:
    if any(side is not None and not isinstance(side, Pixels) for side in sides):
        raise UnsupportedValue("Resize.width", "fit=crop takes sides in pixels only")


def _background(step: Flatten) -> QueryParams:
    color = step.color
    alpha = "" if color.opaque else f"{color.alpha:02x}"
    return {"bg": f"{alpha}{color.red:02x}{color.green:02x}{color.blue:02x}"}


_SLOTS: Final = (Slot(Crop, _rect), Slot(Resize, _resize), Slot(Flatten, _background))


# ------------------------------------------------------------------------------------------------ encodings


def _encodings(output: Output) -> tuple[QueryParams, ...]:
    """All sets of encoding parameters that may give this output. The smallest sets come first."""
    target = common_format(output)
    return combinations(
        param_choices("fm", _WORDS.get(target, ()) if target else ()),
        param_choices("auto", ("format",)),
        param_choices("q", tuple(map(str, qualities(output)))),
        param_choices("lossless", ("1", "0")),
    )
