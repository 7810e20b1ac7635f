"""Finds the border around the content of a frame. The border has one color."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from pyvips import Image

from cropmark.engine.image import in_memory
from cropmark.geometry.findings import FindBorder
from cropmark.model.values import Box, Color
from cropmark.plan.steps import AutoColor

_LEVELS = range(256)


def content_box(frame: Image, look: FindBorder) -> Box | None:
    """The smallest box that contains all content of the frame; None if the whole frame is border.

    A pixel is content if its distance from the color of the border is above the tolerance. The distance of two colors
    is the largest difference of their R, G, B and A samples, divided by 255. The frame is 8-bit sRGB; without alpha it
    counts as opaque. Raises pyvips.Error if the source is broken.
    Source: https://www.fastly.com/documentation/reference/io/trim-color
    """
    still = in_memory(frame)
    color = _top_left_color(still) if look.color is AutoColor.TOP_LEFT else look.color
    max_levels = floor(255 * look.tolerance)  # samples are integers
    if not still.hasalpha() and 255 - color.alpha > max_levels:
        return Box(0, 0, frame.width, frame.height)
    columns, rows = _content_mask(still, color, look.tolerance).project()
    across, down = _nonzero_span(columns), _nonzero_span(rows)
    if across is None or down is None:
        return None
    return Box(across[0], down[0], across[1] - across[0], down[1] - down[0])


def _top_left_color(frame: Image) -> Color:
    red, green, blue, *alpha = (int(part) for part in frame.getpoint(0, 0))
    return Color(red, green, blue, *alpha)


def _content_mask(frame: Image, color: Color, tolerance: Fraction) -> Image:
    """A mask with 255 for each content pixel, and 0 for each border pixel."""
    parts = (color.red, color.green, color.blue, color.alpha)[: frame.bands]
    lowest = [ceil(part - 255 * tolerance) for part in parts]
    highest = [floor(part + 255 * tolerance) for part in parts]
    # One table look-up per sample: a tenth of the time of differences and maxima.
    table = bytes(
        0 if low <= level <= high else 255 for level in _LEVELS for low, high in zip(lowest, highest, strict=True)
    )
    return frame.maplut(Image.new_from_memory(table, 256, 1, len(parts), "uchar")).bandor()


def _nonzero_span(sums: Image) -> tuple[int, int] | None:
    """The index of the first nonzero sum, and the index after the last nonzero sum; None if all sums are 0."""
    counted = memoryview(sums.write_to_memory()).cast("I")
    hits = [at for at, count in enumerate(counted) if count]
    return (hits[0], hits[-1] + 1) if hits else None
