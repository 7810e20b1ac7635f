"""A Plan met with the headers of its pictures: what is to be done, in whole pixels, or why nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cropmark.geometry.alpha import without_alpha
from cropmark.geometry.encoding import ChosenEncoding, chosen, is_as_source
from cropmark.geometry.findings import Findings
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.limits import check_between, check_source, frames_within, sides_within
from cropmark.geometry.recipe import Need, OriginalBytes, Reason, Recipe, Resolved, Scale
from cropmark.geometry.steps import ResolveContext, after, sizing_name
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.problems import SourceNotFound
from cropmark.model.values import Size
from cropmark.plan.plan import Plan
from cropmark.plan.source import matches_any

NO_FINDINGS = Findings()


def resolve(plan: Plan, infos: Sequence[Info | None], findings: Findings = NO_FINDINGS) -> Resolved:
    """The Recipe for a picture of these headers, a Need for what only its pixels tell, or that it goes out as it is.

    infos[0] is the picture's, the others those of overlays and montage cells; None for one that could not be had.
    Raises CropOutOfBounds, NothingLeft, OutputTooLarge, and where the plan answers so SourceUnusable, SourceTooLarge.
    """
    info = infos[0] if infos else None
    if info is None:
        raise SourceNotFound("the picture could not be had")
    verdict = check_source(info, plan)
    if verdict is not None:
        return verdict
    scene = ResolveContext(plan, info, infos, findings)
    drawing = _drawn(scene)
    return _finished(scene, drawing) if isinstance(drawing, FrameState) else drawing


def _drawn(scene: ResolveContext) -> FrameState | Need | OriginalBytes:
    """What all steps make of the picture, as for an output that holds alpha: no look depends on the encoding."""
    drawing = FrameState.of(scene.info)
    for step in scene.plan.steps:
        found = after(step, drawing, scene)
        if not isinstance(found, FrameState):
            return found
        drawing = found
    return drawing


def _finished(scene: ResolveContext, drawing: FrameState) -> Recipe | OriginalBytes:
    """The drawing within the limits of a result, and its encoding."""
    plan, info = scene.plan, scene.info
    # Of a montage nothing is left of the first source: what goes by the source goes by a JPEG of its size.
    seen = info if drawing.view is not None else Info(Format.JPEG, drawing.frame, info.bytes)
    if not drawing.ops and matches_any(plan.output.same_is_original, info):
        how = chosen(plan.output, seen, drawing.frame, plan.limits)
        if is_as_source(how, info):  # before any limit of a result: what goes out is the source
            return OriginalBytes(Reason.NOTHING_TO_DO, (*drawing.warnings, *how.warnings))
    drawing = _at_most(sides_within(drawing.frame, plan.limits), scene, drawing)
    how = chosen(plan.output, seen, drawing.frame, plan.limits)
    drawing = _at_most(frames_within(drawing.frame, how.frames, plan.limits), scene, drawing)
    check_between(drawing.ops, info.size, how.frames, plan.limits)
    return _recipe(plan, info, drawing, how)


def _recipe(plan: Plan, info: Info, drawing: FrameState, how: ChosenEncoding) -> Recipe:
    holds_alpha = TRAITS[how.encoding.format].alpha
    ops = drawing.ops if holds_alpha else without_alpha(drawing.ops, alpha=info.alpha)
    return Recipe(
        ops=ops,
        size=drawing.frame,
        frames=how.frames,
        encoding=how.encoding,
        larger_is_original=plan.output.larger_is_original and not ops and _is_only_quality(how, info),
        warnings=(*drawing.warnings, *how.warnings),
        focus=drawing.focus,
    )


def _at_most(size: Size, scene: ResolveContext, drawing: FrameState) -> FrameState:
    """The drawing scaled down to the size, in one go with the scaling it ends with."""
    if size == drawing.frame:
        return drawing
    told = drawing.shrunk(sizing_name(scene), drawing.frame, size)
    match drawing.ops:
        case (*before, Scale(filter=kernel)):
            anew = FrameState.of(scene.info).then(*before, Scale(size, kernel))
            return replace(told, ops=anew.ops, frame=anew.frame)
        case _:
            return told.then(Scale(size))


def _is_only_quality(how: ChosenEncoding, info: Info) -> bool:
    """Whether the source, byte for byte, shows the same as the result. Browsers turn by Exif, caches need not."""
    return how.encoding.format is info.format and how.frames == info.frames and info.orientation == 1
