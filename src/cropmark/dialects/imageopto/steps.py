"""Steps of the Image Optimizer from the values of parameters; None stands for an absent parameter."""

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
    """The crop as a Step. A crop with a fixed size loses `smart`, which works with a ratio only."""
    if crop is None:
        return ()
    return (replace(crop, focus=None if _ignores_smart(crop) else crop.focus, rounding=rounding),)


def ignored_smart_warnings(*crops: Crop | None) -> tuple[RequestWarning, ...]:
    """A warning for each crop with an ignored `smart`."""
    text = "smart works with a ratio only and was ignored"
    return tuple(RequestWarning(crop.parameter, text) for crop in crops if crop is not None and _ignores_smart(crop))


def _ignores_smart(crop: Crop) -> bool:
    return crop.focus is not None and isinstance(crop.shape, Dimensions)


def trim_steps(edges: Edges | None) -> tuple[AnyStep, ...]:
    return () if edges is None else (TrimEdges(edges),)


def orient_steps(turn: Orientation | None) -> tuple[AnyStep, ...]:
    return () if turn is None or turn is Orientation.NONE else (Orient(turn),)


def background_steps(color: Color | None, canvas: Canvas | None, edges: Edges | None) -> tuple[AnyStep, ...]:
    """The color under the image, then the canvas or the padding around it.

    The color is applied under the image before the canvas is added in the same color. If the canvas were added first, a
    color with alpha would be applied twice on the canvas.
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
