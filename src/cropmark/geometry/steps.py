"""Turns one Step into the Ops that apply it to a frame, in whole pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import assert_never

from cropmark.geometry.findings import FindBorder, Findings
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.limits import BROKEN, rejection_of, sides_within, source_problem
from cropmark.geometry.overlay import montage_cell, overlay
from cropmark.geometry.placement import (
    CENTER,
    canvas_box,
    crop_box,
    padded_box,
    shape_size,
    trimmed_box,
    window_around,
    window_at,
)
from cropmark.geometry.recipe import (
    Background,
    Bilevel,
    ColorAdjust,
    Embed,
    Extract,
    GaussianBlur,
    Need,
    OriginalBytes,
    Reason,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.region import Region
from cropmark.geometry.resize import coverage, inside_size, outside_size, requested_size, stretch_size
from cropmark.geometry.smart import content_placement
from cropmark.geometry.subpixel_crop import crop_and_scale
from cropmark.model.formats import Format, Info
from cropmark.model.problems import EmptyResult
from cropmark.model.values import CLEAR, WHITE, Box, Color, Length, Pixels, Point, Share, Size
from cropmark.plan.plan import Plan
from cropmark.plan.source import matches_any
from cropmark.plan.steps import (
    CENTERED,
    Adjust,
    AnyStep,
    Blur,
    Canvas,
    Crop,
    Fit,
    Flatten,
    Focus,
    Monochrome,
    Montage,
    Offset,
    Orient,
    Overflow,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    TrimBorder,
    TrimEdges,
)

_MAX_RADIUS = Fraction(1000)


@dataclass(frozen=True, slots=True)
class ResolveContext:
    """The inputs of resolve() that a Step may read in addition to the frame state.

    `info` is the header of the first source, which is infos[0].
    """

    plan: Plan
    info: Info
    infos: Sequence[Info | None]
    findings: Findings


def apply_step(step: AnyStep, state: FrameState, context: ResolveContext) -> FrameState | Need | OriginalBytes:
    """The frame state after the step; or a Need, or OriginalBytes.

    The result is a Need if the step depends on a border that the Findings do not contain. It is OriginalBytes if the
    original is sent instead. Raises EmptyResult, CropOutOfBounds, OutputTooLarge.
    """
    if matches_any(step.skipped_for, context.info):
        text = step.warning_if_skipped
        return state if text is None else state.with_warning(_parameter_name(step), text)
    match step:
        case Orient(orientation):
            return state.apply(Rotate(orientation))
        case TrimBorder():
            return _trim_border(step, state, context)
        case TrimEdges():
            return state.apply(Extract(trimmed_box(step, state.frame)))
        case Crop():
            return _crop(step, state, context)
        case Resize():
            # An SVG is drawn at the requested size: it has no pixels that enlarging would blur.
            is_drawing = context.info.format is Format.SVG
            return _resize(replace(step, enlarge=True) if is_drawing else step, state, context)
        case Pad(edges, color):
            default = CLEAR if state.alpha else WHITE
            return _extract_or_embed(padded_box(edges, state.frame), color or default, state)
        case Canvas():
            return _canvas(step, state)
        case Flatten(color):
            return state.apply(Background(color))
        case Adjust(brightness, contrast, saturation):
            return state.apply(ColorAdjust(brightness, contrast, saturation))
        case Sharpen(amount, radius, threshold):
            return state.apply(UnsharpMask(_radius_px(radius, state.frame) / 2, amount / 2, threshold))
        case Blur(radius, min_px, max_px):
            return state.apply(GaussianBlur(_radius_px(radius, state.frame, min_px, max_px) / 2))
        case Monochrome(method):
            return state.apply(Bilevel(method))
        case Overlay():
            return _overlay(step, state, context)
        case Montage():
            return _montage(step, state, context)
        case _:
            assert_never(step)


# ------------------------------------------------------------------------------------------ trim and crop


def _trim_border(step: TrimBorder, state: FrameState, context: ResolveContext) -> FrameState | Need:
    if state.borders_used == len(context.findings.borders):
        return Need(FindBorder(step.color, step.tolerance), state.ops)
    inner = context.findings.borders[state.borders_used]
    if inner is None:
        raise EmptyResult(
            f"{step.parameter}: nothing is left, the whole image has the border's color",
            fix="use another color or a smaller tolerance",
            parameter=step.parameter,
        )
    return state.with_border_used().apply(Extract(inner))


def _crop(crop: Crop, state: FrameState, context: ResolveContext) -> FrameState | OriginalBytes:
    if crop.focus is Focus.SMART:
        crop, state = _place_by_content(crop, state, context)
    box = crop_box(crop, state.frame)
    if box is not None:
        return state.apply(Extract(box))
    if crop.overflow is Overflow.CLIP_OR_ORIGINAL:
        warned = state.with_warning(crop.parameter, "entirely outside the image: the original was sent")
        return OriginalBytes(Reason.OUTSIDE, warned.warnings)
    return state.with_warning(crop.parameter, "crop region lies outside the image")


def _place_by_content(crop: Crop, state: FrameState, context: ResolveContext) -> tuple[Crop, FrameState]:
    """The crop at the position that the content gives, and the state with the reason for that position.

    If the content gives no position, the crop is unchanged.
    """
    size = shape_size(crop.shape, state.frame, crop.rounding)
    width, height = Fraction(size.width), Fraction(size.height)
    placement = content_placement(width, height, state.frame, state.view, context.findings)
    if isinstance(placement, str):
        fallback = "center" if crop.x == crop.y == CENTERED else "position"
        return crop, replace(state, focus=f"{fallback} ({placement})")
    window = window_at(placement.left, placement.top, width, height, state.frame)
    placed = replace(crop, x=Offset(Pixels(window.left)), y=Offset(Pixels(window.top)))
    return placed, replace(state, focus=placement.decided_by)


# ------------------------------------------------------------------------------------------ resize


def _resize(step: Resize, state: FrameState, context: ResolveContext) -> FrameState:
    """The state after a resize, scaled down to the limit of a result's side.

    So no later Step gets a larger frame.
    """
    frame, requested = state.frame, requested_size(step, state.frame)
    match step.fit:
        case Fit.STRETCH:
            size = stretch_size(frame, requested)
        case Fit.INSIDE:
            size = inside_size(frame, requested)
        case Fit.OUTSIDE:
            size = outside_size(frame, requested)
        case Fit.COVER:
            return _cover(step, state, context)
        case _:
            assert_never(step.fit)
    if size == frame:
        return state  # not scaled, so not limited here: the original may be sent unchanged
    limited = _within_side_limit(size, step, context)
    return state.with_shrink_warning(step.parameter, size, limited).apply(Scale(limited, step.filter))


def _cover(step: Resize, state: FrameState, context: ResolveContext) -> FrameState:
    covered = coverage(state.frame, requested_size(step, state.frame), step.zoom)
    window, state = _cover_window(step, covered.width, covered.height, state, context)
    size = _within_side_limit(covered.size, step, context)
    state = state.with_shrink_warning(step.parameter, covered.size, size)
    return state.apply(*crop_and_scale(window, size, state.frame, step.filter))


def _cover_window(
    step: Resize, width: Fraction, height: Fraction, state: FrameState, context: ResolveContext
) -> tuple[Region, FrameState]:
    """The window of the frame that a covering resize shows, and the state with the reason for its position."""
    frame = state.frame
    match step.focus:
        case None:
            return window_around(CENTER, width, height, frame), state
        case Point():
            return window_around(step.focus, width, height, frame), state
        case Focus.SMART:
            placement = content_placement(width, height, frame, state.view, context.findings)
        case _:
            assert_never(step.focus)
    if isinstance(placement, str):
        return window_around(CENTER, width, height, frame), replace(state, focus=f"center ({placement})")
    window = window_at(placement.left, placement.top, width, height, frame)
    return window, replace(state, focus=placement.decided_by)


def _within_side_limit(size: Size, step: Resize, context: ResolveContext) -> Size:
    return sides_within(size, context.plan.limits, step.parameter)


# ------------------------------------------------------------------------------------------ canvas


def _canvas(step: Canvas, state: FrameState) -> FrameState:
    box, frame = canvas_box(step, state.frame), state.frame
    holds_frame = Box(-box.left, -box.top, frame.width, frame.height).within(box.size)
    if step.warn_if_cut and not holds_frame:
        state = state.with_warning("canvas", f"the canvas of {box.size} cuts the image of {frame}")
    return _extract_or_embed(box, step.color or CLEAR, state)


def _extract_or_embed(box: Box, color: Color, state: FrameState) -> FrameState:
    """The state after the frame is cropped or extended to the box, which is in coordinates of the frame.

    `color` fills the part of the box outside the frame.
    """
    if box.within(state.frame):
        return state.apply(Extract(box))
    # A frame far outside the box is moved to just outside it: libvips accepts no coordinates above ten million.
    left = max(-state.frame.width, min(-box.left, box.width))
    top = max(-state.frame.height, min(-box.top, box.height))
    return state.apply(Embed(box.size, left, top, color))


# ------------------------------------------------------------------------------------------ radius


def _radius_px(radius: Length, frame: Size, min_px: Fraction = Fraction(0), max_px: Fraction = _MAX_RADIUS) -> Fraction:
    """The radius in pixels. A Share is clamped to the bounds.

    A radius in pixels is not clamped, because the dialect has checked it.
    """
    length = radius.of(min(frame.width, frame.height))
    return max(min_px, min(length, max_px)) if isinstance(radius, Share) else length


# ------------------------------------------------------------------------------------------ other sources


def _overlay(step: Overlay, state: FrameState, context: ResolveContext) -> FrameState:
    """The state with the overlay drawn on the frame, or with a warning if the overlay is left out.

    It is left out if its source is rejected, or if it is completely outside the frame. An unavailable source has added
    its warning earlier. If the overlay is required, an unavailable or rejected source raises SourceUnusable or
    SourceTooLarge.
    """
    info = _source_info(step.source, context)
    if info is None:
        if step.required and step.source < len(context.infos):
            raise source_problem(BROKEN, context.plan, step.parameter)
        return state
    rejection = rejection_of(info, context.plan)
    if rejection is not None:
        if step.required:
            raise source_problem(rejection, context.plan, step.parameter)
        return state.with_warning(step.parameter, f"left out, {rejection.detail}")
    drawn = overlay(step, state.frame, info, context.plan.limits)
    if drawn is None:
        return state.with_warning(step.parameter, "left out, it is completely outside of the image")
    return state.apply(drawn)


def _montage(step: Montage, state: FrameState, context: ResolveContext) -> FrameState:
    state = state.apply(SolidColor(step.size, step.color))
    for cell in step.cells:
        info = _source_info(cell.source, context)
        if info is None:
            continue
        rejection = rejection_of(info, context.plan)
        if rejection is not None:
            state = state.with_warning("montage", f"image {cell.source} left out, {rejection.detail}")
            continue
        compose = montage_cell(step, cell, info)
        if compose is None:
            state = state.with_warning("padding", f"leaves no pixel of image {cell.source}")
            continue
        state = state.apply(compose)
    return state


def _source_info(index: int, context: ResolveContext) -> Info | None:
    return context.infos[index] if index < len(context.infos) else None


def size_parameter(context: ResolveContext) -> str:
    """The name of the parameter that set the size of the result, for messages; "source" if no Step set it."""
    applied = (step for step in reversed(context.plan.steps) if not matches_any(step.skipped_for, context.info))
    return next((_parameter_name(step) for step in applied if isinstance(step, Resize | Pad | Canvas)), "source")


def _parameter_name(step: AnyStep) -> str:
    match step:
        case TrimBorder() | TrimEdges() | Crop() | Resize() | Overlay():
            return step.parameter
        case _:
            return type(step).__name__.lower()
