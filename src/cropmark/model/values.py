"""Small exact values: sizes, boxes, lengths, ratios, colors.

Coordinates count from the top left corner of the upright frame; right and bottom are exclusive.
Nothing is rounded here: a fraction becomes a whole pixel in geometry/rounding.py only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in whole pixels, each at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a size is at least 1 by 1, not {self.width} by {self.height}")

    @property
    def area(self) -> int:
        return self.width * self.height

    @property
    def transposed(self) -> Size:
        """The size after a quarter turn."""
        return Size(self.height, self.width)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in whole pixels, each side at least 1. It may extend outside the frame."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a box is at least 1 by 1, not {self.width} by {self.height}")

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def within(self, frame: Size) -> bool:
        """True if the whole box is inside the frame."""
        return self.left >= 0 and self.top >= 0 and self.right <= frame.width and self.bottom <= frame.height

    def clipped_to(self, frame: Size) -> Box | None:
        """The part of the box that is inside the frame; None if the box is completely outside."""
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.right, frame.width), min(self.bottom, frame.height)
        if right <= left or bottom <= top:
            return None
        return Box(left, top, right - left, bottom - top)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.left},{self.top}"


def bounding_box(boxes: Iterable[Box]) -> Box | None:
    """The smallest box that contains all given boxes; None without boxes."""
    inner = tuple(boxes)
    if not inner:
        return None
    left, top = min(box.left for box in inner), min(box.top for box in inner)
    return Box(left, top, max(box.right for box in inner) - left, max(box.bottom for box in inner) - top)


@dataclass(frozen=True, slots=True)
class Pixels:
    """A length in pixels, which may be a fraction."""

    count: Fraction

    def of(self, side: int) -> Fraction:
        """The length in pixels. `side` has no influence."""
        return self.count

    def times(self, factor: Fraction) -> Pixels:
        return Pixels(self.count * factor)


@dataclass(frozen=True, slots=True)
class Share:
    """A length as a share of a side: Share(1/2) is half the side, Share(5/2) is two and a half times the side."""

    part: Fraction

    def of(self, side: int) -> Fraction:
        """The length in pixels for a side of `side` pixels."""
        return self.part * side

    def times(self, factor: Fraction) -> Share:
        return Share(self.part * factor)


Length = Pixels | Share

FULL_LENGTH = Share(Fraction(1))
ZERO_LENGTH = Pixels(Fraction(0))


@dataclass(frozen=True, slots=True)
class Point:
    """A position in shares of the frame's sides: (1/2, 1/2) is the center."""

    x: Fraction
    y: Fraction


@dataclass(frozen=True, slots=True)
class Ratio:
    """The aspect ratio width:height, both above 0."""

    width: Fraction
    height: Fraction

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a ratio needs numbers above 0, not {self.width}:{self.height}")


@dataclass(frozen=True, slots=True)
class Color:
    """An sRGB color. All channels are 0 to 255 and not premultiplied; alpha 0 is transparent, 255 opaque."""

    red: int
    green: int
    blue: int
    alpha: int = 255

    def __post_init__(self) -> None:
        if not all(0 <= part <= 255 for part in (self.red, self.green, self.blue, self.alpha)):
            raise ValueError(f"the channels of a color are 0 to 255, not {self}")

    @property
    def opaque(self) -> bool:
        return self.alpha == 255


WHITE = Color(255, 255, 255)
CLEAR = Color(0, 0, 0, 0)
