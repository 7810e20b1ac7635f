"""Resolves a Plan against the headers of its sources. The result is a Recipe, a Need or OriginalBytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cropmark.geometry.alpha import without_alpha
from cropmark.geometry.encoding import (
    ChosenEncoding,
    byte_limit,
    can_be_recompressed,
    choose_encoding,
    is_source_encoding,
    lost_frames_warnings,
    unused_quality_warnings,
)
from cropmark.geometry.findings import Findings
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.h264 import even_size, sufficient_level
from cropmark.geometry.limits import (
    allowed_size,
    check_encodable,
    check_intermediates,
    check_source,
    frames_within,
    limits_for,
    sides_within,
)
from cropmark.geometry.recipe import (
    Compose,
    Extract,
    GainMapChange,
    Need,
    OriginalBytes,
    Reason,
    Recipe,
    Resolved,
    Scale,
)
from cropmark.geometry.steps import ResolveContext, apply_step, size_parameter
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.problems import SourceNotFound
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan, Video
from cropmark.plan.source import matches_any

NO_FINDINGS = Findings()


def resolve(plan: Plan, infos: Sequence[Info | None], findings: Findings = NO_FINDINGS) -> Resolved:
    """The Recipe of a plan for sources with these headers; or a Need, or OriginalBytes.

    A Need is a question that only pixels can answer. OriginalBytes means that the first source is sent unchanged.
    infos[0] is the header of the image; the others are those of overlays and montage cells. For an unavailable source,
    infos contains None.

    Raises SourceNotFound if the image is unavailable, CropOutOfBounds, EmptyResult, OutputTooLarge; and SourceUnusable
    or SourceTooLarge if a source is rejected and the plan does not send the original.
    """
    info = infos[0] if infos else None
    if info is None:
        raise SourceNotFound("the source image is not available", fix="check the path or URL of the image")
    verdict = check_source(info, plan)
    if verdict is not None:
        return verdict
    plan = replace(plan, limits=limits_for(info, plan.limits))
    context = ResolveContext(plan, info, infos, findings)
    state = _apply_steps(context)
    return _finish(context, state) if isinstance(state, FrameState) else state


def _apply_steps(context: ResolveContext) -> FrameState | Need | OriginalBytes:
    """The frame state after all steps, or the Need or OriginalBytes that one of them gives.

    Here, the output format is assumed to have alpha, so that no search depends on the encoding.
    """
    state = FrameState.from_info(context.info)
    for step in context.plan.steps:
        outcome = apply_step(step, state, context)
        if not isinstance(outcome, FrameState):
            return outcome
        state = outcome
    return state


def _finish(context: ResolveContext, state: FrameState) -> Recipe | OriginalBytes:
    """The Recipe for the state after all steps; OriginalBytes if nothing would change.

    If the frame exceeds the limits of a result, it is scaled down.
    """
    plan, info = context.plan, context.info
    # A montage shows nothing of the first source: rules about the source see a JPEG of the montage's size instead.
    subject = info if state.view is not None else Info(Format.JPEG, state.frame, info.bytes)
    if not state.ops and (info.first_frame_only or matches_any(plan.output.same_is_original, info)):
        # Without the limits of a result: the source is sent unchanged.
        limits = replace(plan.limits, avif_area=None)
        chosen = choose_encoding(plan.output, subject, state.frame, limits, unchanged=True)
        if is_source_encoding(chosen, plan.output, info):
            return OriginalBytes(
                Reason.NOTHING_TO_DO, (*state.warnings, *chosen.warnings, *unused_quality_warnings(chosen, info))
            )
    state = _at_allowed_width(context, state)
    state = _shrink_to(sides_within(state.frame, plan.limits), context, state)
    chosen = choose_encoding(plan.output, subject, state.frame, plan.limits)
    state = _shrink_to(frames_within(state.frame, chosen.frames, plan.limits), context, state)
    if chosen.encoding.video is not None:
        state = _as_video(context, state, chosen.encoding.video)
    check_intermediates(state.ops, info.size, chosen.frames, plan.limits)
    check_encodable(state.frame, chosen.encoding.format)
    return _recipe(context, subject, state, chosen)


def _recipe(context: ResolveContext, subject: Info, state: FrameState, chosen: ChosenEncoding) -> Recipe:
    plan, info = context.plan, context.info
    has_alpha = TRAITS[chosen.encoding.format].alpha
    ops = state.ops if has_alpha else without_alpha(state.ops, alpha=info.alpha)
    has_gain_map = chosen.encoding.gain_map and all(op.gain_map_change is not GainMapChange.REMOVAL for op in ops)
    encoding = replace(chosen.encoding, gain_map=has_gain_map)
    is_still = chosen.frames == 1
    if is_still and not any(isinstance(op, Compose) for op in ops):  # another image brings colors of its own
        encoding = replace(encoding, max_bytes=byte_limit(encoding, subject, state.frame))
    if not ops and can_be_recompressed(chosen, info):
        encoding = replace(encoding, recompressed=True)
    return Recipe(
        ops=ops,
        size=state.frame,
        frames=chosen.frames,
        encoding=encoding,
        larger_is_original=plan.output.larger_is_original and not ops and _changes_only_quality(chosen, info),
        warnings=(*state.warnings, *chosen.warnings, *lost_frames_warnings(chosen, plan.output, subject)),
        focus=state.focus,
    )


def _as_video(context: ResolveContext, state: FrameState, video: Video) -> FrameState:
    """The state with even sides, which H.264 requires.

    An odd side loses its last pixel. A side of 1 px becomes 2 px.
    """
    size = even_size(state.frame)
    if size != state.frame:
        state = state.with_warning("format", f"{size} instead of {state.frame}: the sides of an mp4 are even")
        if 1 in (state.frame.width, state.frame.height):
            state = _scale_to(size, context, state)
        else:
            state = state.apply(Extract(Box(0, 0, size.width, size.height)))
    if video.level is not None and sufficient_level(size, video.level) != video.level:
        state = state.with_warning("level", f"a higher one was used: {size} is too large for it")
    return state


def _shrink_to(size: Size, context: ResolveContext, state: FrameState) -> FrameState:
    """The state scaled down to the size, with a warning; unchanged if the frame has this size.

    If the last op is a Scale, that op gets the new size, so that the frame is resampled only once.
    """
    if size == state.frame:
        return state
    return _scale_to(size, context, state.with_shrink_warning(size_parameter(context), state.frame, size))


def _at_allowed_width(context: ResolveContext, state: FrameState) -> FrameState:
    """The state scaled to one of the site's allowed widths; unchanged if the frame still has the size of the source."""
    size = allowed_size(state.frame, context.plan.limits)
    if size == state.frame or (state.frame == context.info.size and state.view is not None):
        return state
    text = f"scaled to {size}, one of the site's widths"
    return _scale_to(size, context, state.with_warning(size_parameter(context), text))


def _scale_to(size: Size, context: ResolveContext, state: FrameState) -> FrameState:
    match state.ops:
        case (*before, Scale() as last):
            scaled = FrameState.from_info(context.info).apply(*before, replace(last, size=size))
            return replace(state, ops=scaled.ops, frame=scaled.frame)
        case _:
            return state.apply(Scale(size))


def _changes_only_quality(chosen: ChosenEncoding, info: Info) -> bool:
    """True if the result shows the same image as the source's bytes, in the same format.

    False if the source has an Exif orientation: browsers apply it, but other clients may ignore it.
    """
    return chosen.encoding.format is info.format and chosen.frames == info.frames and info.orientation == 1
