"""The View: the part of the upright source that a frame shows. It maps regions of the source to the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from cropmark.geometry.orientation import combine, rotate_region, unrotate_region
from cropmark.geometry.region import UNIT, Region
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Orientation


@dataclass(frozen=True, slots=True)
class View:
    """A frame that shows the region `shown` of the upright source, rotated by `orientation`.

    `shown` is in shares of the source's sides. It may extend outside the source (below 0, above 1) if space was added.
    """

    frame: Size
    shown: Region = UNIT
    orientation: Orientation = Orientation.NONE

    def to_frame(self, region: Region) -> Region:
        """The region in pixels of the frame, for a region in shares of the upright source. It may be outside the frame.

        In a 1000 px wide source cropped to its right half, a face from 3/4 to 1 of the width is at 250 to 500 px.
        """
        return rotate_region(self._of_shown(region), self.orientation).scaled(
            Fraction(self.frame.width), Fraction(self.frame.height)
        )

    def to_source(self, region: Region) -> Region:
        """The region in shares of the upright source, for a region in pixels of the frame."""
        shares = region.scaled(Fraction(1, self.frame.width), Fraction(1, self.frame.height))
        return (
            unrotate_region(shares, self.orientation)
            .scaled(self.shown.width, self.shown.height)
            .moved(self.shown.left, self.shown.top)
        )

    def extracted(self, box: Box) -> View:
        """The view after the frame is cropped to the box, or extended to a box that is partly outside the frame."""
        return self.resampled(Region.from_box(box), box.size)

    def rotated(self, orientation: Orientation) -> View:
        frame = self.frame.transposed if orientation.swaps_sides else self.frame
        return replace(self, frame=frame, orientation=combine(self.orientation, orientation))

    def scaled(self, frame: Size) -> View:
        return replace(self, frame=frame)

    def resampled(self, region: Region, frame: Size) -> View:
        """The view after a region, in pixels of the frame, is scaled to a new frame."""
        return replace(self, frame=frame, shown=self.to_source(region))

    def _of_shown(self, region: Region) -> Region:
        moved = region.moved(-self.shown.left, -self.shown.top)
        return moved.scaled(1 / self.shown.width, 1 / self.shown.height)


@dataclass(frozen=True, slots=True)
class SmartPlacement:
    """The position of a window that was placed by content: its top left corner, in unrounded pixels of the frame.

    `decided_by` is `faces`, `subject` or `residual`.
    """

    left: Fraction
    top: Fraction
    decided_by: str
