"""An operator's settings of the PixLab endpoints: size limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from cropmark.plan.plan import Limits

Bound = Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True)
class PixLabSettings:
    """Limits of images, in bytes, in pixels and per side."""

    source_bytes: Bound = 25 * 2**20
    """Largest image in bytes, uploaded or fetched."""
    source_pixels: Bound = 100_000_000
    """Largest image in pixels; of an animation, all frames together."""
    side: Bound = 16_384
    """Longest side in pixels, of an image and of a crop. A resize gives at most 10,000."""

    @property
    def limits(self) -> Limits:
        return Limits(
            source_bytes=self.source_bytes,
            source_side=self.side,
            source_pixels=self.source_pixels,
            side=self.side,
            animation_area=self.source_pixels,
        )
