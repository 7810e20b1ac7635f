"""An operator's settings of the PixLab endpoints: size limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from cropmark.plan.plan import Limits

Bound = Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True)
class PixLabSettings:
    """Limits of the images that the endpoints accept: bytes, pixels, and the longest side."""

    max_source_bytes: Bound = 25 * 2**20
    """Largest image in bytes, uploaded or fetched."""
    max_source_pixels: Bound = 100_000_000
    """Largest image in pixels; of an animation, all frames together."""
    max_side: Bound = 16_384
    """Longest permitted side in pixels of a source and a crop. For a resize the limit is at most 10,000."""

    @property
    def limits(self) -> Limits:
        return Limits(
            source_bytes=self.max_source_bytes,
            source_side=self.max_side,
            source_pixels=self.max_source_pixels,
            side=self.max_side,
            animation_area=self.max_source_pixels,
        )
