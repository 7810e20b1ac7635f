"""Resamples a window with fractional edges to an exact size."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from pyvips import Image, Interpolate

from cropmark.engine.premultiply import premultiplied
from cropmark.engine.reduction import is_reduction, reduce_across, reduce_down
from cropmark.geometry.region import Region
from cropmark.model.values import Size
from cropmark.plan.steps import Filter

_INTERPOLATORS = {Filter.NEAREST: "nearest", Filter.LINEAR: "bilinear"}


def scale(frame: Image, size: Size, kernel: Filter, window: Region) -> Image:
    """The window of the frame resampled to exactly `size`; the same frame if nothing changes.

    Positions are exact to 0.02 pixels of the result. If the window is enlarged, they are exact to 1/128 pixel of the
    frame.
    """
    if _is_whole(frame, size, window):
        return frame
    if kernel is Filter.NEAREST:  # copies whole pixels, so premultiplied alpha changes nothing
        return _resample(frame, size, kernel, window)
    return premultiplied(frame, lambda f: _resample(f, size, kernel, window))


def _resample(frame: Image, size: Size, kernel: Filter, window: Region) -> Image:
    """The window resampled to `size`.

    It is shrunk along the axes on which it is longer than the result, and interpolated along the others.
    """
    if is_reduction(window.height, size.height):
        frame = reduce_down(frame, window.top, window.height, size.height, kernel)
        window = replace(window, top=Fraction(0), height=Fraction(size.height))
    if is_reduction(window.width, size.width):
        frame = reduce_across(frame, window.left, window.width, size.width, kernel)
        window = replace(window, left=Fraction(0), width=Fraction(size.width))
    return _interpolate(frame, size, kernel, window)


def _interpolate(frame: Image, size: Size, kernel: Filter, window: Region) -> Image:
    """The window resampled to `size` by interpolation. Beyond the edges of the frame, its edge pixels are repeated.

    libvips' resize() is not used: it moves an enlarged image by half a pixel of the result (docs/decisions/0030).
    """
    if _is_whole(frame, size, window):
        return frame
    across, down = float(size.width / window.width), float(size.height / window.height)
    # "nearest" takes the pixel below a position, the others weight the pixels around it.
    center = 0.0 if kernel is Filter.NEAREST else 0.5
    return frame.affine(
        [across, 0, 0, down],
        interpolate=Interpolate.new(_INTERPOLATORS.get(kernel, "bicubic")),
        idx=center - 0.5 / across - float(window.left),
        idy=center - 0.5 / down - float(window.top),
        oarea=[0, 0, size.width, size.height],
        extend="copy",
        premultiplied=True,
    )


def _is_whole(frame: Image, size: Size, window: Region) -> bool:
    """True if the window is the whole frame, at the size of the result."""
    return size == Size(frame.width, frame.height) and window == Region.from_size(size)
