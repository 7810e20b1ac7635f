"""Resampling to exact sizes."""

from __future__ import annotations

from pyvips import Image, Interpolate

from cropmark.engine.premultiply import premultiplied
from cropmark.model.values import Size
from cropmark.plan.steps import Filter


def scale(frame: Image, size: Size, kernel: Filter) -> Image:
    """The frame resampled to exactly `size`; the same frame if it has that size already."""
    across, down = size.width / frame.width, size.height / frame.height
    if across == down == 1:
        return frame
    if kernel is Filter.NEAREST:  # copies whole pixels, so premultiplied alpha changes nothing
        return frame.resize(across, vscale=down, kernel=kernel.value)
    return premultiplied(frame, lambda f: _enlarge(_shrink(f, across, down, kernel), size, kernel))


def _shrink(frame: Image, across: float, down: float, kernel: Filter) -> Image:
    if across >= 1 and down >= 1:
        return frame
    return frame.resize(min(1, across), vscale=min(1, down), kernel=kernel.value)


def _enlarge(frame: Image, size: Size, kernel: Filter) -> Image:
    """The frame enlarged around the pixels' centers, with edge pixels repeated beyond the edge.

    Not by resize(): it moves an enlarged image by half a pixel of the result (docs/decisions/0030).
    """
    across, down = size.width / frame.width, size.height / frame.height
    if across == down == 1:
        return frame
    return frame.affine(
        [across, 0, 0, down],
        interpolate=Interpolate.new("bilinear" if kernel is Filter.LINEAR else "bicubic"),
        idx=0.5 - 0.5 / across,
        idy=0.5 - 0.5 / down,
        oarea=[0, 0, size.width, size.height],
        extend="copy",
        premultiplied=True,
    )
