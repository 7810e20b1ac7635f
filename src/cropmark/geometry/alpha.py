"""Colors that meet an output without alpha."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from cropmark.geometry.frame_state import alpha_after
from cropmark.geometry.recipe import Background, Bilevel, Embed, Op, SolidColor
from cropmark.geometry.rounding import round_half_up
from cropmark.model.values import WHITE, Color


def on_white(color: Color) -> Color:
    """The opaque color that is seen where this one lies on white: half of black is (127, 127, 127)."""
    if color.opaque:
        return color
    red, green, blue = (
        round_half_up(Fraction(part * color.alpha + 255 * (255 - color.alpha), 255))
        for part in (color.red, color.green, color.blue)
    )
    return Color(red, green, blue)


def without_alpha(ops: tuple[Op, ...], *, alpha: bool) -> tuple[Op, ...]:
    """The ops for an output that holds no alpha, of a picture that has some or none.

    What they would fill clear is filled white, what half clear is mixed with white, at its own place among them, so
    that the tones after a pad meet its white. White goes under what is clear even then: at the end, but before black
    and white pixels are made, which are to stay black or white.
    Source: https://www.fastly.com/documentation/reference/io/bg-color
    """
    opaque: list[Op] = []
    for op in (*ops, Background(WHITE)):
        match op:
            case Background() if not alpha:
                continue
            case Bilevel() if alpha:
                made: tuple[Op, ...] = (Background(WHITE), op)
            case Embed(fill=color):
                made = (replace(op, fill=on_white(color)),)
            case Background(color) | SolidColor(color=color):
                made = (replace(op, color=on_white(color)),)
            case _:
                made = (op,)
        opaque += made
        for one in made:
            alpha = alpha_after(one, alpha=alpha)
    return tuple(opaque)
