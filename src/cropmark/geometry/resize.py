"""The sizes that a resize leads to: the formulas of the documents, in exact fractions, rounded once at the end.

W and H are the frame's sides, w' and h' the result's, tw and th the lengths asked for, times dpr.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.rounding import length
from cropmark.model.values import Size
from cropmark.plan.steps import Resize


@dataclass(frozen=True, slots=True)
class RequestedSize:
    """The lengths asked for in pixels, exact and above 0, dpr included; None: it follows from the other."""

    width: Fraction | None
    height: Fraction | None
    enlarge: bool = False

    def __post_init__(self) -> None:
        if (self.width is None and self.height is None) or not all(v is None or v > 0 for v in self._both):
            raise ValueError(f"a size is asked for by lengths above 0, not {self._both}")

    @property
    def _both(self) -> tuple[Fraction | None, Fraction | None]:
        return self.width, self.height

    def scales(self, frame: Size) -> list[Fraction]:
        """How many times larger the frame is to become, a number for each length given."""
        sides = ((self.width, frame.width), (self.height, frame.height))
        return [wanted / side for wanted, side in sides if wanted is not None]


def asked(step: Resize, frame: Size) -> RequestedSize:
    """What a resize asks for in a frame. Without any length: the frame's own, times dpr."""
    width = None if step.width is None else step.width.of(frame.width) * step.dpr
    height = None if step.height is None else step.height.of(frame.height) * step.dpr
    if width is None and height is None:
        width, height = frame.width * step.dpr, frame.height * step.dpr
    return RequestedSize(width, height, step.enlarge)


def stretched(frame: Size, asked: RequestedSize) -> Size:
    """Exactly the box; one length alone takes the other side along, in proportion of the side already rounded.

    Where nothing may grow each axis is held on its own: 1600x900 asked for 2000x400 becomes 1600x400.
    Source: https://www.fastly.com/documentation/reference/io/width
    """
    if asked.height is None:
        width = length(_held(asked.width, frame.width, asked))
        return Size(width, length(Fraction(frame.height * width, frame.width)))
    if asked.width is None:
        height = length(_held(asked.height, frame.height, asked))
        return Size(length(Fraction(frame.width * height, frame.height)), height)
    return Size(
        length(_held(asked.width, frame.width, asked)),
        length(_held(asked.height, frame.height, asked)),
    )


def inside(frame: Size, asked: RequestedSize) -> Size:
    """The whole picture inside the box: s = min(tw/W, th/H). A length left out sets no bound.

    Source: https://www.fastly.com/documentation/reference/io/fit
    """
    return _scaled(frame, _not_grown(min(asked.scales(frame)), asked))


def outside(frame: Size, asked: RequestedSize) -> Size:
    """The box covered, nothing cut: s = max(tw/W, th/H).

    Source: https://www.fastly.com/documentation/reference/io/fit
    """
    return _scaled(frame, _not_grown(max(asked.scales(frame)), asked))


@dataclass(frozen=True, slots=True)
class Coverage:
    """A result, and how much of the frame, in its pixels and not whole ones, it shows."""

    size: Size
    width: Fraction
    height: Fraction


def covered(frame: Size, asked: RequestedSize, zoom: Fraction = Fraction(1)) -> Coverage:
    """The box covered, the overhang cut: s = max(tw/W, th/H) · zoom, and tw/s by th/s of the frame are shown.

    Where nothing may grow, a box that asks for more pixels than its window has is shrunk as a whole, so that the same
    section is shown at every size: 600x400 asked for 1000x1000 gives 400x400.
    Source: https://www.fastly.com/documentation/reference/io/fit, and Kontent.ai's focal point
    """
    width, height = _both_lengths(frame, asked)
    scale = max(width / frame.width, height / frame.height) * zoom
    excess = scale / _not_grown(scale, asked)
    return Coverage(
        size=Size(length(width / excess), length(height / excess)),
        width=width / scale,
        height=height / scale,
    )


def _both_lengths(frame: Size, asked: RequestedSize) -> tuple[Fraction, Fraction]:
    """The box, a missing side in the frame's proportion."""
    scale = asked.scales(frame)[0]
    width = frame.width * scale if asked.width is None else asked.width
    height = frame.height * scale if asked.height is None else asked.height
    return width, height


def _held(wanted: Fraction | None, side: int, asked: RequestedSize) -> Fraction:
    if wanted is None:
        return Fraction(side)
    return wanted if asked.enlarge else min(wanted, Fraction(side))


def _not_grown(scale: Fraction, asked: RequestedSize) -> Fraction:
    return scale if asked.enlarge else min(scale, Fraction(1))


def _scaled(frame: Size, scale: Fraction) -> Size:
    return Size(length(frame.width * scale), length(frame.height * scale))
