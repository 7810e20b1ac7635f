"""What the Steps so far have made of the picture: the one place where frame, alpha and view follow the Ops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from cropmark.geometry.recipe import (
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Extract,
    GaussianBlur,
    Op,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.view import View
from cropmark.model.formats import Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import RequestWarning
from cropmark.plan.steps import Orientation


@dataclass(frozen=True, slots=True)
class FrameState:
    """The frame after `ops`, and what else the next Step must know.

    `view` is None where the frame shows something else than the source. `looks` counts the borders looked for.
    """

    frame: Size
    alpha: bool
    view: View | None
    ops: tuple[Op, ...] = ()
    looks: int = 0
    focus: str | None = None
    warnings: tuple[RequestWarning, ...] = ()

    @classmethod
    def of(cls, info: Info) -> FrameState:
        """The picture as it is loaded."""
        return cls(info.size, info.alpha, View(info.size))

    def then(self, *ops: Op) -> FrameState:
        """After these ops too; those that change nothing are left out."""
        drawing = self
        for op in ops:
            if not is_idle(op, drawing.frame, alpha=drawing.alpha):
                drawing = drawing._after(op)
        return drawing

    def warned(self, parameter: str, text: str) -> FrameState:
        return replace(self, warnings=(*self.warnings, RequestWarning(parameter, text)))

    def shrunk(self, parameter: str, asked: Size, most: Size) -> FrameState:
        """With a warning where the size asked for is past the most there is."""
        if most == asked:
            return self
        return self.warned(parameter, f"scaled down from {asked} to {most}, the most there is")

    def looked(self) -> FrameState:
        return replace(self, looks=self.looks + 1)

    def _after(self, op: Op) -> FrameState:
        return replace(
            self,
            frame=frame_after(op, self.frame),
            alpha=alpha_after(op, alpha=self.alpha),
            view=None if self.view is None else _view_after(op, self.view),
            ops=joined(self.ops, op),
        )


def is_idle(op: Op, frame: Size, *, alpha: bool) -> bool:
    """Whether the op would leave every pixel of such a frame as it is."""
    match op:
        case Extract(box):
            return box == Box(0, 0, frame.width, frame.height)
        case Scale(size):
            return size == frame
        case Rotate(turn):
            return turn is Orientation.NONE
        case Embed(size, left, top):
            return size == frame and (left, top) == (0, 0)
        case Background(color):
            return not alpha or color.alpha == 0
        case ColorAdjust(brightness, contrast, saturation):
            return brightness == contrast == saturation == 0
        case GaussianBlur(sigma):
            return sigma == 0
        case UnsharpMask(sigma, gain):
            return sigma == 0 or gain == 0
        case Bilevel() | SolidColor() | Compose():
            return False
        case _:
            assert_never(op)


def frame_after(op: Op, frame: Size) -> Size:
    """The size of the frame after the op."""
    match op:
        case Extract(box):
            return box.size
        case Scale(size) | Embed(size) | SolidColor(size):
            return size
        case Rotate(turn):
            return frame.turned if turn.swaps_sides else frame
        case Background() | ColorAdjust() | GaussianBlur() | UnsharpMask() | Bilevel() | Compose():
            return frame
        case _:
            assert_never(op)


def alpha_after(op: Op, *, alpha: bool) -> bool:
    """Whether some pixel may be less than opaque after the op."""
    match op:
        case Embed(fill=color):
            return alpha or not color.opaque
        case Background(color):
            return alpha and not color.opaque
        case SolidColor(color=color):
            return not color.opaque
        case Extract() | Scale() | Rotate() | ColorAdjust() | GaussianBlur() | UnsharpMask() | Bilevel() | Compose():
            return alpha
        case _:
            assert_never(op)


def joined(ops: tuple[Op, ...], op: Op) -> tuple[Op, ...]:
    """The ops with one more; a cut of a cut is one cut."""
    match ops, op:
        case (*before, Extract(outer)), Extract(inner):
            box = Box(outer.left + inner.left, outer.top + inner.top, inner.width, inner.height)
            return (*before, Extract(box))
        case _:
            return (*ops, op)


def _view_after(op: Op, view: View) -> View | None:
    match op:
        case Extract(box):
            return view.extracted(box)
        case Scale(size):
            return view.scaled(size)
        case Rotate(turn):
            return view.rotated(turn)
        case Embed(size, left, top):
            return view.extracted(Box(-left, -top, size.width, size.height))
        case SolidColor():
            return None
        case Background() | ColorAdjust() | GaussianBlur() | UnsharpMask() | Bilevel() | Compose():
            return view
        case _:
            assert_never(op)
