"""Short constructors for Plans, and checks of Recipes: the visible region and the properties of every Recipe."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

from cropmark.geometry.findings import Findings
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.recipe import (
    AnyOp,
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Extract,
    GaussianBlur,
    OriginalBytes,
    Recipe,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.region import Region
from cropmark.geometry.resolve import NO_FINDINGS, resolve
from cropmark.model.formats import Format, Info
from cropmark.model.values import Length, Pixels, Ratio, Share, Size
from cropmark.plan.plan import EncodingChoice, Limits, Output, Plan
from cropmark.plan.steps import Align, AnyStep, Crop, Dimensions, Edges, Fit, Offset, Overflow, Resize

Words = dict[str, Any]

HUNDRED = Size(100, 80)


def px(count: str | int) -> Pixels:
    return Pixels(Fraction(count))


def part(share: str) -> Share:
    return Share(Fraction(share))


def area(width: Length, height: Length, **more: Any) -> Crop:
    return Crop(Dimensions(width, height), **more)


def shape(width: str | int, height: str | int, **more: Any) -> Crop:
    return Crop(Ratio(Fraction(width), Fraction(height)), **more)


def to(width: Length | None = None, height: Length | None = None, **more: Any) -> Resize:
    return Resize(width, height, **more)


def edges(top: Length, right: Length, bottom: Length | None = None, left: Length | None = None) -> Edges:
    """Edges from two, three or four lengths, as in CSS."""
    return Edges(top, right, bottom or top, left or right)


def at(x: Length, y: Length) -> Words:
    return {"x": Offset(x), "y": Offset(y)}


def offset(axis: str, share: str) -> Words:
    return {axis: Align(Fraction(share))}


SAFE: Words = {"overflow": Overflow.CLIP}
UP: Words = {"enlarge": True}
INSIDE: Words = {"fit": Fit.INSIDE}
OUTSIDE: Words = {"fit": Fit.OUTSIDE}
COVER: Words = {"fit": Fit.COVER}


def header(size: Size = HUNDRED, kind: Format = Format.PNG, **more: Any) -> Info:
    return Info(**{"format": kind, "stored_size": size, "bytes": 10_000, **more})


def plan(*steps: AnyStep, choice: EncodingChoice | None = None, **more: Any) -> Plan:
    """A Plan of these steps; keyword arguments are fields of the Plan, else of its Output."""
    own = {name: more.pop(name) for name in ("limits", "reads", "on_unsupported", "on_unusable") if name in more}
    output = Output(choices=(choice or EncodingChoice(),), **more)
    return Plan(tuple(steps), output, **own)


def recipe_of(plan: Plan, *infos: Info | None, findings: Findings = NO_FINDINGS) -> Recipe:
    found = resolve(plan, infos or (header(),), findings)
    assert isinstance(found, Recipe)
    return found


def original_of(plan: Plan, *infos: Info | None) -> OriginalBytes:
    found = resolve(plan, infos or (header(),))
    assert isinstance(found, OriginalBytes)
    return found


def shown(ops: Sequence[AnyOp], size: Size) -> Region:
    """The region of the source that is visible after the ops, in the source's pixels."""
    state = reduce(FrameState.apply, ops, FrameState.from_info(header(size)))
    assert state.view is not None
    return state.view.shown.scaled(Fraction(size.width), Fraction(size.height))


def is_near(found: Region, expected: Region, slack: Fraction) -> bool:
    """True if every edge differs by at most `slack`."""
    pairs = (
        (found.left, expected.left),
        (found.top, expected.top),
        (found.right, expected.right),
        (found.bottom, expected.bottom),
    )
    return all(abs(one - other) <= slack for one, other in pairs)


def frame_at_the_end(ops: Sequence[AnyOp], frame: Size, infos: Sequence[Info | None]) -> Size:
    """The size after all ops, computed without FrameState; checks that no op reaches outside the frame before it."""
    for op in ops:
        match op:
            case Extract(box):
                assert box.within(frame), f"{box} reaches outside {frame}"
                frame = box.size
            case Scale(size):
                window = op.window_of(frame)
                assert min(window.left, window.top) >= 0
                assert window.right <= frame.width
                assert window.bottom <= frame.height
                frame = size
            case SolidColor(size):
                frame = size
            case Embed(size, left, top):
                assert -frame.width <= left <= size.width
                assert -frame.height <= top <= size.height
                frame = size
            case Rotate(orientation):
                frame = Size(frame.height, frame.width) if orientation.value >= 5 else frame
            case Compose(source, inner):
                info = infos[source]
                assert info is not None
                frame_at_the_end(inner, info.size, infos)
            case GaussianBlur(sigma) | UnsharpMask(sigma):
                assert sigma > 0
            case Background() | ColorAdjust() | Bilevel():
                pass
    return frame


def is_opaque(ops: Sequence[AnyOp], *, alpha: bool) -> bool:
    """True if no pixel can have alpha after the ops, computed without FrameState."""
    for op in ops:
        match op:
            case Background(color) if color.alpha == 255:
                alpha = False
            case SolidColor(color=color):
                alpha = color.alpha < 255
            case Embed(fill=color) if color.alpha < 255:
                alpha = True
            case _:
                pass
    return not alpha


SMALL = Limits(side=200, animation_area=200 * 200, avif_area=100 * 100)
