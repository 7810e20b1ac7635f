"""Computes the sizes of resized frames with the vendors' documented formulas, exactly; only the result is rounded.

In the formulas, W and H are the sides of the frame, and tw and th are the requested lengths, multiplied by dpr.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.geometry.rounding import round_side
from cropmark.model.values import Size
from cropmark.plan.steps import Resize


@dataclass(frozen=True, slots=True)
class RequestedSize:
    """The width and height that a resize requests, in exact pixels, above 0 and multiplied by dpr.

    A length of None follows from the other length.
    """

    width: Fraction | None
    height: Fraction | None
    enlarge: bool = False

    def __post_init__(self) -> None:
        if (self.width is None and self.height is None) or not all(v is None or v > 0 for v in self._both):
            raise ValueError(f"a requested size needs lengths above 0, not {self._both}")

    @property
    def _both(self) -> tuple[Fraction | None, Fraction | None]:
        return self.width, self.height

    def scales(self, frame: Size) -> list[Fraction]:
        """The scale factor for each given length: the length divided by the side of the frame."""
        sides = ((self.width, frame.width), (self.height, frame.height))
        return [length / side for length, side in sides if length is not None]


def requested_size(step: Resize, frame: Size) -> RequestedSize:
    """The size that a resize requests for a frame of this size.

    A resize without lengths requests the size of the frame times dpr.
    """
    width = None if step.width is None else step.width.of(frame.width) * step.dpr
    height = None if step.height is None else step.height.of(frame.height) * step.dpr
    if width is None and height is None:
        width, height = frame.width * step.dpr, frame.height * step.dpr
    return RequestedSize(width, height, step.enlarge)


def stretch_size(frame: Size, requested: RequestedSize) -> Size:
    """The size for Fit.STRETCH: exactly the requested lengths.

    A missing length follows from the other length after that is rounded. Without `enlarge`, no side becomes longer than
    the frame's side: 1600x900 stretched to 2000x400 becomes 1600x400.
    Source: https://www.fastly.com/documentation/reference/io/width
    """
    if requested.height is None:
        width = round_side(_limit_side(requested.width, frame.width, requested))
        return Size(width, round_side(Fraction(frame.height * width, frame.width)))
    if requested.width is None:
        height = round_side(_limit_side(requested.height, frame.height, requested))
        return Size(round_side(Fraction(frame.width * height, frame.height)), height)
    return Size(
        round_side(_limit_side(requested.width, frame.width, requested)),
        round_side(_limit_side(requested.height, frame.height, requested)),
    )


def inside_size(frame: Size, requested: RequestedSize) -> Size:
    """The size for Fit.INSIDE: the whole image inside the box. The frame is scaled by s = min(tw/W, th/H).

    A missing length does not bound the size.
    Source: https://www.fastly.com/documentation/reference/io/fit
    """
    return _scaled(frame, _limit_scale(min(requested.scales(frame)), requested))


def outside_size(frame: Size, requested: RequestedSize) -> Size:
    """The size for Fit.OUTSIDE: the whole image, covering the box. The frame is scaled by s = max(tw/W, th/H).

    Source: https://www.fastly.com/documentation/reference/io/fit
    """
    return _scaled(frame, _limit_scale(max(requested.scales(frame)), requested))


@dataclass(frozen=True, slots=True)
class Coverage:
    """The size of a result with Fit.COVER, and the width and height of the window of the frame that it shows.

    The window is in unrounded pixels of the frame.
    """

    size: Size
    width: Fraction
    height: Fraction


def coverage(frame: Size, requested: RequestedSize, zoom: Fraction = Fraction(1)) -> Coverage:
    """The size of the result for Fit.COVER, and the size of the window that it shows.

    With s = max(tw/W, th/H) * zoom, the window is tw/s by th/s pixels of the frame. Without `enlarge`, a result with
    more pixels than its window is shrunk in proportion and shows the same window: 600x400 resized to cover 1000x1000
    gives 400x400.
    Source: https://www.fastly.com/documentation/reference/io/fit and
    https://kontent.ai/learn/docs/apis/image-transformation-api (focal point)
    """
    width, height = _both_lengths(frame, requested)
    scale = max(width / frame.width, height / frame.height) * zoom
    excess = scale / _limit_scale(scale, requested)
    return Coverage(
        size=Size(round_side(width / excess), round_side(height / excess)),
        width=width / scale,
        height=height / scale,
    )


def _both_lengths(frame: Size, requested: RequestedSize) -> tuple[Fraction, Fraction]:
    """The requested width and height. A missing length follows from the aspect ratio of the frame."""
    scale = requested.scales(frame)[0]
    width = frame.width * scale if requested.width is None else requested.width
    height = frame.height * scale if requested.height is None else requested.height
    return width, height


def _limit_side(length: Fraction | None, side: int, requested: RequestedSize) -> Fraction:
    if length is None:
        return Fraction(side)
    return length if requested.enlarge else min(length, Fraction(side))


def _limit_scale(scale: Fraction, requested: RequestedSize) -> Fraction:
    return scale if requested.enlarge else min(scale, Fraction(1))


def _scaled(frame: Size, scale: Fraction) -> Size:
    return Size(round_side(frame.width * scale), round_side(frame.height * scale))
