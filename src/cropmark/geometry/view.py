"""Which part of the upright source a frame shows, so that what was found in the source can be placed in the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from cropmark.geometry.orientation import composed, turned, unturned
from cropmark.geometry.region import UNIT, Region
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Orientation


@dataclass(frozen=True, slots=True)
class View:
    """A frame that shows the region `shown` (shares of the upright source), laid as `turn` says.

    `shown` may reach outside the source (below 0, past 1) where room was added around it.
    """

    frame: Size
    shown: Region = UNIT
    turn: Orientation = Orientation.NONE

    def place(self, region: Region) -> Region:
        """Where a region in shares of the upright source lies in the frame, in its pixels; perhaps outside.

        Of a 1000 px wide source cut to its right half, a face from 3/4 to 1 of the width lies from 250 to 500.
        """
        return turned(self._of_shown(region), self.turn).scaled(Fraction(self.frame.width), Fraction(self.frame.height))

    def source_of(self, region: Region) -> Region:
        """The region of the upright source, in its shares, that lies under a region of the frame in pixels."""
        shares = region.scaled(Fraction(1, self.frame.width), Fraction(1, self.frame.height))
        return (
            unturned(shares, self.turn)
            .scaled(self.shown.width, self.shown.height)
            .moved(self.shown.left, self.shown.top)
        )

    def extracted(self, box: Box) -> View:
        """The view after the frame was cut to the box, or laid on a larger one that begins outside it."""
        return replace(self, frame=box.size, shown=self.source_of(Region.of(box)))

    def rotated(self, turn: Orientation) -> View:
        frame = self.frame.turned if turn.swaps_sides else self.frame
        return replace(self, frame=frame, turn=composed(self.turn, turn))

    def scaled(self, frame: Size) -> View:
        return replace(self, frame=frame)

    def _of_shown(self, region: Region) -> Region:
        moved = region.moved(-self.shown.left, -self.shown.top)
        return moved.scaled(1 / self.shown.width, 1 / self.shown.height)


@dataclass(frozen=True, slots=True)
class SmartPlacement:
    """Where the content puts a window: its corner in the frame's pixels, unrounded, and what decided.

    `by` is one of faces, subject, residual.
    """

    left: Fraction
    top: Fraction
    by: str
