"""Alpha's part in what is done to colors."""

from __future__ import annotations

from collections.abc import Callable

from pyvips import Image


def weighed(frame: Image, change: Callable[[Image], Image]) -> Image:
    """Change a frame with its colors weighed by alpha, its format kept.

    Unweighed, the color hidden under transparent pixels bleeds into what is visible.
    """
    if not frame.hasalpha():
        return change(frame).rint().cast(frame.format)
    # rint() first: cast() drops the fraction, and every pass would darken by a level.
    return change(frame.premultiply()).unpremultiply().rint().cast(frame.format)


def beside_alpha(frame: Image, change: Callable[[Image], Image]) -> Image:
    """Change the color bands of a frame; its alpha, if it has one, stays as it was."""
    if not frame.hasalpha():
        return change(frame)
    last = frame.bands - 1
    return change(frame.extract_band(0, n=last)).bandjoin(frame.extract_band(last))
