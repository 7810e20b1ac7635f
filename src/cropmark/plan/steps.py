"""The Steps of a Plan: operations on an image in the caller's units, applied in the order of the tuple.

The Exif orientation is applied on loading; a Step gets the upright frame that the previous Steps returned. A Step is
skipped for sources that match `skipped_for`, which depends on the source's header.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from cropmark.model.values import WHITE, ZERO_LENGTH, Color, Length, Point, Ratio, Size
from cropmark.plan.source import SourceFilter


class Orientation(Enum):
    """The eight rotations and reflections. Each has the Exif number of the images that it makes upright."""

    NONE = 1
    FLIP_HORIZONTAL = 2
    ROTATE_180 = 3
    FLIP_VERTICAL = 4
    TRANSPOSE = 5
    ROTATE_90 = 6
    TRANSVERSE = 7
    ROTATE_270 = 8

    @property
    def swaps_sides(self) -> bool:
        return self.value >= 5


class Focus(Enum):
    """The strategy for placing a window by the content of the image."""

    SMART = "smart"
    """Show whole faces, or the salient subject of an image without faces."""


class Overflow(Enum):
    """The reaction to a crop that extends outside the frame."""

    REFUSE = "refuse"
    CLIP = "clip"
    """Clip the box; skip the crop with a warning if the box is entirely outside."""
    CLIP_OR_REFUSE = "clip_or_refuse"
    """Clip the box; raise CropOutOfBounds if the box is entirely outside."""
    CLIP_OR_ORIGINAL = "clip_or_original"
    """Clip the box; send the original unchanged if the box is entirely outside."""


class Fit(Enum):
    """The relation of a resized image to its box."""

    STRETCH = "stretch"
    """The image is stretched to exactly the box. A missing side of the box follows from the rounded other side."""
    INSIDE = "inside"
    """The whole image, as large as fits inside the box."""
    OUTSIDE = "outside"
    """The whole image, as small as covers the box."""
    COVER = "cover"
    """The image covers the box and is cropped to it. Without `enlarge` the box may shrink in proportion."""


class Filter(Enum):
    """Resampling kernels, with the names of libvips."""

    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"
    LANCZOS2 = "lanczos2"
    LANCZOS3 = "lanczos3"


@dataclass(frozen=True, slots=True)
class Offset:
    """A placement by the distance of the first pixel from the left or top edge."""

    distance: Length


@dataclass(frozen=True, slots=True)
class Align:
    """A placement by the share of the free space, 0 to 1, that is left or above: Align(1/2) centers."""

    part: Fraction


@dataclass(frozen=True, slots=True)
class Middle:
    """A placement by the distance of the middle from the left or top edge."""

    distance: Length


Placement = Offset | Align
CENTERED = Align(Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class Dimensions:
    """A shape given by two lengths; shares are of the frame's width and height."""

    width: Length
    height: Length


Shape = Dimensions | Ratio
"""A Ratio means the largest box of that ratio inside the frame, or for a canvas the smallest box around it."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Lengths at the four edges; shares of top and bottom are of the height, of left and right of the width."""

    top: Length = ZERO_LENGTH
    right: Length = ZERO_LENGTH
    bottom: Length = ZERO_LENGTH
    left: Length = ZERO_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation. It is skipped for the sources in `skipped_for`, with a warning if one is set."""

    skipped_for: tuple[SourceFilter, ...] = ()
    warning_if_skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Orient(Step):
    orientation: Orientation


class AutoColor(Enum):
    """A color that is taken from the image."""

    TOP_LEFT = "top_left"


@dataclass(frozen=True, slots=True)
class TrimBorder(Step):
    """Remove a border of one color: outer rows and columns with all pixels within `tolerance` (0 to 1) of the color."""

    color: Color | AutoColor
    tolerance: Fraction = Fraction(0)
    parameter: str = "trim-color"


@dataclass(frozen=True, slots=True)
class TrimEdges(Step):
    edges: Edges
    parameter: str = "trim"


class Rounding(Enum):
    """The rule by which a fraction of a pixel becomes a whole pixel."""

    NEAREST = "nearest"
    """The nearest whole number, ties up."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Crop(Step):
    """Crop to a window. With a focus, the content of the image places it; x and y apply if the content cannot."""

    shape: Shape
    x: Placement = CENTERED
    y: Placement = CENTERED
    focus: Focus | None = None
    overflow: Overflow = Overflow.REFUSE
    rounding: Rounding = Rounding.NEAREST
    parameter: str = "crop"


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """Scale to a box of width by height, both multiplied by dpr; `fit` determines a missing length.

    With Fit.COVER, `focus` is the center of the visible window (None: the image's center; a Point: that point, moved
    inside the edges; SMART: placed by content), and with `zoom` (≥ 1) the window is smaller by this factor than the
    largest that fits. Without `enlarge` no side becomes longer than it is.
    """

    width: Length | None
    height: Length | None
    fit: Fit = Fit.STRETCH
    enlarge: bool = False
    dpr: Fraction = Fraction(1)
    filter: Filter = Filter.LANCZOS3
    focus: Focus | Point | None = None
    zoom: Fraction = Fraction(1)
    parameter: str = "width"


@dataclass(frozen=True, slots=True)
class Pad(Step):
    """Add space around the image.

    Without a color, the space is transparent if the image has alpha and the output format supports alpha, else white.
    """

    edges: Edges
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class Canvas(Step):
    """Place the unscaled image on a canvas and crop it to the canvas.

    Without a color the canvas is transparent if the output format supports alpha, else white. Shares in x and y are of
    the image's sides.
    """

    shape: Shape
    x: Placement = CENTERED
    y: Placement = CENTERED
    color: Color | None = None
    warn_if_cut: bool = False


@dataclass(frozen=True, slots=True)
class Flatten(Step):
    """Put a background color under the image.

    A color with alpha leaves alpha in the result if the output format supports it, else it is mixed with white.
    """

    color: Color


@dataclass(frozen=True, slots=True)
class Adjust(Step):
    """Change brightness, then contrast, then saturation, each by -100 to 100.

    Pixel values are clipped and rounded after each change.
    """

    brightness: Fraction = Fraction(0)
    contrast: Fraction = Fraction(0)
    saturation: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Sharpen(Step):
    """Sharpen each value v by its difference from a blurred frame, m = v - gauss(v), with the sigma radius/2.

    Where |m| >= threshold (0 to 255), v becomes v + amount/2 * m. A radius as a share is of the frame's shorter side.
    """

    amount: Fraction
    radius: Length
    threshold: int


@dataclass(frozen=True, slots=True)
class Blur(Step):
    """Gaussian blur with sigma radius/2.

    A radius as a share is of the frame's shorter side, and clamped to `min_px` and `max_px`. For a radius in pixels,
    the dialect must check these bounds.
    """

    radius: Length
    min_px: Fraction = Fraction(1, 2)
    max_px: Fraction = Fraction(1000)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Pixels with a luminance (0 to 100) below the level become black, all others white."""

    level: Fraction = Fraction(50)


class Dither(Enum):
    ATKINSON = "atkinson"


@dataclass(frozen=True, slots=True)
class Monochrome(Step):
    """Reduce to black and white pixels; alpha does not change."""

    method: Threshold | Dither


@dataclass(frozen=True, slots=True)
class Overlay(Step):
    """Draw another source over the image with its own alpha, cropped at the image's edges.

    Shares in width and height are of the image's sides. With only one length, the overlay is resized in proportion;
    without any, it is not resized. `edges` adds transparent padding (shares are of the resized overlay's sides).
    `repeat_across` repeats the overlay as tiles over the whole width of the image, `repeat_down` over the whole height.
    """

    source: int
    width: Length | None = None
    height: Length | None = None
    x: Placement | Middle = CENTERED
    y: Placement | Middle = CENTERED
    edges: Edges = Edges()
    opaque_padding: bool = False
    """Use white padding for overlays in a format without alpha."""
    repeat_across: bool = False
    repeat_down: bool = False
    required: bool = False
    """Raise a Problem if the source cannot be used, instead of leaving it out with a warning."""
    parameter: str = "overlay"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a montage: its source, and its edges in shares of the montage's sides."""

    source: int
    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction


@dataclass(frozen=True, slots=True)
class Montage(Step):
    """Draw several sources on one canvas of `size`, which replaces the image of the first source.

    Each source fills its cell: it is cropped around its center and enlarged if needed. `padding` px in `color` remain
    inside the edges of each cell.
    """

    size: Size
    cells: tuple[Cell, ...]
    padding: int = 0
    color: Color = WHITE
    filter: Filter = Filter.LANCZOS3


AnyStep = (
    Orient
    | TrimBorder
    | TrimEdges
    | Crop
    | Resize
    | Pad
    | Canvas
    | Flatten
    | Adjust
    | Sharpen
    | Blur
    | Monochrome
    | Overlay
    | Montage
)
