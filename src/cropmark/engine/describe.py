"""Describes an image: the colors and placeholders of its upright first frame, and the name of its profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from pyvips import Image

from cropmark.engine.compose import flatten_onto
from cropmark.engine.image import PROFILE, blob
from cropmark.engine.load import Header
from cropmark.engine.placeholders import Rgba, blurhash, thumbhash
from cropmark.engine.premultiply import premultiplied
from cropmark.engine.profile_name import profile_name
from cropmark.engine.thumbnail import WHITE, thumbnail_image
from cropmark.model.appearance import MAX_COLORS, Appearance
from cropmark.model.values import Color
from cropmark.runtime.reads import Data

LONG_SIDE: Final = 32
"""The longer side, in pixels, of the small copy that is described. It has more detail than any placeholder shows."""
PLACEHOLDER_SIDE: Final = 16
PLACEHOLDER_QUALITY: Final = 30

_OPAQUE: Final = 128
"""Pixels with an alpha below this do not count for the palette."""
_DISTINCT: Final = 56
"""The least difference between two colors of a palette: the sum of their differences in red, green and blue levels."""


def describe(data: Data, header: Header | None = None) -> Appearance:
    """The Appearance of an encoded image: its colors, placeholders and header.

    `header` is the header of the image if it was read already. Raises SourceUnusable.
    """
    small, info = thumbnail_image(data, LONG_SIDE, header)
    rgba = small if small.hasalpha() else small.bandjoin(255)
    pixels = _pixels(rgba)
    return Appearance(
        info,
        profile_name(profile) if (profile := blob(small, PROFILE)) else None,
        tuple(_palette(pixels)),
        blurhash(_pixels(flatten_onto(small, WHITE).bandjoin(255)), small.width),
        thumbhash(pixels, small.width),
        _placeholder(small),
    )


def _pixels(image: Image) -> list[Rgba]:
    levels = bytes(image.write_to_memory())
    return list(zip(*(levels[band::4] for band in range(4)), strict=True))


def _placeholder(small: Image) -> bytes:
    share = min(1.0, PLACEHOLDER_SIDE / max(small.width, small.height))
    tiny = premultiplied(small, lambda frame: frame.resize(share))
    webp: bytes = tiny.webpsave_buffer(Q=PLACEHOLDER_QUALITY, effort=4, keep="none")
    return webp


def _palette(pixels: Sequence[Rgba]) -> Iterator[Color]:
    """Yields the main colors of the pixels: the mean color of each group of similar pixels, from the largest group on.

    At most MAX_COLORS are yielded. A color close to an earlier one is left out.
    """
    groups: dict[tuple[int, int, int], list[Rgba]] = defaultdict(list)
    for pixel in pixels:
        if pixel[3] >= _OPAQUE:
            red, green, blue, _ = pixel
            groups[red >> 5, green >> 5, blue >> 5].append(pixel)
    chosen: list[Color] = []
    for group in sorted(groups.values(), key=len, reverse=True):
        color = Color(*(round(sum(pixel[n] for pixel in group) / len(group)) for n in range(3)))
        if len(chosen) < MAX_COLORS and all(_distance(color, other) >= _DISTINCT for other in chosen):
            chosen.append(color)
            yield color


def _distance(one: Color, two: Color) -> int:
    return abs(one.red - two.red) + abs(one.green - two.green) + abs(one.blue - two.blue)
