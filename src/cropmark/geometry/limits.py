"""Limits of sources, intermediate frames and results. A value equal to its limit passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from cropmark.geometry.recipe import AnyOp, Compose, OriginalBytes, Reason
from cropmark.geometry.rounding import floor_side, round_side, sqrt_below
from cropmark.model.formats import Info
from cropmark.model.problems import OutputTooLarge, SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import Fallback, Limits, OverLimit, Plan

INTERMEDIATE_FACTOR = 8
"""A side of an intermediate frame may be this many times the limit of a result's side."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a source is not processed, as a code and as text."""

    reason: Reason
    detail: str


def rejection_of(info: Info, plan: Plan) -> Rejection | None:
    """The reason, found in the header alone, not to process a source; None for an accepted source."""
    limits = plan.limits
    side, pixels = max(info.stored_size.width, info.stored_size.height), info.stored_size.area * info.frames
    if info.format not in plan.reads:
        return Rejection(Reason.UNSUPPORTED, f"{info.format.value} images are not transformed here")
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
    """OriginalBytes if the first source is rejected and the plan falls back to it; None if the source is accepted.

    Raises SourceUnusable or SourceTooLarge if the source is rejected and the plan asks for a Problem.
    """
    rejection = rejection_of(info, plan)
    if rejection is None:
        return None
    unsupported = rejection.reason is Reason.UNSUPPORTED
    if (plan.on_unsupported if unsupported else plan.on_unusable) is Fallback.ORIGINAL:
        return OriginalBytes(rejection.reason)
    if unsupported:
        readable = ", ".join(sorted(f.value for f in plan.reads))
        raise SourceUnusable(rejection.detail, fix=f"use one of {readable}")
    raise SourceTooLarge(rejection.detail, fix="use a smaller image")


def limits_for(info: Info, limits: Limits) -> Limits:
    """The limits of a result of this source: over_limit is either REFUSE or SHRINK."""
    if limits.over_limit is not OverLimit.SHRINK_LARGE_SOURCE:
        return limits
    most = limits.animation_area
    is_large = max(info.size.width, info.size.height) > limits.side or (
        most is not None and info.animated and info.frames * info.size.area > most
    )
    return replace(limits, over_limit=OverLimit.SHRINK if is_large else OverLimit.REFUSE)


def sides_within(size: Size, limits: Limits, parameter: str | None = None) -> Size:
    """The size, scaled down to the limit of a side if it is larger: 9000x90 becomes 8192x82.

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
    """The size at the next allowed width, or at the widest one, with the same aspect ratio: 466x366 of 100 and 200 is
    200x157."""
    if not limits.allowed_widths or size.width in limits.allowed_widths:
        return size
    width = next((width for width in limits.allowed_widths if width >= size.width), limits.allowed_widths[-1])
    return Size(width, round_side(Fraction(size.height * width, size.width)))


def frames_within(size: Size, frames: int, limits: Limits) -> Size:
    """The size, scaled down if all frames of the animation together exceed their area.

    Raises OutputTooLarge if the limits do not allow shrinking, or if frames of one pixel would still be too many.
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
    raise too_large(f"the result would have {frames} frames of {size}, all frames may have {area} pixels together")


def check_intermediates(
    ops: Iterable[AnyOp], frame: Size, frames: int, limits: Limits, parameter: str | None = None
) -> None:
    """Check that no op creates an intermediate frame that is far larger than any allowed result.

    Raises OutputTooLarge if a side exceeds 8 times the limit of a result's side, or if all frames have more pixels
    than the largest source and the largest animation allowed (docs/decisions/0011).
    """
    most_pixels = max(limits.source_pixels, limits.animation_area or 0)
    for op in ops:
        if isinstance(op, Compose):
            continue
        frame = op.frame_after(frame)
        if max(frame.width, frame.height) > INTERMEDIATE_FACTOR * limits.side or frame.area * frames > most_pixels:
            raise too_large(f"an intermediate result would have {frames} frame(s) of {frame}", parameter)


def too_large(detail: str, parameter: str | None = None) -> OutputTooLarge:
    return OutputTooLarge(detail, fix="request a smaller size", parameter=parameter)
