"""Limits of sources, intermediate frames and results. A value equal to its limit is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from cropmark.geometry.recipe import AnyOp, Compose, OriginalBytes, Reason
from cropmark.geometry.rounding import floor_side, round_side, sqrt_below
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.problems import OutputTooLarge, SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import Fallback, Limits, OverLimit, Plan

INTERMEDIATE_FACTOR = 8
"""A side of an intermediate frame may be this many times the limit of a result's side."""
MAX_RENDITION_BYTES = 256 * 2**20
"""Length of the largest result in bytes: 8192x8192 pixels of noise as an RGBA PNG."""
_METADATA_BYTES = 4 * 2**20
_FRAME_BYTES = 4096
_BYTES_PER_PIXEL = 8


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a source is not processed: a code and a text."""

    reason: Reason
    detail: str


BROKEN = Rejection(Reason.UNREADABLE, "the image is broken, or not an image")


def rejection_of(info: Info, plan: Plan) -> Rejection | None:
    """The reason to reject a source with this header; None if the source is accepted."""
    limits = plan.limits
    side, pixels = max(info.stored_size.width, info.stored_size.height), info.stored_size.area * info.frames
    if info.format not in plan.reads:
        return Rejection(Reason.UNSUPPORTED, f"{info.format.value} images are not transformed here")
    if info.not_drawn:
        return Rejection(Reason.UNSUPPORTED, f"{info.format.value} images with <{info.not_drawn}> are not drawn here")
    if info.bytes > limits.source_bytes:
        return Rejection(Reason.BYTES, f"the file has {info.bytes} bytes, at most {limits.source_bytes} are read")
    if side > limits.source_side:
        return Rejection(
            Reason.DIMENSIONS, f"the image is {info.stored_size}, a side may have at most {limits.source_side} px"
        )
    if info.frames > limits.source_frames:
        return Rejection(Reason.FRAMES, f"the image has {info.frames} frames, at most {limits.source_frames} are read")
    if pixels > limits.source_pixels:
        return Rejection(
            Reason.DIMENSIONS,
            f"the image has {pixels} pixels in all frames, at most {limits.source_pixels} are read",
        )
    return None


def check_source(info: Info, plan: Plan) -> OriginalBytes | None:
    """None if the first source is accepted; OriginalBytes if it is rejected and the plan sends the original instead.

    Raises SourceUnusable or SourceTooLarge if it is rejected and the plan does not send the original.
    """
    rejection = rejection_of(info, plan)
    if rejection is None:
        return None
    unsupported = rejection.reason is Reason.UNSUPPORTED
    if (plan.on_unsupported if unsupported else plan.on_unusable) is Fallback.ORIGINAL:
        return OriginalBytes(rejection.reason)
    raise source_problem(rejection, plan)


def source_problem(rejection: Rejection, plan: Plan, parameter: str | None = None) -> SourceUnusable | SourceTooLarge:
    """The Problem for a rejected source. Its text begins with the parameter that named the source, if known."""
    detail = rejection.detail if parameter is None else f"{parameter}: {rejection.detail}"
    if rejection.reason in (Reason.UNSUPPORTED, Reason.UNREADABLE):
        readable = ", ".join(sorted(f.value for f in plan.reads))
        return SourceUnusable(detail, fix=f"use one of {readable}", parameter=parameter)
    return SourceTooLarge(detail, fix="use a smaller image", parameter=parameter)


def limits_for(info: Info, limits: Limits) -> Limits:
    """The limits of a result from this source: SHRINK_LARGE_SOURCE is replaced by SHRINK or by REFUSE.

    It becomes SHRINK if the source itself exceeds the limits.
    """
    if limits.over_limit is not OverLimit.SHRINK_LARGE_SOURCE:
        return limits
    most = limits.animation_area
    is_large = max(info.size.width, info.size.height) > limits.side or (
        most is not None and info.animated and info.frames * info.size.area > most
    )
    return replace(limits, over_limit=OverLimit.SHRINK if is_large else OverLimit.REFUSE)


def sides_within(size: Size, limits: Limits, parameter: str | None = None) -> Size:
    """The size, scaled down so that both sides are within the limit: with 8192 px, 9000x90 becomes 8192x82.

    Raises OutputTooLarge if the limits do not allow shrinking.
    Source: https://kontent.ai/learn/docs/apis/image-transformation-api
    """
    if max(size.width, size.height) <= limits.side:
        return size
    if limits.over_limit is OverLimit.REFUSE:
        raise too_large(f"the result would be {size}, a side may have at most {limits.side} px", parameter)
    shrink = min(Fraction(limits.side, size.width), Fraction(limits.side, size.height))
    return Size(round_side(size.width * shrink), round_side(size.height * shrink))


def allowed_size(size: Size, limits: Limits) -> Size:
    """The size, scaled to the next larger allowed width; to the largest allowed width if none is larger.

    With the allowed widths 100 and 200, 466x366 becomes 200x157. Without allowed widths, the size is unchanged.
    """
    if not limits.allowed_widths or size.width in limits.allowed_widths:
        return size
    width = next((width for width in limits.allowed_widths if width >= size.width), limits.allowed_widths[-1])
    return Size(width, round_side(Fraction(size.height * width, size.width)))


def frames_within(size: Size, frames: int, limits: Limits) -> Size:
    """The size of an animation's frames, scaled down so that all frames together are within `animation_area`.

    Raises OutputTooLarge if the limits do not allow shrinking, or if even frames of one pixel are too many.
    Source: https://www.fastly.com/documentation/reference/io/width
    """
    area = limits.animation_area
    if area is None or frames == 1 or frames * size.area <= area:
        return size
    if limits.over_limit is OverLimit.SHRINK:
        shrink = sqrt_below(Fraction(area, frames * size.area))
        smaller = Size(floor_side(size.width * shrink), floor_side(size.height * shrink))
        if frames * smaller.area <= area:
            return smaller
    raise too_large(f"the result would have {frames} frames of {size}; together they may have at most {area} pixels")


def check_intermediates(
    ops: Iterable[AnyOp], frame: Size, frames: int, limits: Limits, parameter: str | None = None
) -> None:
    """Raise OutputTooLarge if an op makes an intermediate frame that is far larger than any allowed result.

    That is so if a side exceeds 8 times the limit of a result's side, or if all frames have more pixels than both the
    largest allowed source and the largest allowed animation (docs/decisions/0011).
    """
    most_pixels = max(limits.source_pixels, limits.animation_area or 0)
    for op in ops:
        if isinstance(op, Compose):
            continue
        frame = op.frame_after(frame)
        if max(frame.width, frame.height) > INTERMEDIATE_FACTOR * limits.side or frame.area * frames > most_pixels:
            raise too_large(f"an intermediate result would have {frames} frame(s) of {frame}", parameter)


def check_encodable(size: Size, format_: Format) -> None:
    """Raise OutputTooLarge if a side is longer than the encoder of the format can write."""
    longest = TRAITS[format_].max_side
    if max(size.width, size.height) > longest:
        name = format_.value
        raise too_large(f"the result would be {size}, a side of a {name} image may have at most {longest} px")


def most_encoded_bytes(size: Size, frames: int) -> int:
    """The most bytes that a result with `frames` frames of this size may have. No encoder needs more.

    Noise with alpha takes 4.2 bytes per pixel as PNG and 5.8 as lossless AVIF. The rest is for metadata.
    """
    allowed = _METADATA_BYTES + frames * (_FRAME_BYTES + _BYTES_PER_PIXEL * size.area)
    return min(MAX_RENDITION_BYTES, allowed)


def check_encoded(length: int, size: Size, frames: int) -> None:
    """Raise OutputTooLarge if the length of a result is above most_encoded_bytes()."""
    if length > (most := most_encoded_bytes(size, frames)):
        what = f"{frames} frame(s) of {size}"
        raise too_large(f"the result has {length} bytes, {what} may have at most {most}")


def too_large(detail: str, parameter: str | None = None) -> OutputTooLarge:
    return OutputTooLarge(detail, fix="request a smaller size", parameter=parameter)
