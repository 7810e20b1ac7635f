"""Finds the position of a window by the content of the image, or the reason why the content gives none."""

from __future__ import annotations

from fractions import Fraction

from cropmark.geometry.findings import Findings
from cropmark.geometry.smart_crop import smart_placement
from cropmark.geometry.view import SmartPlacement, View
from cropmark.model.values import Size

_SAME_SHAPE_FACTOR = Fraction(102, 100)


def content_placement(
    width: Fraction, height: Fraction, frame: Size, view: View | None, findings: Findings
) -> SmartPlacement | str:
    """The position of a window of width by height px in the frame, by the analysis of the source.

    If the content gives no position, the result is the reason as text. One reason is that the aspect ratio of the
    window is within 2 % of the frame's.
    """
    if findings.analysis is None:
        return findings.no_analysis_reason
    if view is None:
        return "a montage"
    shape = (width * frame.height) / (height * frame.width)
    if max(shape, 1 / shape) <= _SAME_SHAPE_FACTOR:
        return "same shape"
    return smart_placement((width, height), view, findings.analysis) or "nothing is salient"
