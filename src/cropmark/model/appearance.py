"""The look of an image in a few bytes: its colors, and placeholders to show until it has loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from cropmark.model.formats import Info
from cropmark.model.values import Color

MAX_COLORS = 6
"""The most colors in a palette."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """The header's facts of an image, and the look of its upright first frame in sRGB."""

    info: Info
    icc: str | None
    """The name of the embedded color profile; None without a profile, empty for one without a name."""
    palette: tuple[Color, ...]
    """Up to MAX_COLORS colors, the one with the largest area first; none if every pixel is transparent."""
    blurhash: str
    thumbhash: bytes
    placeholder: bytes = field(repr=False)
    """A WebP image of at most 16 px."""
