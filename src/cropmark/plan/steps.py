"""The Steps of a Plan: operations on an image in the caller's units, applied in the order of the tuple.

The Exif orientation is applied on loading, so the first Step gets an upright frame. Each further Step gets the frame
of the previous Step. A Step is skipped for a source if the source's header matches `skipped_for`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from cropmark.model.values import WHITE, ZERO_LENGTH, Color, Length, Point, Ratio, Size
from cropmark.plan.source import SourceFilter


class Orientation(Enum):
    """The eight rotations and reflections. The value is the Exif orientation of the images that it makes upright."""

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
    """The rule for placing a window by the content of the image."""

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
    """The rule by which a resized image fits the requested box."""

    STRETCH = "stretch"
    """The image is stretched to exactly the box. A missing side of the box follows from the rounded other side."""
    INSIDE = "inside"
    """The whole image, as large as fits inside the box."""
    OUTSIDE = "outside"
    """The whole image, as small as covers the box."""
    COVER = "cover"
    """The image covers the box and is cropped to it. Without `enlarge` the box may shrink in proportion."""


class Filter(Enum):
    """The resampling kernel of a resize, with its name in libvips."""

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
    """A placement by the share of the free space, 0 to 1, on the left or above: Align(1/2) centers."""

    part: Fraction


@dataclass(frozen=True, slots=True)
class Middle:
    """A placement by the distance of the middle from the left or top edge."""

    distance: Length


Placement = Offset | Align
CENTERED = Align(Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The shape of a box by its width and height. A Share is of the frame's width or height."""

    width: Length
    height: Length


Shape = Dimensions | Ratio
"""A Ratio means the largest box of that ratio inside the frame, or for a canvas the smallest box around it."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Lengths at the four edges. A Share is of the height for top and bottom, of the width for left and right."""

    top: Length = ZERO_LENGTH
    right: Length = ZERO_LENGTH
    bottom: Length = ZERO_LENGTH
    left: Length = ZERO_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation. It is skipped for sources that match `skipped_for`, and then adds `warning_if_skipped`."""

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
    """Remove a border of one color from the image.

    The border consists of the outer rows and columns in which every pixel differs from the color by at most
    `tolerance`, 0 to 1.
    """

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
    """Crop to a window of this shape, placed by x and y.

    With a `focus`, the content of the image places the window. If the content decides nothing, x and y apply.
    """

    shape: Shape
    x: Placement = CENTERED
    y: Placement = CENTERED
    focus: Focus | None = None
    overflow: Overflow = Overflow.REFUSE
    rounding: Rounding = Rounding.NEAREST
    parameter: str = "crop"


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """Scale to a box of width by height, both multiplied by dpr. A missing length follows from `fit`.

    Without `enlarge`, no side becomes longer than it is. With Fit.COVER, `focus` places the visible window:

    - None: at the center of the image
    - a Point: around this point, but inside the image
    - Focus.SMART: by the content of the image

    `zoom`, 1 or more, makes the window smaller by this factor than the largest window that fits.
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
    """Place the unscaled image on a canvas, and crop the part of the image that is outside the canvas.

    Without a color, the canvas is transparent if the output format supports alpha, else white. A Share in x or y is of
    the image's side.
    """

    shape: Shape
    x: Placement = CENTERED
    y: Placement = CENTERED
    color: Color | None = None
    warn_if_cut: bool = False


@dataclass(frozen=True, slots=True)
class Flatten(Step):
    """Put a background color under the image.

    A color with alpha leaves the result transparent if the output format supports alpha. In any other format, the color
    is mixed with white.
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
    """Sharpen the frame with an unsharp mask: amplify the difference between the frame and a blurred copy of it.

    The difference of a value v is m = v - gauss(v), with a sigma of radius/2. Where |m| >= threshold (0 to 255), v
    becomes v + amount/2 * m. A radius that is a Share is of the frame's shorter side.
    """

    amount: Fraction
    radius: Length
    threshold: int


@dataclass(frozen=True, slots=True)
class Blur(Step):
    """Blur the frame with a Gaussian kernel; its sigma is radius/2.

    A radius that is a Share is of the frame's shorter side, and is clamped to `min_px` and `max_px`. A radius in pixels
    is not clamped: the dialect checks it.
    """

    radius: Length
    min_px: Fraction = Fraction(1, 2)
    max_px: Fraction = Fraction(1000)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Pixels with a luminance below `level` (0 to 100) become black, all others white."""

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

    - width, height: the size of the overlay; a Share is of the image's side. With only one length, the overlay is
      resized in proportion. Without any, it is not resized.
    - edges: transparent padding around the overlay; a Share is of the resized overlay's side.
    - repeat_across, repeat_down: repeat the overlay as tiles over the whole width or height of the image.
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
    """A cell of a montage: the index of its source, and its edges in shares of the montage's sides."""

    source: int
    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction


@dataclass(frozen=True, slots=True)
class Montage(Step):
    """Replace the image by a canvas of `size` on which several sources are drawn, each in its cell.

    A source is cropped around its center and enlarged if needed, so that it fills its cell. `padding` is the width in
    pixels of an empty border in `color`, inside the edges of each cell.
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
