"""The Ops that the gain map of an Ultra HDR JPEG can follow."""

from __future__ import annotations

from typing import Final

from cropmark.geometry.recipe import AnyOp, Background, ColorAdjust, Extract, GaussianBlur, Rotate, Scale, UnsharpMask

SHAPING: Final = (Extract, Rotate, Scale)
"""The Ops that change the shape of the frame, and so of the map."""
_COLORING: Final = (Background, ColorAdjust, GaussianBlur, UnsharpMask)
"""The Ops that change only values of the frame; the map does not change."""


def can_follow(ops: tuple[AnyOp, ...]) -> bool:
    """True if a gain map can be changed by these Ops too; False if they draw something that the map does not know."""
    return all(isinstance(op, (*SHAPING, *_COLORING)) for op in ops)
