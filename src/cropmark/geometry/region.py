"""A rectangle that need not lie on whole pixels: the unrounded sister of values.Box."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.model.values import Box, Size


@dataclass(frozen=True, slots=True)
class Region:
    """Left, top, width and height, exact; in pixels or in shares, as whoever holds it says."""

    left: Fraction
    top: Fraction
    width: Fraction
    height: Fraction

    @classmethod
    def of(cls, box: Box) -> Region:
        return cls(Fraction(box.left), Fraction(box.top), Fraction(box.width), Fraction(box.height))

    @classmethod
    def whole(cls, frame: Size) -> Region:
        """All pixels of the frame."""
        return cls(Fraction(0), Fraction(0), Fraction(frame.width), Fraction(frame.height))

    @property
    def right(self) -> Fraction:
        return self.left + self.width

    @property
    def bottom(self) -> Fraction:
        return self.top + self.height

    def scaled(self, across: Fraction, down: Fraction) -> Region:
        """The region where all coordinates are so many times larger."""
        return Region(self.left * across, self.top * down, self.width * across, self.height * down)

    def moved(self, right: Fraction, down: Fraction) -> Region:
        return Region(self.left + right, self.top + down, self.width, self.height)


UNIT = Region(Fraction(0), Fraction(0), Fraction(1), Fraction(1))
"""A whole picture in shares of its sides."""
