"""What the Steps so far have made of the picture: the one place where frame, alpha and view follow the Ops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from cropmark.geometry.recipe import (
    BlackWhite,
    Blank,
    Compose,
    Embed,
    Extract,
    Gauss,
    Op,
    Rotate,
    Scale,
    Tone,
    Under,
    Unsharp,
)
from cropmark.geometry.view import View
from cropmark.model.formats import Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Warned
from cropmark.plan.steps import Turn


@dataclass(frozen=True, slots=True)
class Drawing:
    """The frame after `ops`, and what else the next Step must know.

    `view` is None where the frame shows something else than the source. `looks` counts the borders looked for.
    """

    frame: Size
    alpha: bool
    view: View | None
    ops: tuple[Op, ...] = ()
    looks: int = 0
    focus: str | None = None
    warnings: tuple[Warned, ...] = ()

    @classmethod
    def of(cls, info: Info) -> Drawing:
        """The picture as it is loaded."""
        return cls(info.size, info.alpha, View(info.size))

    def then(self, *ops: Op) -> Drawing:
        """After these ops too; those that change nothing are left out."""
        drawing = self
        for op in ops:
            if not is_idle(op, drawing.frame, alpha=drawing.alpha):
                drawing = drawing._after(op)
        return drawing

    def warned(self, parameter: str, text: str) -> Drawing:
        return replace(self, warnings=(*self.warnings, Warned(parameter, text)))

    def shrunk(self, parameter: str, asked: Size, most: Size) -> Drawing:
        """With a warning where the size asked for is past the most there is."""
        if most == asked:
            return self
        return self.warned(parameter, f"scaled down from {asked} to {most}, the most there is")

    def looked(self) -> Drawing:
        return replace(self, looks=self.looks + 1)

    def _after(self, op: Op) -> Drawing:
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
            return turn is Turn.NONE
        case Embed(size, left, top):
            return size == frame and (left, top) == (0, 0)
        case Under(colour):
            return not alpha or colour.alpha == 0
        case Tone(brightness, contrast, saturation):
            return brightness == contrast == saturation == 0
        case Gauss(sigma):
            return sigma == 0
        case Unsharp(sigma, gain):
            return sigma == 0 or gain == 0
        case BlackWhite() | Blank() | Compose():
            return False
        case _:
            assert_never(op)


def frame_after(op: Op, frame: Size) -> Size:
    """The size of the frame after the op."""
    match op:
        case Extract(box):
            return box.size
        case Scale(size) | Embed(size) | Blank(size):
            return size
        case Rotate(turn):
            return frame.turned if turn.swaps_sides else frame
        case Under() | Tone() | Gauss() | Unsharp() | BlackWhite() | Compose():
            return frame
        case _:
            assert_never(op)


def alpha_after(op: Op, *, alpha: bool) -> bool:
    """Whether some pixel may be less than opaque after the op."""
    match op:
        case Embed(fill=colour):
            return alpha or not colour.opaque
        case Under(colour):
            return alpha and not colour.opaque
        case Blank(colour=colour):
            return not colour.opaque
        case Extract() | Scale() | Rotate() | Tone() | Gauss() | Unsharp() | BlackWhite() | Compose():
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
        case Blank():
            return None
        case Under() | Tone() | Gauss() | Unsharp() | BlackWhite() | Compose():
            return view
        case _:
            assert_never(op)
