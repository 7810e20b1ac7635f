"""Where a box lies in a frame: crops, edges cut off or added, canvases."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from cropmark.geometry.region import Region
from cropmark.geometry.rounding import length, round_half_up
from cropmark.model.problems import CropOutOfBounds, EmptyResult
from cropmark.model.values import Box, Point, Ratio, Size
from cropmark.plan.steps import Align, Canvas, Crop, Dimensions, Edges, Offset, Overflow, Placement, Shape, TrimEdges

CENTER = Point(Fraction(1, 2), Fraction(1, 2))


def shape_size(shape: Shape, frame: Size) -> Size:
    """The size of a crop's shape: an area by its lengths, a ratio as large as the frame holds it.

    21:9 in 1600x900 is 1600x686. Source: https://www.fastly.com/documentation/reference/io/crop
    """
    match shape:
        case Dimensions(width, height):
            return Size(length(width.of(frame.width)), length(height.of(frame.height)))
        case Ratio(width, height):
            scale = min(frame.width / width, frame.height / height)
            return Size(length(width * scale), length(height * scale))
        case _:
            assert_never(shape)


def canvas_size(shape: Shape, frame: Size) -> Size:
    """The size of a canvas: an area by its lengths, a ratio as small as it holds the frame.

    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    match shape:
        case Dimensions():
            return shape_size(shape, frame)
        case Ratio(width, height):
            scale = max(frame.width / width, frame.height / height)
            return Size(length(width * scale), length(height * scale))
        case _:
            assert_never(shape)


def start_along(placement: Placement, length: int, side: int) -> int:
    """First pixel of `length` px laid along a `side` of that many px.

    Spare(1/10) leaves a tenth of the spare pixels before it: 1000 px on a side of 2000 start at 100. Negative where
    the length exceeds the side; callers check. Source: https://www.fastly.com/documentation/reference/io/crop
    """
    match placement:
        case Offset(distance):
            return round_half_up(distance.of(side))
        case Align(part):
            return round_half_up((side - length) * part)
        case _:
            assert_never(placement)


def crop_box(crop: Crop, frame: Size) -> Box | None:
    """The pixels that a crop keeps of `frame`; None where it may be clipped and nothing of it lies inside.

    A focus has become placements before it gets here: see resolve(). Raises CropOutOfBounds where it reaches outside
    and may not be clipped.
    """
    size = shape_size(crop.shape, frame)
    box = Box(
        left=start_along(crop.x, size.width, frame.width),
        top=start_along(crop.y, size.height, frame.height),
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
    """Whole pixels at the four edges."""

    top: int
    right: int
    bottom: int
    left: int

    @classmethod
    def of(cls, edges: Edges, frame: Size) -> Margins:
        return cls(
            top=round_half_up(edges.top.of(frame.height)),
            right=round_half_up(edges.right.of(frame.width)),
            bottom=round_half_up(edges.bottom.of(frame.height)),
            left=round_half_up(edges.left.of(frame.width)),
        )


def trimmed_box(trim: TrimEdges, frame: Size) -> Box:
    """What a trim leaves of the frame.

    Raises NothingLeft. Source: https://www.fastly.com/documentation/reference/io/trim
    """
    cut = Margins.of(trim.edges, frame)
    width, height = frame.width - cut.left - cut.right, frame.height - cut.top - cut.bottom
    if width < 1 or height < 1:
        raise EmptyResult(
            f"{trim.parameter}: nothing is left of {frame} after {cut.top}, {cut.right}, {cut.bottom}, {cut.left} px "
            "were cut from its top, right, bottom and left",
            fix="cut less, so that opposite edges together leave a pixel",
            parameter=trim.parameter,
        )
    return Box(cut.left, cut.top, width, height)


def padded_box(edges: Edges, frame: Size) -> Box:
    """The padded frame as a box in the coordinates of the frame: it begins left of 0 and above it."""
    room = Margins.of(edges, frame)
    return Box(
        -room.left,
        -room.top,
        frame.width + room.left + room.right,
        frame.height + room.top + room.bottom,
    )


def canvas_box(canvas: Canvas, frame: Size) -> Box:
    """The canvas as a box in the coordinates of the picture, whose sides the Shares in x and y are of.

    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    size = canvas_size(canvas.shape, frame)
    return Box(
        left=-_picture_start(canvas.x, frame.width, size.width),
        top=-_picture_start(canvas.y, frame.height, size.height),
        width=size.width,
        height=size.height,
    )


def _picture_start(placement: Placement, picture: int, canvas: int) -> int:
    match placement:
        case Offset(distance):
            return round_half_up(distance.of(picture))
        case Align():
            return start_along(placement, picture, canvas)
        case _:
            assert_never(placement)


def window_around(point: Point, width: Fraction, height: Fraction, frame: Size) -> Region:
    """A window of the frame with the point at its center, as far as the edges let it; unrounded.

    Source: https://kontent.ai/learn/docs/apis/image-transformation-api (focal point)
    """
    left = point.x * frame.width - width / 2
    top = point.y * frame.height - height / 2
    return window_at(left, top, width, height, frame)


def window_at(left: Fraction, top: Fraction, width: Fraction, height: Fraction, frame: Size) -> Region:
    """A window no larger than the frame, moved inside it where its corner puts it outside."""
    return Region(
        left=max(Fraction(0), min(left, frame.width - width)),
        top=max(Fraction(0), min(top, frame.height - height)),
        width=width,
        height=height,
    )
