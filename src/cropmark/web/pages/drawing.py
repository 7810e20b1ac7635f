"""Small drawings of the frame before and after an operation, as inline SVG. The page's style sheet has the styles."""

from __future__ import annotations

from typing import Final

from cropmark.explanation.words import StepInWords
from cropmark.geometry.recipe import Embed, Extract, Scale
from cropmark.geometry.region import Region
from cropmark.model.values import Size

_WIDTH, _HEIGHT, _MARGIN = 132, 88, 4
_GAP: Final = 14


def frame_drawing(size: Size) -> str:
    """An SVG drawing of one frame."""
    scale = min((_WIDTH - 2 * _MARGIN) / size.width, (_HEIGHT - 2 * _MARGIN) / size.height)
    return _svg([_rectangle("after", _MARGIN, _top(size, scale), size.width * scale, size.height * scale)])


def step_drawing(step: StepInWords) -> str:
    """An SVG drawing of an operation: the frame before and after it, at the same scale.

    A crop marks its part of the frame before, and padding marks the original part of the frame after.
    """
    half = (_WIDTH - 2 * _MARGIN - _GAP) / 2
    scale = min(
        half / max(step.before.width, step.after.width),
        (_HEIGHT - 2 * _MARGIN) / max(step.before.height, step.after.height),
    )
    before = _rectangle(
        "before", _MARGIN, _top(step.before, scale), step.before.width * scale, step.before.height * scale
    )
    left = _MARGIN + half + _GAP
    after = _rectangle("after", left, _top(step.after, scale), step.after.width * scale, step.after.height * scale)
    arrow = f'<path class="arrow" d="M{_MARGIN + half + 3:.1f} {_HEIGHT / 2} h8 m-3 -3 l3 3 l-3 3"/>'
    return _svg([before, *_part(step, scale, left), after, arrow])


def _part(step: StepInWords, scale: float, left: float) -> list[str]:
    """The rectangle that marks the part that the frames before and after the operation have in common.

    It is drawn in the frame before for a crop, and in the frame after for padding. Empty for any other operation.
    """
    match step.op:
        case Extract(box):
            return [_scaled(Region.from_box(box), scale, _top(step.before, scale))]
        case Scale(window=Region() as window):
            return [_scaled(window, scale, _top(step.before, scale))]
        case Embed(_, x, y, _):
            size = step.before
            top = _top(step.after, scale) + y * scale
            return [_rectangle("part", left + x * scale, top, size.width * scale, size.height * scale)]
        case _:
            return []


def _top(size: Size, scale: float) -> float:
    """The y coordinate of the top edge of a frame that is centered vertically in the drawing."""
    return (_HEIGHT - size.height * scale) / 2


def _scaled(region: Region, scale: float, top: float) -> str:
    x, y = _MARGIN + float(region.left) * scale, top + float(region.top) * scale
    return _rectangle("part", x, y, float(region.width) * scale, float(region.height) * scale)


def _rectangle(name: str, x: float, y: float, width: float, height: float) -> str:
    sides = f'width="{max(1.0, width):.1f}" height="{max(1.0, height):.1f}"'
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" {sides}/>'


def _svg(parts: list[str]) -> str:
    return (
        f'<svg class="drawing" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )
