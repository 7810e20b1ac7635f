"""Replaces transparency by white in colors and Ops, for an output format without alpha."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from cropmark.geometry.recipe import AnyOp, Background, Bilevel, Embed, SolidColor
from cropmark.geometry.rounding import round_half_up
from cropmark.model.values import WHITE, Color


def on_white(color: Color) -> Color:
    """The opaque color that a color gives on white: half-transparent black gives (127, 127, 127)."""
    if color.opaque:
        return color
    red, green, blue = (
        round_half_up(Fraction(part * color.alpha + 255 * (255 - color.alpha), 255))
        for part in (color.red, color.green, color.blue)
    )
    return Color(red, green, blue)


def without_alpha(ops: tuple[AnyOp, ...], *, alpha: bool) -> tuple[AnyOp, ...]:
    """The ops, changed so that their result is opaque. `alpha` is True if the source has alpha.

    Each fill color with transparency is mixed with white where it is used, so that a later ColorAdjust also changes
    that white. Remaining transparency gets a white background at the end. If the ops contain a Bilevel, it gets the
    background before the Bilevel, because after it only black and white pixels may exist.
    Source: https://www.fastly.com/documentation/reference/io/bg-color
    """
    opaque: list[AnyOp] = []
    for op in (*ops, Background(WHITE)):
        match op:
            case Background() if not alpha:
                continue
            case Bilevel() if alpha:
                replacement: tuple[AnyOp, ...] = (Background(WHITE), op)
            case Embed(fill=color):
                replacement = (replace(op, fill=on_white(color)),)
            case Background(color) | SolidColor(color=color):
                replacement = (replace(op, color=on_white(color)),)
            case _:
                replacement = (op,)
        opaque += replacement
        for done in replacement:
            alpha = done.alpha_after(alpha=alpha)
    return tuple(opaque)
