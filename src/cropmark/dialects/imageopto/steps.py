"""Builds the Steps of the Image Optimizer from parameter values. None means that a parameter is absent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from cropmark.model.values import Color
from cropmark.plan.plan import RequestWarning
from cropmark.plan.steps import (
    Adjust,
    AnyStep,
    Canvas,
    Crop,
    Dimensions,
    Edges,
    Flatten,
    Orient,
    Orientation,
    Pad,
    Rounding,
    TrimEdges,
)


def present(*steps: AnyStep | None) -> tuple[AnyStep, ...]:
    """The steps that are not None."""
    return tuple(step for step in steps if step is not None)


def crop_steps(crop: Crop | None, rounding: Rounding = Rounding.NEAREST) -> tuple[AnyStep, ...]:
    """The crop as a tuple of one Step; an empty tuple without a crop.

    A crop with a fixed size loses `smart`, because `smart` works with a ratio only.
    """
    if crop is None:
        return ()
    return (replace(crop, focus=None if _ignores_smart(crop) else crop.focus, rounding=rounding),)


def ignored_smart_warnings(*crops: Crop | None) -> tuple[RequestWarning, ...]:
    """A warning for each crop that loses `smart` because it has a fixed size."""
    text = "smart works with a ratio only and was ignored"
    return tuple(RequestWarning(crop.parameter, text) for crop in crops if crop is not None and _ignores_smart(crop))


def _ignores_smart(crop: Crop) -> bool:
    return crop.focus is not None and isinstance(crop.shape, Dimensions)


def trim_steps(edges: Edges | None) -> tuple[AnyStep, ...]:
    return () if edges is None else (TrimEdges(edges),)


def orient_steps(turn: Orientation | None) -> tuple[AnyStep, ...]:
    return () if turn is None or turn is Orientation.NONE else (Orient(turn),)


def background_steps(color: Color | None, canvas: Canvas | None, edges: Edges | None) -> tuple[AnyStep, ...]:
    """The Steps that put the color under the image, then add the canvas or the padding in the same color.

    In the reverse order, a color with alpha would be applied twice on the canvas.
    """
    if canvas is not None:
        around: AnyStep | None = replace(canvas, color=color)
    else:
        around = None if edges is None else Pad(edges, color)
    return present(None if color is None else Flatten(color), around)


def adjust_steps(
    brightness: Fraction | None, contrast: Fraction | None, saturation: Fraction | None
) -> tuple[AnyStep, ...]:
    tones = [tone or Fraction(0) for tone in (brightness, contrast, saturation)]
    return (Adjust(*tones),) if any(tones) else ()
