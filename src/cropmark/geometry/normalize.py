"""What a Plan means for one kind of source: a normal form, in which Plans are equal that make the same picture.

Left out is whatever the caller did not ask for: limits, which sources are read and what goes out for the others, when
an original goes out because nothing would be gained, and the words of warnings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import assert_never

from cropmark.geometry.encoding import chosen
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import READABLE, TRAITS, Format, Info
from cropmark.model.values import NOTHING, Length, Pixels, Point, Ratio, Share, Size
from cropmark.plan.plan import Limits, Plan
from cropmark.plan.source import matches_any
from cropmark.plan.steps import (
    Adjust,
    Align,
    AnyStep,
    Blur,
    Canvas,
    Crop,
    Dimensions,
    Edges,
    Fit,
    Flatten,
    Monochrome,
    Montage,
    Offset,
    Orient,
    Overflow,
    Overlay,
    Pad,
    Placement,
    Resize,
    Shape,
    Sharpen,
    TrimBorder,
    TrimEdges,
)

_SIZE = Size(64, 64)
_CENTER = Point(Fraction(1, 2), Fraction(1, 2))
_BLUR = Blur(NOTHING)


def _kinds() -> tuple[Info, ...]:
    """A picture of every kind that a rule may tell from another by its header alone."""
    found = []
    for format_ in sorted(READABLE, key=lambda f: f.value):
        traits = TRAITS[format_]
        for frames in (1, 12) if traits.animated else (1,):
            for alpha in (False, True) if traits.alpha else (False,):
                plain = Info(format_, _SIZE, 4096, frames=frames, alpha=alpha, lossless=format_ in _ALWAYS_LOSSLESS)
                found.append(plain)
                if format_ is Format.WEBP:
                    found.append(replace(plain, lossless=True))
                if format_ is Format.JPEG:
                    found.append(replace(plain, progressive=True))
    return tuple(found)


_ALWAYS_LOSSLESS = frozenset({Format.PNG, Format.GIF})

KINDS = _kinds()


@dataclass(frozen=True, slots=True)
class NormalizedPlan:
    """What is done to a source of one kind, and how the result is written, both in their normal form.

    Frozen values all the way down: equal means the same picture.
    """

    steps: tuple[AnyStep, ...]
    encoding: Encoding
    frames: int

    @property
    def ignoring_overflow(self) -> tuple[AnyStep, ...]:
        """The steps but for what becomes of crops that reach outside the frame."""
        return tuple(replace(s, overflow=Overflow.CLIP) if isinstance(s, Crop) else s for s in self.steps)


def meanings(plan: Plan) -> Mapping[Info, NormalizedPlan]:
    """What the plan means for every kind of source that it reads, at a size that no limit holds."""
    steps = tuple((step, normal(step)) for step in plan.steps)
    return {info: _meaning(plan, steps, info) for info in KINDS if info.format in plan.reads}


def _meaning(plan: Plan, steps: Sequence[tuple[AnyStep, AnyStep]], info: Info) -> NormalizedPlan:
    how = chosen(plan.output, info, _SIZE, Limits())
    done = [plain for step, plain in steps if not matches_any(step.skipped_for, info)]
    told = tuple(step for at, step in enumerate(done) if not _does_nothing(step, done[:at], info))
    return NormalizedPlan(told, _normal_encoding(how.encoding), how.frames)


def _normal_encoding(how: Encoding) -> Encoding:
    """Without a quality where none counts."""
    lossless = how.lossless or how.format is Format.GIF or (how.format is Format.PNG and not how.palette)
    return replace(how, quality=100) if lossless else how


def _does_nothing(step: AnyStep, before: list[AnyStep], info: Info) -> bool:
    """A color under what is opaque, or a clear one."""
    if not isinstance(step, Flatten):
        return False
    may_be_clear = info.alpha or any(isinstance(earlier, Pad | Canvas) for earlier in before)
    return step.color.alpha == 0 or not may_be_clear


# ------------------------------------------------------------------------------------------------ steps


def normal(step: AnyStep) -> AnyStep:
    """The step without the words of its messages, in the one form that all ways to say it share."""
    step = replace(step, skipped_for=(), warns_if_skipped=None)
    match step:
        case Crop():
            return _crop(step)
        case Resize():
            return _resize(step)
        case TrimBorder():
            return replace(step, parameter="")
        case TrimEdges(edges):
            return replace(step, parameter="", edges=_edges(edges))
        case Pad(edges):
            return replace(step, edges=_edges(edges))
        case Canvas():
            placed = replace(step, x=_placement(step.x), y=_placement(step.y), warns_when_cut=False)
            return replace(placed, shape=_shape(step.shape))
        case Blur(radius) if isinstance(radius, Pixels):
            # Bounds are for shares: the dialects refuse pixels past them.
            return replace(step, least=_BLUR.least, most=_BLUR.most)
        case Overlay(edges=edges):
            padded = _edges(edges) != Edges()
            return replace(step, parameter="", edges=_edges(edges), opaque_padding=step.opaque_padding and padded)
        case Orient() | Flatten() | Adjust() | Sharpen() | Blur() | Monochrome() | Montage():
            return step
        case _:
            assert_never(step)


def _crop(step: Crop) -> Crop:
    step = replace(step, shape=_shape(step.shape), x=_placement(step.x), y=_placement(step.y), parameter="")
    return replace(step, overflow=Overflow.REFUSE) if _stays_inside(step) else step


def _stays_inside(step: Crop) -> bool:
    """Whether no frame is too small for the crop, nor its corner anywhere but where there is room."""
    match step.shape:
        case Dimensions(Share(width), Share(height)):
            fits = width <= 1 and height <= 1
        case Dimensions():
            fits = False
        case Ratio():
            fits = True
    return fits and all(isinstance(place, Align) or place == Offset(NOTHING) for place in (step.x, step.y))


def _shape(shape: Shape) -> Shape:
    match shape:
        case Ratio(width, height):
            return Ratio(width / height, Fraction(1))
        case Dimensions():
            return shape


def _placement(place: Placement) -> Placement:
    match place:
        case Offset(distance):
            return Offset(_length(distance))
        case Align(part) if part == 0:
            return Offset(NOTHING)
        case Align():
            return place


def _edges(edges: Edges) -> Edges:
    return Edges(_length(edges.top), _length(edges.right), _length(edges.bottom), _length(edges.left))


def _length(length: Length) -> Length:
    return NOTHING if length.of(1) == 0 else length


def _resize(step: Resize) -> Resize:
    """With dpr multiplied in, without an `enlarge` that cannot, and one side alone under one name of its fit."""
    width, height = (side and side.times(step.dpr) for side in (step.width, step.height))
    step = replace(step, width=width, height=height, dpr=Fraction(1), parameter="")
    if step.focus == _CENTER:
        step = replace(step, focus=None)
    sides = [side for side in (width, height) if side is not None]
    if step.zoom == 1 and all(isinstance(side, Share) and side.part <= 1 for side in sides):
        step = replace(step, enlarge=False)
    return _of_one_side(step, sides[0]) if len(sides) == 1 else step


def _of_one_side(step: Resize, side: Length) -> Resize:
    """One side alone keeps the picture's ratio, whatever the fit, and shows all of it.

    Stretched, the other side follows the side already rounded: the same only where there was nothing to round.
    """
    if step.focus is not None or step.zoom != 1:
        return step
    whole = isinstance(side, Pixels) and side.count.denominator == 1
    return step if step.fit is Fit.STRETCH and not whole else replace(step, fit=Fit.INSIDE)
