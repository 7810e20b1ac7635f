"""The Steps of a Plan: what is done to a picture, in the caller's units, in the order of the tuple.

The Exif orientation is undone on loading; a Step always meets the upright frame that the Steps before it left.
`skipped_for` names the sources for which a Step is left out, which only the source's header decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from cropmark.model.values import NOTHING, WHITE, Color, Length, Point, Ratio, Size
from cropmark.plan.source import SourceFilter


class Orientation(Enum):
    """The eight ways to lay a frame, by their Exif numbers, read as «do this»."""

    NONE = 1
    FLIP_ACROSS = 2
    HALF = 3
    FLIP_DOWN = 4
    TRANSPOSE = 5
    RIGHT = 6
    TRANSVERSE = 7
    LEFT = 8

    @property
    def swaps_sides(self) -> bool:
        return self.value >= 5


class Focus(Enum):
    """Where a window lies when the picture's content decides."""

    SMART = "smart"
    """Whole faces, else the salient subject."""


class Overflow(Enum):
    """What becomes of a crop that reaches outside the frame."""

    REFUSE = "refuse"
    CLIP = "clip"
    """Clipped; where nothing of it lies inside, the crop is left out with a warning."""
    CLIP_OR_REFUSE = "clip_or_refuse"
    """Clipped; where nothing of it lies inside, refused."""
    CLIP_OR_ORIGINAL = "clip_or_original"
    """Clipped; where nothing of it lies inside, the original goes out."""


class Fit(Enum):
    """How a picture meets the box it is resized to."""

    STRETCH = "stretch"
    """Exactly the box. One side alone: the other follows in proportion of the side already rounded."""
    INSIDE = "inside"
    """The whole picture inside the box."""
    OUTSIDE = "outside"
    """The box covered, nothing cut."""
    COVER = "cover"
    """The box covered, the overhang cut: exactly the box, or a smaller one of its shape where nothing may grow."""


class Filter(Enum):
    """Resampling kernels, by libvips' names."""

    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"
    LANCZOS2 = "lanczos2"
    LANCZOS3 = "lanczos3"


@dataclass(frozen=True, slots=True)
class Offset:
    """The first pixel, from the left or top edge."""

    distance: Length


@dataclass(frozen=True, slots=True)
class Align:
    """The part of the spare room (0 to 1) that lies before: Spare(1/2) is centered."""

    part: Fraction


Placement = Offset | Align
CENTERED = Align(Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class Dimensions:
    """A shape by its two lengths, of the width and of the height of the frame it meets."""

    width: Length
    height: Length


Shape = Dimensions | Ratio
"""A Ratio is the largest area of that shape in a frame, for a canvas the smallest around it."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Lengths at the four edges; top and bottom of the height, left and right of the width."""

    top: Length = NOTHING
    right: Length = NOTHING
    bottom: Length = NOTHING
    left: Length = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do; left out for sources of these kinds, with a warning where the caller should hear of it."""

    skipped_for: tuple[SourceFilter, ...] = ()
    warns_if_skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Orient(Step):
    turn: Orientation


class AutoColor(Enum):
    """A color that the picture decides."""

    TOP_LEFT = "top_left"


@dataclass(frozen=True, slots=True)
class TrimBorder(Step):
    """Remove the border of one color: all outer rows and columns whose every pixel is within `tolerance` (0 to 1)."""

    color: Color | AutoColor
    tolerance: Fraction = Fraction(0)
    parameter: str = "trim-color"


@dataclass(frozen=True, slots=True)
class TrimEdges(Step):
    edges: Edges
    parameter: str = "trim"


@dataclass(frozen=True, slots=True)
class Crop(Step):
    """Keep a window. With a focus the content places it, and x, y only where that decides nothing."""

    shape: Shape
    x: Placement = CENTERED
    y: Placement = CENTERED
    focus: Focus | None = None
    overflow: Overflow = Overflow.REFUSE
    parameter: str = "crop"


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """Scale to a box of width by height, both multiplied by dpr; a length left out follows as `fit` says.

    With Fit.COVER, `focus` tells what the window that is kept lies around (None: the center; a Point: centered there as
    far as the edges let it; SMART: the content), and `zoom` (≥ 1) how many times narrower than the largest it is.
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
    """Room outside the picture.

    Without a color: clear where the picture has alpha and the output holds it, else white.
    """

    edges: Edges
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class Canvas(Step):
    """Lay the picture, unscaled, on a canvas; what lies outside is cut.

    Without a color: clear where the output holds alpha, else white. Shares in x and y are of the picture's sides.
    """

    shape: Shape
    x: Placement = CENTERED
    y: Placement = CENTERED
    color: Color | None = None
    warns_when_cut: bool = False


@dataclass(frozen=True, slots=True)
class Flatten(Step):
    """Lay a color under the picture.

    One with alpha leaves alpha where the output holds it, else it is mixed with white.
    """

    color: Color


@dataclass(frozen=True, slots=True)
class Adjust(Step):
    """Brightness, then contrast, then saturation, each -100 to 100, clipped and rounded at the end of each."""

    brightness: Fraction = Fraction(0)
    contrast: Fraction = Fraction(0)
    saturation: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Sharpen(Step):
    """Unsharp mask: m = v - gauss(v, sigma radius/2); where |m| >= threshold (0 to 255), v + amount/2 * m.

    A Share in radius is of the frame's smaller side.
    """

    amount: Fraction
    radius: Length
    threshold: int


@dataclass(frozen=True, slots=True)
class Blur(Step):
    """Gaussian of sigma radius/2; a Share is of the frame's smaller side, then held within `least` and `most` px."""

    radius: Length
    least: Fraction = Fraction(1, 2)
    most: Fraction = Fraction(1000)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Black where the luminance (0 to 100) is below the level, else white."""

    level: Fraction = Fraction(50)


class Dither(Enum):
    ATKINSON = "atkinson"


@dataclass(frozen=True, slots=True)
class Monochrome(Step):
    """Only black and white pixels; alpha is kept."""

    method: Threshold | Dither


@dataclass(frozen=True, slots=True)
class Overlay(Step):
    """Another source laid over the picture with its own alpha, cut at the picture's edges.

    Shares in width and height are of the picture; one alone keeps the overlay's ratio, none its size. `edges` pads it
    (Shares of its own sized sides) in `color`, or without one clear where its format holds alpha, else white. `repeat`
    continues its tiles along an axis from where it lies.
    """

    source: int
    width: Length | None = None
    height: Length | None = None
    x: Align = CENTERED
    y: Align = CENTERED
    edges: Edges = Edges()
    opaque_padding: bool = False
    """White padding for overlays whose format holds no alpha; else padding is always clear."""
    repeat_across: bool = False
    repeat_down: bool = False
    parameter: str = "overlay"


@dataclass(frozen=True, slots=True)
class Cell:
    """A source in a montage: the cell's edges as shares of the whole, left, top, right, bottom."""

    source: int
    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction


@dataclass(frozen=True, slots=True)
class Montage(Step):
    """Several sources on one canvas of `size` px, each filling its cell, cut from its center, enlarged where needed.

    `padding` px in `color` lie inside the edges of each cell. It takes the place of the first source's picture.
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
