"""The Recipe: Ops in whole pixels, each meeting the frame that the Op before it left. Nothing is left to decide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from cropmark.geometry.findings import FindBorder
from cropmark.model.formats import Format
from cropmark.model.values import Box, Color, Size
from cropmark.plan.plan import KeepMetadata, RequestWarning
from cropmark.plan.steps import Dither, Filter, Orientation, Threshold


@dataclass(frozen=True, slots=True)
class Extract:
    box: Box


@dataclass(frozen=True, slots=True)
class Scale:
    size: Size
    filter: Filter = Filter.LANCZOS3


@dataclass(frozen=True, slots=True)
class Rotate:
    """Lay the frame in one of the eight ways."""

    turn: Orientation


@dataclass(frozen=True, slots=True)
class Embed:
    """Lay the frame at left, top (perhaps negative) on a frame of `size` filled with the color; the rest is cut."""

    size: Size
    left: int
    top: int
    fill: Color


@dataclass(frozen=True, slots=True)
class Background:
    """Lay a color under the frame. An opaque one removes the alpha plane."""

    color: Color


@dataclass(frozen=True, slots=True)
class ColorAdjust:
    """Brightness, then contrast, then saturation, each -100 to 100 (plan.steps.Adjust)."""

    brightness: Fraction
    contrast: Fraction
    saturation: Fraction


@dataclass(frozen=True, slots=True)
class GaussianBlur:
    sigma: Fraction


@dataclass(frozen=True, slots=True)
class UnsharpMask:
    """m = v - gauss(v, sigma); where |m| >= threshold, v + gain * m."""

    sigma: Fraction
    gain: Fraction
    threshold: int


@dataclass(frozen=True, slots=True)
class Bilevel:
    method: Threshold | Dither


@dataclass(frozen=True, slots=True)
class SolidColor:
    """A new frame of one color in place of the one before."""

    size: Size
    color: Color


@dataclass(frozen=True, slots=True)
class Compose:
    """Another source, its first frame upright and changed by its own ops, laid over at left, top (perhaps negative).

    Along `across` and `down` its tiles go on from there to all edges; what is outside the frame is cut.
    """

    source: int
    ops: tuple[Op, ...]
    left: int
    top: int
    across: bool = False
    down: bool = False


Op = (
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
    """How the result is written, nothing left open but the encoder's effort."""

    format: Format
    quality: int
    """1 to 100; what is lossless ignores it."""
    lossless: bool = False
    progressive: bool = False
    palette: bool = False
    keeps: frozenset[KeepMetadata] = frozenset()


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that the engine does: load the first source, every Op on each frame, write.

    `frames` is how many of the source's frames are read: 1, or all of them. `larger_is_original`: the original goes
    out where the result has more bytes than the source.
    """

    ops: tuple[Op, ...]
    size: Size
    frames: int
    encoding: Encoding
    larger_is_original: bool = False
    warnings: tuple[RequestWarning, ...] = ()
    focus: str | None = None
    """What placed the window: faces, subject, residual, or center with a reason; None where nobody asked."""


@dataclass(frozen=True, slots=True)
class Need:
    """resolve() cannot go on before somebody looks at the pixels of the first frame after these ops."""

    look: FindBorder
    ops: tuple[Op, ...]


class Reason(Enum):
    """Why an original goes out as it is."""

    DIMENSIONS = "dimensions"
    FRAMES = "frames"
    BYTES = "bytes"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    NOTHING_TO_DO = "nothing_to_do"
    NO_GAIN = "no_gain"
    OUTSIDE = "outside"
    ASKED = "asked"

    @property
    def is_trouble(self) -> bool:
        """Whether the source could not be worked on, rather than needing no work."""
        return self in _TROUBLE


_TROUBLE = frozenset({Reason.DIMENSIONS, Reason.FRAMES, Reason.BYTES, Reason.UNREADABLE, Reason.UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class OriginalBytes:
    """The first source's bytes go out as they are."""

    reason: Reason
    warnings: tuple[RequestWarning, ...] = ()


Resolved = Recipe | Need | OriginalBytes
