"""Other sources in the picture: overlays, and the cells of a montage."""

from __future__ import annotations

from fractions import Fraction

from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.limits import check_between
from cropmark.geometry.placement import CENTER, padded_box, start_along, window_around
from cropmark.geometry.recipe import Compose, Embed, Scale
from cropmark.geometry.resize import RequestedSize, covered, stretched
from cropmark.geometry.rounding import round_half_up
from cropmark.geometry.subpixel_crop import cut_and_scaled
from cropmark.model.formats import TRAITS, Info
from cropmark.model.values import CLEAR, WHITE, Box, Color, Size
from cropmark.plan.plan import Limits
from cropmark.plan.steps import Cell, Montage, Overlay


def overlay(step: Overlay, frame: Size, info: Info, limits: Limits) -> Compose:
    """The op that lays the source of these headers over a frame, sized, padded and aligned.

    Raises OutputTooLarge for a size that nobody could mean. Source: the dialects' overlay pages, fastly.md 11.1
    """
    sized = FrameState.of(info).then(Scale(_overlay_size(step, frame, info)))
    padded = padded_box(step.edges, sized.frame)
    laid = sized.then(Embed(padded.size, -padded.left, -padded.top, _padding_color(step, info)))
    check_between(laid.ops, info.size, 1, limits, step.parameter)
    return Compose(
        source=step.source,
        ops=laid.ops,
        left=start_along(step.x, laid.frame.width, frame.width),
        top=start_along(step.y, laid.frame.height, frame.height),
        across=step.repeat_across,
        down=step.repeat_down,
    )


def montage_cell(montage: Montage, cell: Cell, info: Info) -> Compose | None:
    """The op that fills a cell with the source of these headers, cut from its center, enlarged where needed.

    None where the padding leaves nothing of the cell.
    """
    box = _inner_box(montage, cell)
    if box is None:
        return None
    shown = covered(info.size, RequestedSize(Fraction(box.width), Fraction(box.height), enlarge=True))
    window = window_around(CENTER, shown.width, shown.height, info.size)
    ops = cut_and_scaled(window, shown.size, info.size, montage.filter)
    return Compose(cell.source, FrameState.of(info).then(*ops).ops, box.left, box.top)


def _overlay_size(step: Overlay, frame: Size, info: Info) -> Size:
    if step.width is None and step.height is None:
        return info.size
    width = None if step.width is None else step.width.of(frame.width)
    height = None if step.height is None else step.height.of(frame.height)
    return stretched(info.size, RequestedSize(width, height, enlarge=True))


def _padding_color(step: Overlay, info: Info) -> Color:
    return WHITE if step.opaque_padding and not TRAITS[info.format].alpha else CLEAR


def _inner_box(montage: Montage, cell: Cell) -> Box | None:
    """What the padding leaves of a cell; its edges are rounded, so that neighbors meet."""
    left, right = (round_half_up(part * montage.size.width) for part in (cell.left, cell.right))
    top, bottom = (round_half_up(part * montage.size.height) for part in (cell.top, cell.bottom))
    width, height = right - left - 2 * montage.padding, bottom - top - 2 * montage.padding
    if width < 1 or height < 1:
        return None
    return Box(left + montage.padding, top + montage.padding, width, height)
