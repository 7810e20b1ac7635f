"""The Recipe and its Ops: the instructions for the engine. Each Op gets the frame of the previous Op.

All sizes and positions are in whole pixels, except the window of a Scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import ClassVar

from cropmark.geometry.findings import FindBorder
from cropmark.geometry.region import Region
from cropmark.geometry.view import View
from cropmark.model.formats import Colors, Format
from cropmark.model.values import Box, Color, Size
from cropmark.plan.plan import KeepMetadata, RequestWarning, Video
from cropmark.plan.steps import Dither, Filter, Orientation, Threshold


class GainMapChange(Enum):
    """The effect of an Op on the gain map of an Ultra HDR JPEG."""

    NONE = "none"
    """The map stays as it is."""
    SAME_OP = "same op"
    """The Op is applied to the map too, because it changes the shape of the frame."""
    REMOVAL = "removal"
    """The result has no map, because the Op draws something that the map does not contain."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation on a frame, with methods for its effect on size, alpha, view and time.

    The methods of this class are right for an Op that only changes pixel values.
    """

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.NONE

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        """True if the Op changes nothing in a frame of this size. `alpha` is True if the frame has alpha."""
        return False

    def frame_after(self, frame: Size) -> Size:
        """The size of the frame after the Op, for a frame of this size before it."""
        return frame

    def alpha_after(self, *, alpha: bool) -> bool:
        """True if the frame may have transparent pixels after the Op. `alpha` is the same fact before the Op."""
        return alpha

    def view_after(self, view: View) -> View | None:
        """The part of the source that the frame shows after the Op; None if it does not show the source any more."""
        return view

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        """The estimated time of the Op in ms, on one core (see cost.py).

        The frame has `read_mp` megapixels before the Op and `written_mp` megapixels after it.
        """
        return 10.0 * read_mp


@dataclass(frozen=True, slots=True)
class Extract(Op):
    """Crop the frame to a box inside it."""

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.SAME_OP
    box: Box

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.box == Box(0, 0, frame.width, frame.height)

    def frame_after(self, frame: Size) -> Size:
        return self.box.size

    def view_after(self, view: View) -> View:
        return view.extracted(self.box)

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return 0.0  # it reads no pixel that the next Op does not read


@dataclass(frozen=True, slots=True)
class Scale(Op):
    """Resample a window of the frame, or the whole frame, to exactly `size`."""

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.SAME_OP
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

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        enlarging = {Filter.NEAREST: 1.0, Filter.LINEAR: 18.0}.get(self.filter, 32.0)
        return 3.5 * read_mp + (enlarging * written_mp if written_mp > read_mp else 0.0)


@dataclass(frozen=True, slots=True)
class Rotate(Op):
    """Rotate and mirror the frame by one of the eight orientations."""

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.SAME_OP
    orientation: Orientation

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.orientation is Orientation.NONE

    def frame_after(self, frame: Size) -> Size:
        return frame.transposed if self.orientation.swaps_sides else frame

    def view_after(self, view: View) -> View:
        return view.rotated(self.orientation)

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return 3.5 * read_mp


@dataclass(frozen=True, slots=True)
class Embed(Op):
    """Place the frame on a canvas of `size` filled with a color. The part outside the canvas is cropped.

    left, top is the position of the frame on the canvas, which may be negative.
    """

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.REMOVAL
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

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return 1.0 * written_mp


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
    """Change brightness, then contrast, then saturation, each by -100 to 100."""

    brightness: Fraction
    contrast: Fraction
    saturation: Fraction

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.brightness == self.contrast == self.saturation == 0

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return (15.0 if self.saturation else 3.0) * read_mp


@dataclass(frozen=True, slots=True)
class GaussianBlur(Op):
    sigma: Fraction

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.sigma == 0

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return _blur_ms_per_mp(float(self.sigma)) * read_mp


def _blur_ms_per_mp(sigma: float) -> float:
    """The time of a blur in ms per megapixel.

    From a sigma of 8 px on, the blur is computed on a copy that is smaller by the factor sigma/4 (engine/blur.py).
    """
    return 20 + 27 * sigma if sigma < 8 else 22 + 160 / int(sigma / 4) ** 2


@dataclass(frozen=True, slots=True)
class UnsharpMask(Op):
    """Sharpen the frame: amplify the difference between the frame and a blurred copy of it.

    The difference of a value v is m = v - gauss(v, sigma). Where |m| >= threshold, v becomes v + gain * m. Other values
    do not change.
    """

    sigma: Fraction
    gain: Fraction
    threshold: int

    def is_no_op(self, frame: Size, *, alpha: bool) -> bool:
        return self.sigma == 0 or self.gain == 0

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return (10.0 + _blur_ms_per_mp(float(self.sigma))) * read_mp


@dataclass(frozen=True, slots=True)
class Bilevel(Op):
    """Reduce the frame to black and white pixels. Alpha does not change."""

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.REMOVAL
    method: Threshold | Dither

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return (45.0 if isinstance(self.method, Dither) else 8.0) * read_mp


@dataclass(frozen=True, slots=True)
class SolidColor(Op):
    """Replace the frame by a frame of `size` in a single color."""

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.REMOVAL
    size: Size
    color: Color

    def frame_after(self, frame: Size) -> Size:
        return self.size

    def alpha_after(self, *, alpha: bool) -> bool:
        return not self.color.opaque

    def view_after(self, view: View) -> None:
        return None

    def estimated_ms(self, read_mp: float, written_mp: float) -> float:
        return 1.0 * written_mp


@dataclass(frozen=True, slots=True)
class Compose(Op):
    """Draw another source over the frame at left, top, which may be negative; it is cropped at the frame's edges.

    Only the first frame of the source is drawn. Before that, it is made upright and changed by `ops`. `across` repeats
    it from the left to the right edge of the frame, `down` from the top to the bottom edge.
    """

    gain_map_change: ClassVar[GainMapChange] = GainMapChange.REMOVAL
    source: int
    """The index of the drawn source among the sources of the request."""
    ops: tuple[AnyOp, ...]
    left: int
    top: int
    across: bool = False
    down: bool = False


FrameOp = (
    Extract | Scale | Rotate | Embed | Background | ColorAdjust | GaussianBlur | UnsharpMask | Bilevel | SolidColor
)
"""The Ops that need the frame only."""
AnyOp = FrameOp | Compose


@dataclass(frozen=True, slots=True)
class Encoding:
    """The format and the options for the encoder. The engine itself chooses only the encoder's effort."""

    format: Format
    quality: int
    """1 to 100; ignored by lossless encodings."""
    lossless: bool = False
    progressive: bool = False
    palette: bool = False
    compact: bool = False
    """For JPEG: spend more time on a smaller file of the same quality."""
    recompressed: bool = False
    """Store the JPEG source as JPEG XL without loss. If that fails, the result is encoded with `quality`."""
    metadata: frozenset[KeepMetadata] = frozenset()
    colors: Colors = Colors.SRGB
    gain_map: bool = False
    video: Video | None = None
    """The options of an mp4; None for other formats."""
    max_bytes: int | None = None
    """For PNG and still GIF: reduce the colors until the file has at most this size, as far as quality allows."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The instructions for the engine: load the first source, apply every Op to each frame, encode.

    `frames` is the number of source frames to read: 1 or all. With `larger_is_original`, the original is sent if the
    result has more bytes than the source.
    """

    ops: tuple[AnyOp, ...]
    size: Size
    frames: int
    encoding: Encoding
    larger_is_original: bool = False
    warnings: tuple[RequestWarning, ...] = ()
    focus: str | None = None
    """The basis of a smart crop's position: faces, subject or residual, or "center" or "position" with the reason.

    None if no step crops by content.
    """


@dataclass(frozen=True, slots=True)
class Need:
    """A question that only pixels can answer: the result of `search` on the first frame after `ops`.

    resolve() returns it if it cannot continue without the answer.
    """

    search: FindBorder
    ops: tuple[AnyOp, ...]


class Reason(Enum):
    """The reason for sending the original unchanged."""

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
        """True if the source could not be processed, False if it needs no processing."""
        return self in _FAILURES


_FAILURES = frozenset({Reason.DIMENSIONS, Reason.FRAMES, Reason.BYTES, Reason.UNREADABLE, Reason.UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class OriginalBytes:
    """The verdict that the bytes of the first source are sent unchanged."""

    reason: Reason
    warnings: tuple[RequestWarning, ...] = ()


Resolved = Recipe | Need | OriginalBytes
