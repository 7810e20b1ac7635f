"""Decoding at a smaller scale: JPEG can be read at any eighth of its size, WebP at some, which costs far less.

Only where enough more pixels than the result's remain, and with a kernel that loses nothing by it.
Source: https://www.fastly.com/documentation/reference/io/resize-filter and the project's measurements
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.orientation import mirrored
from cropmark.geometry.recipe import Extract, Op, Recipe, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.rounding import ceil_px, nearest_even
from cropmark.geometry.subpixel_crop import cut_and_scaled
from cropmark.model.formats import Format, Info
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter, Orientation

_KERNELS = frozenset({Filter.LANCZOS3, Filter.LANCZOS2, Filter.CUBIC})
_SCALES = {
    Format.JPEG: tuple(Fraction(eighths, 8) for eighths in range(1, 8)),
    Format.WEBP: (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2)),
}
"""What the decoders can do, the smallest first."""
_REMAINS = {Format.JPEG: Fraction(3, 2), Format.WEBP: Fraction(2)}
"""So many times the result on each axis. A JPEG at 1.5 has lost 0.1 points of SSIMULACRA2, at 1.25 1.7 of
them (docs/decisions/0136)."""


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """How the first source is read: at what scale, and what is then done in place of the recipe's ops."""

    scale: Fraction
    ops: tuple[Op, ...]


def decoding(recipe: Recipe, info: Info) -> DecodePlan:
    """The cheapest reading of the source that shows the recipe's picture, its edges exact within half a pixel of it."""
    as_is = DecodePlan(Fraction(1), recipe.ops)
    if info.format not in _SCALES or info.animated:
        return as_is
    match _cut(recipe.ops, info.size):
        case box, [Scale(size, kernel), *rest] if kernel in _KERNELS:
            remains = _REMAINS[info.format]
            for scale in _SCALES[info.format]:
                if box.width * scale >= remains * size.width and box.height * scale >= remains * size.height:
                    return DecodePlan(scale, _on_scaled(box, Scale(size, kernel), tuple(rest), info, scale))
    return as_is


def decoded_size(info: Info, scale: Fraction) -> Size:
    """The upright frame as it is read at that scale: of a JPEG the pixels that are touched, a WebP's rounded."""
    width, height = info.size.width * scale, info.size.height * scale
    if info.format is Format.JPEG:
        return Size(ceil_px(width), ceil_px(height))
    return Size(nearest_even(width), nearest_even(height))


def _cut(ops: tuple[Op, ...], frame: Size) -> tuple[Box, list[Op]]:
    """What the first ops keep of the frame, and the ops after them."""
    match ops:
        case (Extract(box), *rest):
            return box, rest
        case _:
            return Box(0, 0, frame.width, frame.height), list(ops)


def _on_scaled(box: Box, to: Scale, rest: tuple[Op, ...], info: Info, scale: Fraction) -> tuple[Op, ...]:
    frame = decoded_size(info, scale)
    window = _of_jpeg(box, info, scale) if info.format is Format.JPEG else _of_webp(box, info.size, frame)
    ops = cut_and_scaled(window, to.size, frame, to.filter)
    return FrameState(frame, info.alpha, view=None).then(*ops, *rest).ops


def _of_jpeg(box: Box, info: Info, scale: Fraction) -> Region:
    """The box in pixels of the frame. They count from the stored picture's top left corner, wherever that is when it is
    upright; the last of a row and of a column may reach beyond the picture.
    """
    frame = decoded_size(info, scale)
    from_right, from_bottom = mirrored(Orientation(info.orientation))
    beyond_left = frame.width - info.size.width * scale if from_right else Fraction(0)
    beyond_top = frame.height - info.size.height * scale if from_bottom else Fraction(0)
    return Region.of(box).scaled(scale, scale).moved(beyond_left, beyond_top)


def _of_webp(box: Box, before: Size, frame: Size) -> Region:
    return Region.of(box).scaled(Fraction(frame.width, before.width), Fraction(frame.height, before.height))
