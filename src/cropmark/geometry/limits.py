"""What a source may be to be worked on, and a result to be made; at a limit still passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.frame_state import frame_after
from cropmark.geometry.recipe import Compose, Op, OriginalBytes, Reason
from cropmark.geometry.rounding import length, length_below, root_below
from cropmark.model.formats import Info
from cropmark.model.problems import OutputTooLarge, SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import Fallback, Limits, OverLimit, Plan

INTERMEDIATE_FACTOR = 8
"""How many times longer than a result's side limit a side may be on the way to the result."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a source cannot be worked on, for the program and for people."""

    reason: Reason
    detail: str


def rejection_of(info: Info, plan: Plan) -> Rejection | None:
    """What speaks against working on a source, told by its header alone; None: nothing."""
    limits = plan.limits
    side, pixels = max(info.stored.width, info.stored.height), info.stored.area * info.frames
    if info.format not in plan.reads:
        return Rejection(Reason.UNSUPPORTED, f"{info.format.value} pictures are not transformed here")
    if info.bytes > limits.source_bytes:
        return Rejection(Reason.BYTES, f"the file has {info.bytes} bytes, at most {limits.source_bytes} are read")
    if side > limits.source_side:
        return Rejection(Reason.DIMENSIONS, f"the picture is {info.stored}, a side may have {limits.source_side} px")
    if info.frames > limits.source_frames:
        return Rejection(
            Reason.FRAMES, f"the picture has {info.frames} frames, at most {limits.source_frames} are read"
        )
    if pixels > limits.source_pixels:
        return Rejection(
            Reason.DIMENSIONS,
            f"the picture has {pixels} pixels in all frames, at most {limits.source_pixels} are read",
        )
    return None


def check_source(info: Info, plan: Plan) -> OriginalBytes | None:
    """The verdict on a first source that cannot be worked on, where the plan answers with it; None: it can be.

    Raises SourceUnusable or SourceTooLarge where the plan answers with a Problem.
    """
    found = rejection_of(info, plan)
    if found is None:
        return None
    unread = found.reason is Reason.UNSUPPORTED
    if (plan.on_unsupported if unread else plan.on_unusable) is Fallback.ORIGINAL:
        return OriginalBytes(found.reason)
    if unread:
        readable = ", ".join(sorted(f.value for f in plan.reads))
        raise SourceUnusable(found.detail, fix=f"use one of {readable}")
    raise SourceTooLarge(found.detail, fix="use a smaller picture")


def sides_within(size: Size, limits: Limits, parameter: str | None = None) -> Size:
    """The size, or where a side of it is past the limit and may be shrunk, the largest of its shape: 9000x90 becomes
    8192x82. Raises OutputTooLarge where it may not.

    Source: https://kontent.ai/learn/docs/apis/image-transformation-api
    """
    if max(size.width, size.height) <= limits.side:
        return size
    if limits.beyond is OverLimit.REFUSE:
        raise too_large(f"the result would be {size}, a side may have {limits.side} px", parameter)
    shrink = min(Fraction(limits.side, size.width), Fraction(limits.side, size.height))
    return Size(length(size.width * shrink), length(size.height * shrink))


def frames_within(size: Size, frames: int, limits: Limits) -> Size:
    """The size, or where all frames of an animation together are past their area and may be shrunk, a smaller one.

    Raises OutputTooLarge where it may not, or where even single pixels would be too many.
    Source: https://www.fastly.com/documentation/reference/io/width
    """
    area = limits.animation_area
    if area is None or frames == 1 or frames * size.area <= area:
        return size
    if limits.beyond is OverLimit.SHRINK:
        shrink = root_below(Fraction(area, frames * size.area))
        smaller = Size(length_below(size.width * shrink), length_below(size.height * shrink))
        if frames * smaller.area <= area:
            return smaller
    raise too_large(f"the result would have {frames} frames of {size}, all together may have {area} pixels")


def check_between(ops: Iterable[Op], frame: Size, frames: int, limits: Limits, parameter: str | None = None) -> None:
    """See that no op makes a frame that nobody could mean, whatever becomes of it after.

    Raises OutputTooLarge where a side is past 8 times the limit of a result's, or the pixels of all frames are more
    than those of the largest source and the largest animation that are allowed (docs/decisions/0011).
    """
    most = max(limits.source_pixels, limits.animation_area or 0)
    for op in ops:
        if isinstance(op, Compose):
            continue
        frame = frame_after(op, frame)
        if max(frame.width, frame.height) > INTERMEDIATE_FACTOR * limits.side or frame.area * frames > most:
            raise too_large(f"on the way to the result {frames} frames of {frame} would be made", parameter)


def too_large(detail: str, parameter: str | None = None) -> OutputTooLarge:
    return OutputTooLarge(detail, fix="ask for less", parameter=parameter)
