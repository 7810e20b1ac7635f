"""The state of the frame between two Steps: its size, its alpha, the visible part of the source, and the Ops so far."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cropmark.geometry.recipe import AnyOp, Extract
from cropmark.geometry.view import View
from cropmark.model.formats import Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import RequestWarning


@dataclass(frozen=True, slots=True)
class FrameState:
    """The frame after `ops`, with the facts that the next Step needs.

    `view` is the part of the source that the frame shows; None if the frame does not show the source any more.
    `borders_used` is the number of borders in the Findings that earlier Steps have used.
    """

    frame: Size
    alpha: bool
    view: View | None
    ops: tuple[AnyOp, ...] = ()
    borders_used: int = 0
    focus: str | None = None
    warnings: tuple[RequestWarning, ...] = ()

    @classmethod
    def from_info(cls, info: Info) -> FrameState:
        """The state of an image directly after loading."""
        return cls(info.size, info.alpha, View(info.size))

    def apply(self, *ops: AnyOp) -> FrameState:
        """The state after these further ops. An op that changes nothing is left out."""
        state = self
        for op in ops:
            if not op.is_no_op(state.frame, alpha=state.alpha):
                state = state._after_op(op)
        return state

    def with_warning(self, parameter: str, text: str) -> FrameState:
        return replace(self, warnings=(*self.warnings, RequestWarning(parameter, text)))

    def with_shrink_warning(self, parameter: str, requested: Size, largest: Size) -> FrameState:
        """The state, with a warning if the largest allowed size is smaller than the requested size."""
        if largest == requested:
            return self
        return self.with_warning(parameter, f"scaled down from {requested} to {largest}, the largest size allowed")

    def with_border_used(self) -> FrameState:
        return replace(self, borders_used=self.borders_used + 1)

    def _after_op(self, op: AnyOp) -> FrameState:
        return replace(
            self,
            frame=op.frame_after(self.frame),
            alpha=op.alpha_after(alpha=self.alpha),
            view=None if self.view is None else op.view_after(self.view),
            ops=append_op(self.ops, op),
        )


def append_op(ops: tuple[AnyOp, ...], op: AnyOp) -> tuple[AnyOp, ...]:
    """The ops followed by `op`; two Extracts in a row become one."""
    match ops, op:
        case (*before, Extract(outer)), Extract(inner):
            box = Box(outer.left + inner.left, outer.top + inner.top, inner.width, inner.height)
            return (*before, Extract(box))
        case _:
            return (*ops, op)
