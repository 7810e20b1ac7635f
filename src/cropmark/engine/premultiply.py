"""Applies operations to frames with alpha, so that transparent pixels do not spoil visible colors."""

from __future__ import annotations

from collections.abc import Callable

from pyvips import Image


def premultiplied(frame: Image, change: Callable[[Image], Image]) -> Image:
    """The frame after `change`, which receives the frame with premultiplied alpha. The sample format does not change.

    Without premultiplication, the color hidden under transparent pixels bleeds into visible pixels.
    """
    if not frame.hasalpha():
        changed = change(frame)
        return changed if changed.format == frame.format else changed.rint().cast(frame.format)
    # rint() first: cast() drops the fraction, and every pass would darken by a level.
    return change(frame.premultiply()).unpremultiply().rint().cast(frame.format)


def on_colors(frame: Image, change: Callable[[Image], Image]) -> Image:
    """The frame after `change`, which receives only the color bands. Alpha does not change."""
    if not frame.hasalpha():
        return change(frame)
    last = frame.bands - 1
    return change(frame.extract_band(0, n=last)).bandjoin(frame.extract_band(last))
