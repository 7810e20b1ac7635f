"""The look of an image in a few bytes: its colors, and placeholders to show until the image has loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from cropmark.model.formats import Info
from cropmark.model.values import Color

MAX_COLORS = 6
"""Largest number of colors in a palette."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """The facts from an image's header, and the look of its first frame, upright and in sRGB."""

    info: Info
    icc: str | None
    """The name of the embedded color profile; None without a profile, empty for one without a name."""
    palette: tuple[Color, ...]
    """Up to MAX_COLORS colors, the color with the largest area first; empty if every pixel is transparent."""
    blurhash: str
    thumbhash: bytes
    placeholder: bytes = field(repr=False)
    """A WebP image of at most 16 px."""
