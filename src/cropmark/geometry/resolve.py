"""Resolving a Plan against the headers of its sources: a Recipe in whole pixels, or the reason for none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cropmark.geometry.alpha import without_alpha
from cropmark.geometry.encoding import (
    ChosenEncoding,
    choose_encoding,
    is_source_encoding,
    lost_frames_warnings,
    unused_quality_warnings,
)
from cropmark.geometry.findings import Findings
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.limits import (
    allowed_size,
    check_intermediates,
    check_source,
    frames_within,
    limits_for,
    sides_within,
)
from cropmark.geometry.recipe import Need, OriginalBytes, Reason, Recipe, Resolved, Scale
from cropmark.geometry.steps import ResolveContext, apply_step, size_parameter
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.problems import SourceNotFound
from cropmark.model.values import Size
from cropmark.plan.plan import Plan
from cropmark.plan.source import matches_any

NO_FINDINGS = Findings()


def resolve(plan: Plan, infos: Sequence[Info | None], findings: Findings = NO_FINDINGS) -> Resolved:
    """The Recipe for sources with these headers, a Need for facts that only pixels give, or OriginalBytes.

    infos[0] is the image's header, the others are those of overlays and montage cells; None for an unavailable source.
    Raises CropOutOfBounds, EmptyResult, OutputTooLarge, and SourceUnusable or SourceTooLarge if the plan asks for them.
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
    """The state after all steps, for an output with alpha, so that no border search depends on the encoding."""
    state = FrameState.from_info(context.info)
    for step in context.plan.steps:
        outcome = apply_step(step, state, context)
        if not isinstance(outcome, FrameState):
            return outcome
        state = outcome
    return state


def _finish(context: ResolveContext, state: FrameState) -> Recipe | OriginalBytes:
    """The Recipe, with the frame shrunk to the limits of a result, or OriginalBytes if nothing would change."""
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
    check_intermediates(state.ops, info.size, chosen.frames, plan.limits)
    return _recipe(context, subject, state, chosen)


def _recipe(context: ResolveContext, subject: Info, state: FrameState, chosen: ChosenEncoding) -> Recipe:
    plan, info = context.plan, context.info
    has_alpha = TRAITS[chosen.encoding.format].alpha
    ops = state.ops if has_alpha else without_alpha(state.ops, alpha=info.alpha)
    return Recipe(
        ops=ops,
        size=state.frame,
        frames=chosen.frames,
        encoding=chosen.encoding,
        larger_is_original=plan.output.larger_is_original and not ops and _changes_only_quality(chosen, info),
        warnings=(*state.warnings, *chosen.warnings, *lost_frames_warnings(chosen, plan.output, subject)),
        focus=state.focus,
    )


def _shrink_to(size: Size, context: ResolveContext, state: FrameState) -> FrameState:
    """The state scaled down to the size; a Scale at its end is replaced, so that the frame is resampled once."""
    if size == state.frame:
        return state
    return _scale_to(size, context, state.with_shrink_warning(size_parameter(context), state.frame, size))


def _at_allowed_width(context: ResolveContext, state: FrameState) -> FrameState:
    """The state at the next allowed width, whichever Steps made its size; unchanged if it has the source's size."""
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
    """True if the source's bytes show the same image as the result.

    They may not if the source has an Exif orientation: browsers apply it, other clients may ignore it.
    """
    return chosen.encoding.format is info.format and chosen.frames == info.frames and info.orientation == 1
