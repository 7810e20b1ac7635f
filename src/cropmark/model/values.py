"""The small exact values everything else is said in: sizes, boxes, lengths, ratios, colors.

Coordinates count from the top left corner of the upright frame; right and bottom are exclusive.
Nothing here rounds: a fraction becomes a whole pixel in geometry/rounding.py and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Size:
    """Whole pixels across and down, each at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a size is at least 1 by 1, not {self.width} by {self.height}")

    @property
    def area(self) -> int:
        return self.width * self.height

    @property
    def turned(self) -> Size:
        """The size after a quarter turn."""
        return Size(self.height, self.width)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels; its corner may lie outside the frame, its sides are at least 1."""

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
        """Whether no pixel of the box lies outside the frame."""
        return self.left >= 0 and self.top >= 0 and self.right <= frame.width and self.bottom <= frame.height

    def clipped_to(self, frame: Size) -> Box | None:
        """The part of the box inside the frame; None where they share no pixel."""
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.right, frame.width), min(self.bottom, frame.height)
        if right <= left or bottom <= top:
            return None
        return Box(left, top, right - left, bottom - top)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.left},{self.top}"


def enclosing(boxes: Iterable[Box]) -> Box | None:
    """The smallest box that holds them all; None of none."""
    held = tuple(boxes)
    if not held:
        return None
    left, top = min(box.left for box in held), min(box.top for box in held)
    return Box(left, top, max(box.right for box in held) - left, max(box.bottom for box in held) - top)


@dataclass(frozen=True, slots=True)
class Pixels:
    """A length in pixels, perhaps not whole ones."""

    count: Fraction

    def of(self, side: int) -> Fraction:
        """The length in pixels, whatever the side."""
        return self.count

    def times(self, factor: Fraction) -> Pixels:
        """So many times longer."""
        return Pixels(self.count * factor)


@dataclass(frozen=True, slots=True)
class Share:
    """A length as a part of a side: Share(1/2) is half of it, Share(5/2) two and a half times."""

    part: Fraction

    def of(self, side: int) -> Fraction:
        """The length in pixels on a side of that many."""
        return self.part * side

    def times(self, factor: Fraction) -> Share:
        """So many times longer."""
        return Share(self.part * factor)


Length = Pixels | Share

WHOLE = Share(Fraction(1))
NOTHING = Pixels(Fraction(0))


@dataclass(frozen=True, slots=True)
class Point:
    """A place as shares of the frame's sides: (1/2, 1/2) is its center."""

    x: Fraction
    y: Fraction


@dataclass(frozen=True, slots=True)
class Ratio:
    """The shape width:height, both above 0."""

    width: Fraction
    height: Fraction

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a ratio is of numbers above 0, not {self.width}:{self.height}")


@dataclass(frozen=True, slots=True)
class Color:
    """An sRGB color, parts 0 to 255; alpha 0 is clear, 255 opaque. Not premultiplied."""

    red: int
    green: int
    blue: int
    alpha: int = 255

    def __post_init__(self) -> None:
        if not all(0 <= part <= 255 for part in (self.red, self.green, self.blue, self.alpha)):
            raise ValueError(f"the parts of a color are 0 to 255, not {self}")

    @property
    def opaque(self) -> bool:
        return self.alpha == 255


WHITE = Color(255, 255, 255)
CLEAR = Color(0, 0, 0, 0)
