"""The eight ways to lay a frame, as arithmetic: one after the other, and where a region comes to lie."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.region import Region
from cropmark.plan.steps import Orientation


@dataclass(frozen=True, slots=True)
class AxisMap:
    """How a pixel of the result finds its pixel of the original: x and y change places if `swaps`, then the x of the
    original counts from its right edge if `across`, the y from its bottom edge if `down`.
    """

    swaps: bool
    across: bool
    down: bool


# fmt: off
LAID: dict[Orientation, AxisMap] = {
    #                       swaps  across down     out(x, y) = in(...)
    Orientation.NONE:        AxisMap(False, False, False),  # x, y
    Orientation.FLIP_ACROSS: AxisMap(False, True,  False),  # W-1-x, y
    Orientation.HALF:        AxisMap(False, True,  True),   # W-1-x, H-1-y
    Orientation.FLIP_DOWN:   AxisMap(False, False, True),   # x, H-1-y
    Orientation.TRANSPOSE:   AxisMap(True,  False, False),  # y, x
    Orientation.RIGHT:       AxisMap(True,  False, True),   # y, H-1-x
    Orientation.TRANSVERSE:  AxisMap(True,  True,  True),   # W-1-y, H-1-x
    Orientation.LEFT:        AxisMap(True,  True,  False),  # W-1-y, x
}
# fmt: on
_TURNS = {laid: turn for turn, laid in LAID.items()}


def composed(first: Orientation, then: Orientation) -> Orientation:
    """The one turn that does what both do, one after the other."""
    one, two = LAID[first], LAID[then]
    across, down = (two.down, two.across) if one.swaps else (two.across, two.down)
    return _TURNS[AxisMap(one.swaps != two.swaps, one.across != across, one.down != down)]


def mirrored(turn: Orientation) -> tuple[bool, bool]:
    """Whether the result's x axis, and its y axis, runs against the axis of the original that it comes from."""
    laid = LAID[turn]
    return (laid.down, laid.across) if laid.swaps else (laid.across, laid.down)


def turned(region: Region, turn: Orientation) -> Region:
    """Where a region, in shares of a frame, comes to lie when the frame is turned."""
    laid = LAID[turn]
    left = 1 - region.right if laid.across else region.left
    top = 1 - region.bottom if laid.down else region.top
    if laid.swaps:
        return Region(top, left, region.height, region.width)
    return Region(left, top, region.width, region.height)


def unturned(region: Region, turn: Orientation) -> Region:
    """Where a region, in shares of the turned frame, lay before the turn."""
    laid = LAID[turn]
    left, top, width, height = region.left, region.top, region.width, region.height
    if laid.swaps:
        left, top, width, height = top, left, height, width
    return Region(
        left=_against(left, width) if laid.across else left,
        top=_against(top, height) if laid.down else top,
        width=width,
        height=height,
    )


def _against(start: Fraction, length: Fraction) -> Fraction:
    return 1 - start - length
