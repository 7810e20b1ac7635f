"""Computes the focal point of an image for the document `/_info`. Crops do not use it. Pure."""

from __future__ import annotations

from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.geometry.smart_faces import weighted_faces
from cropmark.geometry.view import View
from cropmark.model.values import Size

_SALIENT = 128
"""Cells of the subject map with a value below this do not count."""


def focal_point(analysis: Analysis, size: Size) -> tuple[float, float] | None:
    """The focal point of an image, in shares of the upright source's sides; None if nothing is salient.

    It is the center of the faces, with the weights that smart crops use. Without a face, it is the center of the
    subject.
    """
    faces = weighted_faces(analysis, View(size))
    total = sum(face.weight for face in faces)
    if total > 0:
        across = sum(face.weight * (face.left + face.right) / 2 for face in faces) / total
        down = sum(face.weight * (face.top + face.bottom) / 2 for face in faces) / total
        return _inside(across), _inside(down)
    return _center(analysis.subject)


def _center(grid: SaliencyMap) -> tuple[float, float] | None:
    """The center of mass of the salient cells, in shares of the sides; None without salient cells."""
    cells = [(at, value) for at, value in enumerate(grid.cells) if value >= _SALIENT]
    total = sum(value for _, value in cells)
    if not total:
        return None
    across = sum(value * (at % grid.columns + 0.5) for at, value in cells) / total / grid.columns
    down = sum(value * (at // grid.columns + 0.5) for at, value in cells) / total / grid.rows
    return across, down


def _inside(share: float) -> float:
    return min(1.0, max(0.0, share))
