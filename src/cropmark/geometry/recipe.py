"""The Recipe: a tuple of Ops in whole pixels, except a Scale's window. Each Op gets the frame of the previous Op."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from cropmark.geometry.findings import FindBorder
from cropmark.geometry.region import Region
from cropmark.geometry.view import View
from cropmark.model.formats import Format
from cropmark.model.values import Box, Color, Size
from cropmark.plan.plan import KeepMetadata, RequestWarning
from cropmark.plan.steps import Dither, Filter, Orientation, Threshold


@dataclass(frozen=True, slots=True)
class Op:
    """One operation on a frame, and its arithmetic. The defaults hold for an Op that only changes pixel values."""

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        """True if the Op leaves every pixel of such a frame unchanged."""
        return False

    def frame_after(self, frame: Size) -> Size:
        """The size of the frame after the Op."""
        return frame

    def alpha_after(self, *, alpha: bool) -> bool:
        """True if a pixel may be less than opaque after the Op; `alpha` says the same for the frame before it."""
        return alpha

    def view_after(self, view: View) -> View | None:
        """The part of the source that the frame shows after the Op; None if it no longer shows the source."""
        return view


@dataclass(frozen=True, slots=True)
class Extract(Op):
    """Crop the frame to the box, which is inside it."""

    box: Box

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.box == Box(0, 0, frame.width, frame.height)

    def frame_after(self, frame: Size) -> Size:
        return self.box.size

    def view_after(self, view: View) -> View:
        return view.extracted(self.box)


@dataclass(frozen=True, slots=True)
class Scale(Op):
    """Resample the window of the frame, or the whole frame, to exactly `size`."""

    size: Size
    filter: Filter = Filter.LANCZOS3
    window: Region | None = None
    """The part of the frame that becomes the result, inside the frame and exact. None: the whole frame."""

    def window_of(self, frame: Size) -> Region:
        return Region.from_size(frame) if self.window is None else self.window

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.size == frame and self.window is None

    def frame_after(self, frame: Size) -> Size:
        return self.size

    def view_after(self, view: View) -> View:
        return view.resampled(self.window_of(view.frame), self.size)


@dataclass(frozen=True, slots=True)
class Rotate(Op):
    """Rotate and mirror the frame to one of the eight Exif orientations."""

    orientation: Orientation

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.orientation is Orientation.NONE

    def frame_after(self, frame: Size) -> Size:
        return frame.transposed if self.orientation.swaps_sides else frame

    def view_after(self, view: View) -> View:
        return view.rotated(self.orientation)


@dataclass(frozen=True, slots=True)
class Embed(Op):
    """Place the frame at left, top (may be negative) on a canvas of `size` filled with the color; crop the overhang."""

    size: Size
    left: int
    top: int
    fill: Color

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.size == frame and (self.left, self.top) == (0, 0)

    def frame_after(self, frame: Size) -> Size:
        return self.size

    def alpha_after(self, *, alpha: bool) -> bool:
        return alpha or not self.fill.opaque

    def view_after(self, view: View) -> View:
        return view.extracted(Box(-self.left, -self.top, self.size.width, self.size.height))


@dataclass(frozen=True, slots=True)
class Background(Op):
    """Put a color under the frame. An opaque color removes the alpha channel."""

    color: Color

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return not alpha or self.color.alpha == 0

    def alpha_after(self, *, alpha: bool) -> bool:
        return alpha and not self.color.opaque


@dataclass(frozen=True, slots=True)
class ColorAdjust(Op):
    """Brightness, then contrast, then saturation, each -100 to 100 (plan.steps.Adjust)."""

    brightness: Fraction
    contrast: Fraction
    saturation: Fraction

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.brightness == self.contrast == self.saturation == 0


@dataclass(frozen=True, slots=True)
class GaussianBlur(Op):
    sigma: Fraction

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.sigma == 0


@dataclass(frozen=True, slots=True)
class UnsharpMask(Op):
    """m = v - gauss(v, sigma); where |m| >= threshold, v + gain * m."""

    sigma: Fraction
    gain: Fraction
    threshold: int

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.sigma == 0 or self.gain == 0


@dataclass(frozen=True, slots=True)
class Bilevel(Op):
    """Reduce the frame to black and white pixels; alpha does not change."""

    method: Threshold | Dither


@dataclass(frozen=True, slots=True)
class SolidColor(Op):
    """Replace the frame by one of a single color."""

    size: Size
    color: Color

    def frame_after(self, frame: Size) -> Size:
        return self.size

    def alpha_after(self, *, alpha: bool) -> bool:
        return not self.color.opaque

    def view_after(self, view: View) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Compose(Op):
    """Draw another source over the frame at left, top (may be negative), cropped at the frame's edges.

    The first frame of that source is made upright and changed by `ops` first. `across` and `down` repeat it as tiles
    along the axis, from edge to edge.
    """

    source: int
    ops: tuple[AnyOp, ...]
    left: int
    top: int
    across: bool = False
    down: bool = False


AnyOp = (
    Extract
    | Scale
    | Rotate
    | Embed
    | Background
    | ColorAdjust
    | GaussianBlur
    | UnsharpMask
    | Bilevel
    | SolidColor
    | Compose
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """The format and options that the encoder writes with. The engine chooses only the encoder's effort."""

    format: Format
    quality: int
    """1 to 100; ignored by lossless encodings."""
    lossless: bool = False
    progressive: bool = False
    palette: bool = False
    compact: bool = False
    """Spend more time on a smaller file of the same quality; for JPEG."""
    metadata: frozenset[KeepMetadata] = frozenset()


@dataclass(frozen=True, slots=True)
class Recipe:
    """The instructions for the engine: load the first source, apply every Op to each frame, encode.

    `frames` is the number of source frames to read: 1 or all. With `larger_is_original` the original is sent if the
    result has more bytes than the source.
    """

    ops: tuple[AnyOp, ...]
    size: Size
    frames: int
    encoding: Encoding
    larger_is_original: bool = False
    warnings: tuple[RequestWarning, ...] = ()
    focus: str | None = None
    """The placement of the window: faces, subject, residual, or center with a reason; None without such a crop."""


@dataclass(frozen=True, slots=True)
class Need:
    """A question that only pixels can answer: resolve() needs the result of `search` on the first frame after `ops`."""

    search: FindBorder
    ops: tuple[AnyOp, ...]


class Reason(Enum):
    """The reason for sending an original unchanged."""

    DIMENSIONS = "dimensions"
    FRAMES = "frames"
    BYTES = "bytes"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    NOTHING_TO_DO = "nothing_to_do"
    NO_GAIN = "no_gain"
    OUTSIDE = "outside"
    REQUESTED = "requested"

    @property
    def is_failure(self) -> bool:
        """True if the source could not be processed, False if it needed no processing."""
        return self in _FAILURES


_FAILURES = frozenset({Reason.DIMENSIONS, Reason.FRAMES, Reason.BYTES, Reason.UNREADABLE, Reason.UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class OriginalBytes:
    """The verdict that the first source's bytes are sent unchanged."""

    reason: Reason
    warnings: tuple[RequestWarning, ...] = ()


Resolved = Recipe | Need | OriginalBytes
