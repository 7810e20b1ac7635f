"""One Step met with the frame that the Steps before it left: what the Ops for it are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import assert_never

from cropmark.geometry.findings import FindBorder, Findings
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.limits import rejection_of, sides_within
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
    Op,
    OriginalBytes,
    Reason,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.region import Region
from cropmark.geometry.resize import asked, covered, inside, outside, stretched
from cropmark.geometry.smart import placed_by_content
from cropmark.geometry.subpixel_crop import cut_and_scaled
from cropmark.model.formats import Info
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

_LARGEST_RADIUS = Fraction(1000)


@dataclass(frozen=True, slots=True)
class ResolveContext:
    """All that a Step may know besides the frame it meets; the first of the infos is the picture's."""

    plan: Plan
    info: Info
    infos: Sequence[Info | None]
    findings: Findings


def after(step: AnyStep, drawing: FrameState, scene: ResolveContext) -> FrameState | Need | OriginalBytes:
    """The drawing after the step, or what stops it.

    Raises NothingLeft, CropOutOfBounds, OutputTooLarge.
    """
    if matches_any(step.skipped_for, scene.info):
        text = step.warns_if_skipped
        return drawing if text is None else drawing.warned(_name(step), text)
    match step:
        case TrimBorder():
            return _without_border(step, drawing, scene)
        case TrimEdges():
            return drawing.then(Extract(trimmed_box(step, drawing.frame)))
        case Crop():
            return _cropped(step, drawing, scene)
        case Resize():
            return _resized(step, drawing, scene)
        case Pad(edges, color):
            clear = CLEAR if drawing.alpha else WHITE
            return _seen_through(padded_box(edges, drawing.frame), color or clear, drawing)
        case Canvas():
            return _on_canvas(step, drawing)
        case Overlay():
            return _overlaid(step, drawing, scene)
        case Montage():
            return _montage(step, drawing, scene)
        case Orient() | Flatten() | Adjust() | Sharpen() | Blur() | Monochrome():
            return drawing.then(_op(step, drawing.frame))
        case _:
            assert_never(step)


# ------------------------------------------------------------------------------------------ cutting


def _without_border(step: TrimBorder, drawing: FrameState, scene: ResolveContext) -> FrameState | Need:
    if drawing.looks == len(scene.findings.borders):
        return Need(FindBorder(step.color, step.tolerance), drawing.ops)
    left = scene.findings.borders[drawing.looks]
    if left is None:
        raise EmptyResult(
            f"{step.parameter}: nothing is left, the whole picture has the border's color",
            fix="name another color or a smaller tolerance",
            parameter=step.parameter,
        )
    return drawing.looked().then(Extract(left))


def _cropped(crop: Crop, drawing: FrameState, scene: ResolveContext) -> FrameState | OriginalBytes:
    if crop.focus is Focus.SMART:
        crop, drawing = _with_place(crop, drawing, scene)
    box = crop_box(crop, drawing.frame)
    if box is not None:
        return drawing.then(Extract(box))
    if crop.overflow is Overflow.CLIP_OR_ORIGINAL:
        told = drawing.warned(crop.parameter, "wholly outside the picture: the original was sent")
        return OriginalBytes(Reason.OUTSIDE, told.warnings)
    return drawing.warned(crop.parameter, "crop region lies outside the image")


def _with_place(crop: Crop, drawing: FrameState, scene: ResolveContext) -> tuple[Crop, FrameState]:
    """The crop with the place that the content gives it, or the one written; the drawing knows which."""
    size = shape_size(crop.shape, drawing.frame)
    width, height = Fraction(size.width), Fraction(size.height)
    placed = placed_by_content(width, height, drawing.frame, drawing.view, scene.findings)
    if isinstance(placed, str):
        written = "center" if crop.x == crop.y == CENTERED else "position"
        return crop, replace(drawing, focus=f"{written} ({placed})")
    window = window_at(placed.left, placed.top, width, height, drawing.frame)
    moved = replace(crop, x=Offset(Pixels(window.left)), y=Offset(Pixels(window.top)))
    return moved, replace(drawing, focus=placed.by)


# ------------------------------------------------------------------------------------------ resizing


def _resized(step: Resize, drawing: FrameState, scene: ResolveContext) -> FrameState:
    """Scaled, and within the limit of a side at once, before a blur or a canvas meets a frame that is too large."""
    frame, wanted = drawing.frame, asked(step, drawing.frame)
    match step.fit:
        case Fit.STRETCH:
            size = stretched(frame, wanted)
        case Fit.INSIDE:
            size = inside(frame, wanted)
        case Fit.OUTSIDE:
            size = outside(frame, wanted)
        case Fit.COVER:
            return _covering(step, drawing, scene)
        case _:
            assert_never(step.fit)
    if size == frame:
        return drawing  # not scaled, so not limited here: it may be an original that goes out as it is
    most = _limited(size, step, scene)
    return drawing.shrunk(step.parameter, size, most).then(Scale(most, step.filter))


def _covering(step: Resize, drawing: FrameState, scene: ResolveContext) -> FrameState:
    shown = covered(drawing.frame, asked(step, drawing.frame), step.zoom)
    window, drawing = _window(step, shown.width, shown.height, drawing, scene)
    size = _limited(shown.size, step, scene)
    drawing = drawing.shrunk(step.parameter, shown.size, size)
    return drawing.then(*cut_and_scaled(window, size, drawing.frame, step.filter))


def _window(
    step: Resize, width: Fraction, height: Fraction, drawing: FrameState, scene: ResolveContext
) -> tuple[Region, FrameState]:
    """The window that a covering resize keeps, and the drawing that knows what placed it."""
    frame = drawing.frame
    match step.focus:
        case None:
            return window_around(CENTER, width, height, frame), drawing
        case Point():
            return window_around(step.focus, width, height, frame), drawing
        case Focus.SMART:
            placed = placed_by_content(width, height, frame, drawing.view, scene.findings)
        case _:
            assert_never(step.focus)
    if isinstance(placed, str):
        return window_around(CENTER, width, height, frame), replace(drawing, focus=f"center ({placed})")
    return window_at(placed.left, placed.top, width, height, frame), replace(drawing, focus=placed.by)


def _limited(size: Size, step: Resize, scene: ResolveContext) -> Size:
    return sides_within(size, scene.plan.limits, step.parameter)


# ------------------------------------------------------------------------------------------ room around


def _on_canvas(step: Canvas, drawing: FrameState) -> FrameState:
    box, frame = canvas_box(step, drawing.frame), drawing.frame
    holds_all = Box(-box.left, -box.top, frame.width, frame.height).within(box.size)
    if step.warns_when_cut and not holds_all:
        drawing = drawing.warned("canvas", f"the canvas of {box.size} cuts the picture of {frame}")
    return _seen_through(box, step.color or CLEAR, drawing)


def _seen_through(box: Box, color: Color, drawing: FrameState) -> FrameState:
    """The frame seen through a box in its coordinates: cut where the box lies inside it, else with room filled."""
    if box.within(drawing.frame):
        return drawing.then(Extract(box))
    # A picture far outside is laid just outside: libvips knows no coordinates above ten millions.
    left = max(-drawing.frame.width, min(-box.left, box.width))
    top = max(-drawing.frame.height, min(-box.top, box.height))
    return drawing.then(Embed(box.size, left, top, color))


# ------------------------------------------------------------------------------------------ pixels


def _op(step: Orient | Flatten | Adjust | Sharpen | Blur | Monochrome, frame: Size) -> Op:
    """The one op of a step that asks for nothing but the frame's size."""
    match step:
        case Orient(turn):
            return Rotate(turn)
        case Flatten(color):
            return Background(color)
        case Adjust(brightness, contrast, saturation):
            return ColorAdjust(brightness, contrast, saturation)
        case Sharpen(amount, radius, threshold):
            sigma = _radius(radius, frame, Fraction(0), _LARGEST_RADIUS) / 2
            return UnsharpMask(sigma, amount / 2, threshold)
        case Blur(radius, least, most):
            return GaussianBlur(_radius(radius, frame, least, most) / 2)
        case Monochrome(method):
            return Bilevel(method)
        case _:
            assert_never(step)


def _radius(radius: Length, frame: Size, least: Fraction, most: Fraction) -> Fraction:
    """In pixels; only a share is held within the bounds, since the dialect has refused pixels outside them."""
    found = radius.of(min(frame.width, frame.height))
    return max(least, min(found, most)) if isinstance(radius, Share) else found


# ------------------------------------------------------------------------------------------ other sources


def _overlaid(step: Overlay, drawing: FrameState, scene: ResolveContext) -> FrameState:
    """With the overlay, or without one that cannot be had or used; whoever fetched it has told of the former."""
    info = _source(step.source, scene)
    if info is None:
        return drawing
    found = rejection_of(info, scene.plan)
    if found is not None:
        return drawing.warned(step.parameter, f"left out, {found.detail}")
    return drawing.then(overlay(step, drawing.frame, info, scene.plan.limits))


def _montage(step: Montage, drawing: FrameState, scene: ResolveContext) -> FrameState:
    drawing = drawing.then(SolidColor(step.size, step.color))
    for cell in step.cells:
        info = _source(cell.source, scene)
        if info is None:
            continue
        found = rejection_of(info, scene.plan)
        if found is not None:
            drawing = drawing.warned("montage", f"picture {cell.source} left out, {found.detail}")
            continue
        filled = montage_cell(step, cell, info)
        if filled is None:
            drawing = drawing.warned("padding", f"it leaves nothing of picture {cell.source}")
            continue
        drawing = drawing.then(filled)
    return drawing


def _source(index: int, scene: ResolveContext) -> Info | None:
    return scene.infos[index] if index < len(scene.infos) else None


def sizing_name(scene: ResolveContext) -> str:
    """What the caller named the size by; the source itself where nothing did."""
    done = (step for step in reversed(scene.plan.steps) if not matches_any(step.skipped_for, scene.info))
    return next((_name(step) for step in done if isinstance(step, Resize | Pad | Canvas)), "source")


def _name(step: AnyStep) -> str:
    match step:
        case TrimBorder() | TrimEdges() | Crop() | Resize() | Overlay():
            return step.parameter
        case _:
            return type(step).__name__.lower()
