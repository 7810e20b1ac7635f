"""Chooses the scale at which a source is decoded: a JPEG or WebP at 1/8, 1/4, 1/2 or 1, an SVG at any scale.

Decoding at a smaller scale is much cheaper. It is used only if the decoded frame is still large enough for the result,
and only with kernels that lose no quality.
Source: https://www.fastly.com/documentation/reference/io/resize-filter and docs/decisions/0151
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.orientation import mirrored_axes
from cropmark.geometry.recipe import AnyOp, Encoding, Extract, Recipe, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.rounding import ceil_px, round_half_even, round_side
from cropmark.geometry.subpixel_crop import crop_and_scale, scale_window
from cropmark.model.formats import Format, Info
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Filter, Orientation

_KERNELS = frozenset({Filter.LANCZOS3, Filter.LANCZOS2, Filter.CUBIC})
_SCALES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2))
"""Smallest first. libjpeg-turbo decodes other eighths without SIMD: 6/8 takes longer than the whole image."""
_HIGH_QUALITY = 90
_MAX_DRAWN = 12_000
"""The longest side, in pixels, of a drawn SVG."""
_MAX_SHIFT = Fraction(1, 20)
"""The largest error of a position, in pixels of the result."""


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """The scale at which the first source is decoded, and the ops for the decoded frame.

    These ops replace the ops of the recipe.
    """

    scale: Fraction
    ops: tuple[AnyOp, ...]


def decode_plan(recipe: Recipe, info: Info) -> DecodePlan:
    """The cheapest way to decode the first source for the recipe.

    The result shows exactly the same part of the source as with full decoding.
    """
    full_scale = DecodePlan(Fraction(1), recipe.ops)
    if info.format is Format.SVG:
        return _drawing_plan(recipe, info)
    if info.format not in (Format.JPEG, Format.WEBP) or info.animated:
        return full_scale
    match _split_first_extract(recipe.ops, info.size):
        case box, [Scale(size, kernel) as to, *rest] if kernel in _KERNELS:
            window = to.window_of(box.size).moved(Fraction(box.left), Fraction(box.top))
            factor = _min_oversampling(info.format, recipe.encoding)
            if not _keeps_colors_in_place(info, window, size):
                return full_scale
            for scale in _SCALES:
                if window.width * scale >= factor * size.width and window.height * scale >= factor * size.height:
                    ops = scale_window(_decoded_window(window, info, scale), size, kernel)
                    frame = FrameState(decoded_size(info, scale), info.alpha, view=None)
                    return DecodePlan(scale, frame.apply(*ops, *rest).ops)
    return full_scale


def _drawing_plan(recipe: Recipe, info: Info) -> DecodePlan:
    """The DecodePlan for an SVG: it is drawn at the size to which the first Scale resizes it, or near it."""
    match _split_first_extract(recipe.ops, info.size):
        case box, [Scale(size, kernel) as to, *rest]:
            window = to.window_of(box.size).moved(Fraction(box.left), Fraction(box.top))
            smaller, larger = sorted((size.width / window.width, size.height / window.height))
            scale = smaller if decoded_size(info, smaller) == size else larger  # they differ by rounding, or in ratio
            scale = min(scale, Fraction(_MAX_DRAWN, max(info.size.width, info.size.height)))
            drawn = decoded_size(info, scale)
            frame = FrameState(drawn, info.alpha, view=None)
            ops = crop_and_scale(_decoded_window(window, info, scale), size, drawn, kernel)
            return DecodePlan(scale, frame.apply(*ops, *rest).ops)
        case _:
            return DecodePlan(Fraction(1), recipe.ops)


def _min_oversampling(source: Format, encoding: Encoding) -> Fraction:
    """The least number of decoded pixels for each pixel of the result, along an axis.

    A JPEG decoded at 1.25 times the result loses half a point of SSIMULACRA2 if the result has quality 80, but three
    points if the result is lossless (docs/decisions/0151).
    """
    if source is Format.WEBP:
        return Fraction(2)
    is_precise = encoding.lossless or encoding.format is Format.PNG or encoding.quality >= _HIGH_QUALITY
    return Fraction(3, 2) if is_precise else Fraction(5, 4)


def _keeps_colors_in_place(info: Info, window: Region, size: Size) -> bool:
    """True if scaling a WebP during decoding shifts its colors by at most _MAX_SHIFT pixels of the result.

    A color sample of a lossy WebP is two pixels wide and high. On an odd side, the last sample extends one pixel beyond
    the image, but libwebp scales as if it did not, which shifts the colors.
    """
    if info.format is not Format.WEBP or info.lossless:
        return True
    across = info.size.width % 2 * size.width / window.width
    down = info.size.height % 2 * size.height / window.height
    return max(across, down) <= _MAX_SHIFT


def decoded_size(info: Info, scale: Fraction) -> Size:
    """The size of the upright frame if it is decoded at this scale.

    The sides of a JPEG are rounded up, those of other formats to the nearest pixel.
    """
    width, height = info.size.width * scale, info.size.height * scale
    if info.format is Format.JPEG:
        return Size(ceil_px(width), ceil_px(height))
    if info.format is Format.SVG:
        return Size(round_side(width), round_side(height))
    return Size(round_half_even(width), round_half_even(height))


def _split_first_extract(ops: tuple[AnyOp, ...], frame: Size) -> tuple[Box, list[AnyOp]]:
    """The box of the first op if that is an Extract, else of the whole frame; and the remaining ops."""
    match ops:
        case (Extract(box), *rest):
            return box, rest
        case _:
            return Box(0, 0, frame.width, frame.height), list(ops)


def _decoded_window(window: Region, info: Info, scale: Fraction) -> Region:
    """The window in pixels of the decoded frame, for a window in pixels of the upright source.

    A WebP is scaled as a whole to a rounded size. A JPEG is scaled by the exact factor from the top left corner of the
    stored image, so that its last row and column may be partly outside the image. If the upright frame is mirrored,
    that excess is at its left or top.
    """
    frame = decoded_size(info, scale)
    if info.format is not Format.JPEG:
        return window.scaled(Fraction(frame.width, info.size.width), Fraction(frame.height, info.size.height))
    from_right, from_bottom = mirrored_axes(Orientation(info.orientation))
    excess_left = frame.width - info.size.width * scale if from_right else Fraction(0)
    excess_top = frame.height - info.size.height * scale if from_bottom else Fraction(0)
    return window.scaled(scale, scale).moved(excess_left, excess_top)
