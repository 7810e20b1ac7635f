"""Arithmetic of the eight orientations: two of them combined, and a region of a rotated frame."""

from __future__ import annotations

from dataclasses import dataclass

from cropmark.geometry.region import Region
from cropmark.plan.steps import Orientation


@dataclass(frozen=True, slots=True)
class AxisMap:
    """The mapping from a pixel of the rotated image to the same pixel of the original.

    `swaps` exchanges x and y. After that, `flip_x` counts x from the right edge of the original, and `flip_y` counts y
    from its bottom edge.
    """

    swaps: bool
    flip_x: bool
    flip_y: bool


# fmt: off
AXIS_MAPS: dict[Orientation, AxisMap] = {
    #                                    swaps  flip_x flip_y    out(x, y) = in(...)
    Orientation.NONE:            AxisMap(False, False, False),  # x, y
    Orientation.FLIP_HORIZONTAL: AxisMap(False, True,  False),  # W-1-x, y
    Orientation.ROTATE_180:      AxisMap(False, True,  True),   # W-1-x, H-1-y
    Orientation.FLIP_VERTICAL:   AxisMap(False, False, True),   # x, H-1-y
    Orientation.TRANSPOSE:       AxisMap(True,  False, False),  # y, x
    Orientation.ROTATE_90:       AxisMap(True,  False, True),   # y, H-1-x
    Orientation.TRANSVERSE:      AxisMap(True,  True,  True),   # W-1-y, H-1-x
    Orientation.ROTATE_270:      AxisMap(True,  True,  False),  # W-1-y, x
}
# fmt: on
_ORIENTATIONS = {axes: orientation for orientation, axes in AXIS_MAPS.items()}


def combine(first: Orientation, then: Orientation) -> Orientation:
    """The single orientation with the same effect as `first` followed by `then`."""
    one, two = AXIS_MAPS[first], AXIS_MAPS[then]
    flip_x, flip_y = (two.flip_y, two.flip_x) if one.swaps else (two.flip_x, two.flip_y)
    return _ORIENTATIONS[AxisMap(one.swaps != two.swaps, one.flip_x != flip_x, one.flip_y != flip_y)]


def mirrored_axes(orientation: Orientation) -> tuple[bool, bool]:
    """Two flags, for the x axis and the y axis of the rotated image.

    A flag is True if the original is shown mirrored along that axis.
    """
    axes = AXIS_MAPS[orientation]
    return (axes.flip_y, axes.flip_x) if axes.swaps else (axes.flip_x, axes.flip_y)


def rotate_region(region: Region, orientation: Orientation) -> Region:
    """The region after its frame is rotated. Both regions are in shares of the frame's sides."""
    axes = AXIS_MAPS[orientation]
    left = 1 - region.right if axes.flip_x else region.left
    top = 1 - region.bottom if axes.flip_y else region.top
    if axes.swaps:
        return Region(top, left, region.height, region.width)
    return Region(left, top, region.width, region.height)


def unrotate_region(region: Region, orientation: Orientation) -> Region:
    """The region before its frame was rotated: the reverse of rotate_region()."""
    axes = AXIS_MAPS[orientation]
    left, top, width, height = region.left, region.top, region.width, region.height
    if axes.swaps:
        left, top, width, height = top, left, height, width
    return Region(
        left=1 - left - width if axes.flip_x else left,
        top=1 - top - height if axes.flip_y else top,
        width=width,
        height=height,
    )
