"""A rectangle with exact fractions, in contrast to values.Box, which has whole pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.model.values import Box, Size


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle with exact fractions, in pixels or in shares of a frame's sides."""

    left: Fraction
    top: Fraction
    width: Fraction
    height: Fraction

    @classmethod
    def from_box(cls, box: Box) -> Region:
        return cls(Fraction(box.left), Fraction(box.top), Fraction(box.width), Fraction(box.height))

    @classmethod
    def from_size(cls, size: Size) -> Region:
        """The region of a whole frame, in pixels."""
        return cls(Fraction(0), Fraction(0), Fraction(size.width), Fraction(size.height))

    @property
    def right(self) -> Fraction:
        return self.left + self.width

    @property
    def bottom(self) -> Fraction:
        return self.top + self.height

    def scaled(self, across: Fraction, down: Fraction) -> Region:
        """The region with its x coordinates multiplied by `across`, and its y coordinates by `down`."""
        return Region(self.left * across, self.top * down, self.width * across, self.height * down)

    def moved(self, right: Fraction, down: Fraction) -> Region:
        return Region(self.left + right, self.top + down, self.width, self.height)


UNIT = Region(Fraction(0), Fraction(0), Fraction(1), Fraction(1))
"""An entire image, in shares of its sides."""
