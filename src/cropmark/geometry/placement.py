"""Boxes and windows of a frame: for crops, trimmed and padded edges, and canvases."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from cropmark.geometry.region import Region
from cropmark.geometry.rounding import round_by, round_half_up, round_side
from cropmark.model.problems import CropOutOfBounds, EmptyResult
from cropmark.model.values import Box, Point, Ratio, Size
from cropmark.plan.steps import (
    Align,
    Canvas,
    Crop,
    Dimensions,
    Edges,
    Offset,
    Overflow,
    Placement,
    Rounding,
    Shape,
    TrimEdges,
)

CENTER = Point(Fraction(1, 2), Fraction(1, 2))


def shape_size(shape: Shape, frame: Size, rounding: Rounding = Rounding.NEAREST) -> Size:
    """The size of a crop in a frame: the lengths of its shape in pixels, or the largest box with its ratio.

    21:9 in 1600x900 is 1600x686. Source: https://www.fastly.com/documentation/reference/io/crop
    """
    match shape:
        case Dimensions(width, height):
            return Size(round_side(width.of(frame.width), rounding), round_side(height.of(frame.height), rounding))
        case Ratio(width, height):
            scale = min(frame.width / width, frame.height / height)
            return Size(round_side(width * scale, rounding), round_side(height * scale, rounding))
        case _:
            assert_never(shape)


def canvas_size(shape: Shape, frame: Size) -> Size:
    """The size of a canvas: the lengths of its shape in pixels, or the smallest box with its ratio around the frame.

    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    match shape:
        case Dimensions():
            return shape_size(shape, frame)
        case Ratio(width, height):
            scale = max(frame.width / width, frame.height / height)
            return Size(round_side(width * scale), round_side(height * scale))
        case _:
            assert_never(shape)


def start_along(placement: Placement, length: int, side: int, rounding: Rounding = Rounding.NEAREST) -> int:
    """The first pixel of a span of `length` px that is placed along a side of `side` px.

    Align(1/10) leaves a tenth of the free pixels before the span: 1000 px on a side of 2000 px start at 100. The result
    may be outside the side, even negative; callers check that.
    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    match placement:
        case Offset(distance):
            return round_by(distance.of(side), rounding)
        case Align(part):
            return round_by((side - length) * part, rounding)
        case _:
            assert_never(placement)


def crop_box(crop: Crop, frame: Size) -> Box | None:
    """The box of the frame that remains after a crop. The part of the crop outside the frame is cut off.

    If the whole crop is outside, returns None with CLIP and CLIP_OR_ORIGINAL, and raises CropOutOfBounds with
    CLIP_OR_REFUSE. With REFUSE, it raises CropOutOfBounds if any part is outside.
    The focus of the crop is not used: apply_step() has already replaced it by a placement.
    """
    size = shape_size(crop.shape, frame, crop.rounding)
    box = Box(
        left=start_along(crop.x, size.width, frame.width, crop.rounding),
        top=start_along(crop.y, size.height, frame.height, crop.rounding),
        width=size.width,
        height=size.height,
    )
    if box.within(frame):
        return box
    clipped = None if crop.overflow is Overflow.REFUSE else box.clipped_to(frame)
    if clipped is None and crop.overflow in (Overflow.REFUSE, Overflow.CLIP_OR_REFUSE):
        raise CropOutOfBounds(box, frame, parameter=crop.parameter)
    return clipped


@dataclass(frozen=True, slots=True)
class Margins:
    """Lengths at the four edges of a frame, in whole pixels."""

    top: int
    right: int
    bottom: int
    left: int

    @classmethod
    def from_edges(cls, edges: Edges, frame: Size) -> Margins:
        return cls(
            top=round_half_up(edges.top.of(frame.height)),
            right=round_half_up(edges.right.of(frame.width)),
            bottom=round_half_up(edges.bottom.of(frame.height)),
            left=round_half_up(edges.left.of(frame.width)),
        )


def trimmed_box(trim: TrimEdges, frame: Size) -> Box:
    """The box of the frame that remains after its edges are trimmed. Raises EmptyResult if no pixel remains.

    Source: https://www.fastly.com/documentation/reference/io/trim
    """
    cut = Margins.from_edges(trim.edges, frame)
    width, height = frame.width - cut.left - cut.right, frame.height - cut.top - cut.bottom
    if width < 1 or height < 1:
        raise EmptyResult(
            f"{trim.parameter}: nothing is left of {frame} after removing {cut.top}, {cut.right}, {cut.bottom}, "
            f"{cut.left} px from its top, right, bottom and left",
            fix="trim less, so that at least one pixel is left between opposite edges",
            parameter=trim.parameter,
        )
    return Box(cut.left, cut.top, width, height)


def padded_box(edges: Edges, frame: Size) -> Box:
    """The frame with its padding, as a box in coordinates of the frame. Its left and top are 0 or negative."""
    added = Margins.from_edges(edges, frame)
    return Box(
        -added.left,
        -added.top,
        frame.width + added.left + added.right,
        frame.height + added.top + added.bottom,
    )


def canvas_box(canvas: Canvas, frame: Size) -> Box:
    """The canvas as a box in coordinates of the image, which may be larger or smaller than the canvas.

    A Share in the canvas's x or y is of the image's side.
    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    size = canvas_size(canvas.shape, frame)
    return Box(
        left=-_image_start(canvas.x, frame.width, size.width),
        top=-_image_start(canvas.y, frame.height, size.height),
        width=size.width,
        height=size.height,
    )


def _image_start(placement: Placement, image_side: int, canvas_side: int) -> int:
    match placement:
        case Offset(distance):
            return round_half_up(distance.of(image_side))
        case Align():
            return start_along(placement, image_side, canvas_side)
        case _:
            assert_never(placement)


def window_around(point: Point, width: Fraction, height: Fraction, frame: Size) -> Region:
    """The window around a point, moved so that it is inside the frame. It is in unrounded pixels.

    Source: https://kontent.ai/learn/docs/apis/image-transformation-api (focal point)
    """
    left = point.x * frame.width - width / 2
    top = point.y * frame.height - height / 2
    return window_at(left, top, width, height, frame)


def window_at(left: Fraction, top: Fraction, width: Fraction, height: Fraction, frame: Size) -> Region:
    """The window with its top left corner at left, top, moved so that it is inside the frame.

    The frame is at least as large as the window.
    """
    return Region(
        left=max(Fraction(0), min(left, frame.width - width)),
        top=max(Fraction(0), min(top, frame.height - height)),
        width=width,
        height=height,
    )
