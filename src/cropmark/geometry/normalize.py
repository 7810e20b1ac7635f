"""The normal form of a Plan for one kind of source. Plans that render the same image have equal normal forms.

The normal form does not contain limits, readable formats, fallbacks, the texts of warnings, and the rules for sending
the original if nothing would change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from cropmark.geometry.encoding import choose_encoding
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import READABLE, TRAITS, Format, Info
from cropmark.model.values import ZERO_LENGTH, Length, Pixels, Point, Ratio, Share, Size
from cropmark.plan.equivalents import with_covering_resizes
from cropmark.plan.plan import Limits, Plan
from cropmark.plan.source import matches_any
from cropmark.plan.steps import (
    Align,
    AnyStep,
    Blur,
    Canvas,
    Crop,
    Dimensions,
    Edges,
    Fit,
    Flatten,
    Offset,
    Overflow,
    Overlay,
    Pad,
    Placement,
    Resize,
    Rounding,
    Shape,
    TrimBorder,
    TrimEdges,
)

_SIZE = Size(64, 64)
_CENTER = Point(Fraction(1, 2), Fraction(1, 2))
_BLUR = Blur(ZERO_LENGTH)
_NO_QUALITY = 100
"""The quality in the normal form of an encoding that uses no quality."""


def _sample_infos() -> tuple[Info, ...]:
    """A header for each kind of source that a rule can distinguish by the header.

    Formats that need an extra are left out, so that a translation is the same on every machine.
    """
    infos = []
    for format_ in sorted((f for f in READABLE if TRAITS[f].extra is None), key=lambda f: f.value):
        traits = TRAITS[format_]
        for frames in (1, 12) if traits.animated else (1,):
            for alpha in (False, True) if traits.alpha else (False,):
                plain = Info(format_, _SIZE, 4096, frames=frames, alpha=alpha, lossless=format_ in _ALWAYS_LOSSLESS)
                infos.append(plain)
                if format_ is Format.WEBP:
                    infos.append(replace(plain, lossless=True))
                if format_ is Format.JPEG:
                    infos.append(replace(plain, progressive=True))
    return tuple(infos)


_ALWAYS_LOSSLESS = frozenset({Format.PNG, Format.GIF})

SAMPLE_INFOS = _sample_infos()


@dataclass(frozen=True, slots=True)
class NormalizedPlan:
    """The steps and the encoding of a Plan for one kind of source, in normal form.

    Equal values render the same image.
    """

    steps: tuple[AnyStep, ...]
    encoding: Encoding
    frames: int
    is_stored: bool = False
    """True if the stored bytes are sent unchanged; `encoding` then describes the source."""

    @property
    def approximate_steps(self) -> tuple[AnyStep, ...]:
        """The steps in a coarser form, for comparing plans that are nearly equal.

        It ignores the overflow rules of crops, and differences of less than a source pixel.
        """
        steps = with_covering_resizes(self.steps)
        return tuple(
            replace(s, overflow=Overflow.CLIP, rounding=Rounding.NEAREST) if isinstance(s, Crop) else s for s in steps
        )


def normalized_plans(plan: Plan | None) -> Mapping[Info, NormalizedPlan]:
    """The normal form of a plan for every kind of source that it reads. The sources are smaller than all limits.

    Without a plan (None), the stored bytes are sent unchanged.
    """
    if plan is None:
        return {info: _stored(info) for info in SAMPLE_INFOS}
    steps = tuple((step, normalize(step)) for step in plan.steps)
    return {info: _normalized_plan(plan, steps, info) for info in SAMPLE_INFOS if info.format in plan.reads}


def _stored(info: Info) -> NormalizedPlan:
    encoding = Encoding(info.format, _NO_QUALITY, lossless=info.lossless, progressive=info.progressive)
    return NormalizedPlan((), _normalize_encoding(encoding), info.frames, is_stored=True)


def _normalized_plan(plan: Plan, steps: Sequence[tuple[AnyStep, AnyStep]], info: Info) -> NormalizedPlan:
    chosen = choose_encoding(plan.output, info, _SIZE, Limits())
    applied = [normal for step, normal in steps if not matches_any(step.skipped_for, info)]
    effective = tuple(step for at, step in enumerate(applied) if not _is_no_op(step, applied[:at], info))
    return NormalizedPlan(effective, _normalize_encoding(chosen.encoding), chosen.frames)


def _normalize_encoding(encoding: Encoding) -> Encoding:
    """The encoding without the option `compact`; its quality is 100 if the encoder ignores the quality."""
    lossless = (
        encoding.lossless or encoding.format is Format.GIF or (encoding.format is Format.PNG and not encoding.palette)
    )
    return replace(encoding, quality=_NO_QUALITY if lossless else encoding.quality, compact=False)


def _is_no_op(step: AnyStep, before: list[AnyStep], info: Info) -> bool:
    """True for a Flatten without effect: it has a transparent color, or the frame is opaque."""
    if not isinstance(step, Flatten):
        return False
    may_have_alpha = info.alpha or any(isinstance(earlier, Pad | Canvas) for earlier in before)
    return step.color.alpha == 0 or not may_have_alpha


# ------------------------------------------------------------------------------------------------ steps


def normalize(step: AnyStep) -> AnyStep:
    """The step in normal form: one form for all equivalent spellings, without texts of messages.

    A Step with a single spelling and without such texts needs no case here.
    """
    step = replace(step, skipped_for=(), warning_if_skipped=None)
    match step:
        case Crop():
            return _normalize_crop(step)
        case Resize():
            return _normalize_resize(step)
        case TrimBorder():
            return replace(step, parameter="")
        case TrimEdges(edges):
            return replace(step, parameter="", edges=_normalize_edges(edges))
        case Pad(edges):
            return replace(step, edges=_normalize_edges(edges))
        case Canvas():
            placed = replace(step, x=_normalize_placement(step.x), y=_normalize_placement(step.y), warn_if_cut=False)
            return replace(placed, shape=_normalize_shape(step.shape))
        case Blur(radius) if isinstance(radius, Pixels):
            # The bounds apply to shares only: the dialects reject pixels outside them.
            return replace(step, min_px=_BLUR.min_px, max_px=_BLUR.max_px)
        case Overlay(edges=edges):
            padded = _normalize_edges(edges) != Edges()
            return replace(
                step, parameter="", edges=_normalize_edges(edges), opaque_padding=step.opaque_padding and padded
            )
        case _:
            return step


def _normalize_crop(step: Crop) -> Crop:
    step = replace(
        step,
        shape=_normalize_shape(step.shape),
        x=_normalize_placement(step.x),
        y=_normalize_placement(step.y),
        parameter="",
    )
    if _is_whole(step):
        step = replace(step, rounding=Rounding.NEAREST)
    return replace(step, overflow=Overflow.REFUSE) if _stays_inside(step) else step


def _is_whole(step: Crop) -> bool:
    """True if all lengths of the crop are whole pixels, so that nothing is rounded."""
    match step:
        case Crop(Dimensions(width, height), Offset(left), Offset(top)):
            lengths = (width, height, left, top)
            return all(isinstance(length, Pixels) and length.count.denominator == 1 for length in lengths)
        case _:
            return False


def _stays_inside(step: Crop) -> bool:
    """True if the crop is inside a frame of any size."""
    match step.shape:
        case Dimensions(Share(width), Share(height)):
            fits = width <= 1 and height <= 1
        case Dimensions():
            fits = False
        case Ratio():
            fits = True
    return fits and all(isinstance(place, Align) or place == Offset(ZERO_LENGTH) for place in (step.x, step.y))


def _normalize_shape(shape: Shape) -> Shape:
    match shape:
        case Ratio(width, height):
            return Ratio(width / height, Fraction(1))
        case Dimensions():
            return shape


def _normalize_placement(place: Placement) -> Placement:
    match place:
        case Offset(distance):
            return Offset(_normalize_length(distance))
        case Align(part) if part == 0:
            return Offset(ZERO_LENGTH)
        case Align():
            return place


def _normalize_edges(edges: Edges) -> Edges:
    return Edges(
        _normalize_length(edges.top),
        _normalize_length(edges.right),
        _normalize_length(edges.bottom),
        _normalize_length(edges.left),
    )


def _normalize_length(length: Length) -> Length:
    return ZERO_LENGTH if length.of(1) == 0 else length


def _normalize_resize(step: Resize) -> Resize:
    """The resize in normal form: dpr multiplied into the lengths, and defaults for fields without effect."""
    width, height = (side and side.times(step.dpr) for side in (step.width, step.height))
    step = replace(step, width=width, height=height, dpr=Fraction(1), parameter="")
    if step.focus == _CENTER:
        step = replace(step, focus=None)
    sides = [side for side in (width, height) if side is not None]
    if step.zoom == 1 and all(isinstance(side, Share) and side.part <= 1 for side in sides):
        step = replace(step, enlarge=False)
    return _normalize_single_side(step, sides[0]) if len(sides) == 1 else step


def _normalize_single_side(step: Resize, side: Length) -> Resize:
    """The resize with Fit.INSIDE, if its fit has no effect because it has only one side.

    Without focus and zoom, every fit shows the whole image and preserves the aspect ratio. Only Fit.STRETCH can differ:
    it computes the missing side from the rounded side, which differs unless the given side is a whole number.
    """
    if step.focus is not None or step.zoom != 1:
        return step
    whole = isinstance(side, Pixels) and side.count.denominator == 1
    return step if step.fit is Fit.STRETCH and not whole else replace(step, fit=Fit.INSIDE)
