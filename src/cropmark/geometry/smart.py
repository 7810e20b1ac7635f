"""Where the content puts a window, or why it does not."""

from __future__ import annotations

from fractions import Fraction

from cropmark.geometry.findings import Findings
from cropmark.geometry.smart_crop import smart_window
from cropmark.geometry.view import SmartPlacement, View
from cropmark.model.values import Size

_SAME_SHAPE = Fraction(102, 100)


def placed_by_content(
    width: Fraction, height: Fraction, frame: Size, view: View | None, findings: Findings
) -> SmartPlacement | str:
    """The window's place in the frame, of so many px, by what was found in the source; else in words, why not.

    A window whose shape is within 2 % of the frame's has no room to be placed in.
    """
    if findings.analysis is None:
        return findings.no_analysis
    if view is None:
        return "a montage"
    shape = (width * frame.height) / (height * frame.width)
    if max(shape, 1 / shape) <= _SAME_SHAPE:
        return "same shape"
    return smart_window((width, height), view, findings.analysis) or "nothing stands out"
