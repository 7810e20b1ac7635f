"""Colours that meet an output without alpha."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from cropmark.geometry.frame_state import alpha_after
from cropmark.geometry.recipe import BlackWhite, Blank, Embed, Op, Under
from cropmark.geometry.rounding import r
from cropmark.model.values import WHITE, Colour


def on_white(colour: Colour) -> Colour:
    """The opaque colour that is seen where this one lies on white: half of black is (127, 127, 127)."""
    if colour.opaque:
        return colour
    red, green, blue = (
        r(Fraction(part * colour.alpha + 255 * (255 - colour.alpha), 255))
        for part in (colour.red, colour.green, colour.blue)
    )
    return Colour(red, green, blue)


def without_alpha(ops: tuple[Op, ...], *, alpha: bool) -> tuple[Op, ...]:
    """The ops for an output that holds no alpha, of a picture that has some or none.

    What they would fill clear is filled white, what half clear is mixed with white, at its own place among them, so
    that the tones after a pad meet its white. White goes under what is clear even then: at the end, but before black
    and white pixels are made, which are to stay black or white.
    Source: https://www.fastly.com/documentation/reference/io/bg-color
    """
    opaque: list[Op] = []
    for op in (*ops, Under(WHITE)):
        match op:
            case Under() if not alpha:
                continue
            case BlackWhite() if alpha:
                made: tuple[Op, ...] = (Under(WHITE), op)
            case Embed(fill=colour):
                made = (replace(op, fill=on_white(colour)),)
            case Under(colour) | Blank(colour=colour):
                made = (replace(op, colour=on_white(colour)),)
            case _:
                made = (op,)
        opaque += made
        for one in made:
            alpha = alpha_after(one, alpha=alpha)
    return tuple(opaque)
