"""Builds the Ops that draw further sources: overlays and the cells of a montage."""

from __future__ import annotations

from fractions import Fraction
from typing import assert_never

from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.limits import check_intermediates
from cropmark.geometry.placement import CENTER, padded_box, start_along, window_around
from cropmark.geometry.recipe import Compose, Embed, Scale
from cropmark.geometry.resize import RequestedSize, coverage, stretch_size
from cropmark.geometry.rounding import round_half_up
from cropmark.geometry.subpixel_crop import crop_and_scale
from cropmark.model.formats import TRAITS, Info
from cropmark.model.values import CLEAR, WHITE, Box, Color, Size
from cropmark.plan.plan import Limits
from cropmark.plan.steps import Align, Cell, Middle, Montage, Offset, Overlay, Placement


def overlay(step: Overlay, frame: Size, info: Info, limits: Limits) -> Compose | None:
    """The op that sizes, pads and draws the overlay on the frame; None if the overlay is completely outside the frame.

    `info` is the header of the overlay's source. Raises OutputTooLarge if the overlay has an absurd size
    (limits.check_intermediates).
    Source: https://www.contentstack.com/docs/developers/apis/image-delivery-api (overlay)
    """
    sized = FrameState.from_info(info).apply(Scale(_overlay_size(step, frame, info)))
    padded = padded_box(step.edges, sized.frame)
    layer = sized.apply(Embed(padded.size, -padded.left, -padded.top, _padding_color(step, info)))
    check_intermediates(layer.ops, info.size, 1, limits, step.parameter)
    left = _start(step.x, layer.frame.width, frame.width)
    top = _start(step.y, layer.frame.height, frame.height)
    across, down = step.repeat_across, step.repeat_down
    if not across and not down and Box(left, top, layer.frame.width, layer.frame.height).clipped_to(frame) is None:
        return None
    return Compose(step.source, layer.ops, left, top, across=across, down=down)


def montage_cell(montage: Montage, cell: Cell, info: Info) -> Compose | None:
    """The op that fills a cell with the center of a source; None if the padding leaves no pixel of the cell.

    `info` is the header of the source. The source is enlarged if needed.
    """
    box = _inner_box(montage, cell)
    if box is None:
        return None
    covered = coverage(info.size, RequestedSize(Fraction(box.width), Fraction(box.height), enlarge=True))
    window = window_around(CENTER, covered.width, covered.height, info.size)
    ops = crop_and_scale(window, covered.size, info.size, montage.filter)
    return Compose(cell.source, FrameState.from_info(info).apply(*ops).ops, box.left, box.top)


def _start(place: Placement | Middle, length: int, side: int) -> int:
    """The first pixel, along a side of the frame, of a layer of `length` px."""
    match place:
        case Middle(distance):
            return round_half_up(distance.of(side) - Fraction(length, 2))
        case Offset() | Align():
            return start_along(place, length, side)
        case _:
            assert_never(place)


def _overlay_size(step: Overlay, frame: Size, info: Info) -> Size:
    if step.width is None and step.height is None:
        return info.size
    width = None if step.width is None else step.width.of(frame.width)
    height = None if step.height is None else step.height.of(frame.height)
    return stretch_size(info.size, RequestedSize(width, height, enlarge=True))


def _padding_color(step: Overlay, info: Info) -> Color:
    return WHITE if step.opaque_padding and not TRAITS[info.format].alpha else CLEAR


def _inner_box(montage: Montage, cell: Cell) -> Box | None:
    """The box of a cell inside its padding; None if the padding leaves no pixel.

    The edges of the cell are rounded before the padding is subtracted, so that neighboring cells touch.
    """
    left, right = (round_half_up(part * montage.size.width) for part in (cell.left, cell.right))
    top, bottom = (round_half_up(part * montage.size.height) for part in (cell.top, cell.bottom))
    width, height = right - left - 2 * montage.padding, bottom - top - 2 * montage.padding
    if width < 1 or height < 1:
        return None
    return Box(left + montage.padding, top + montage.padding, width, height)
