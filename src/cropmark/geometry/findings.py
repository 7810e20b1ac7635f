"""Facts about an image that only its pixels show. resolve() requests them with a Need, and receives Findings."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.model.values import Box, Color
from cropmark.plan.steps import AutoColor


@dataclass(frozen=True, slots=True)
class Face:
    """A face in shares of the upright source's sides, with the confidence of the detector as `score`, 0 to 1."""

    left: float
    top: float
    width: float
    height: float
    score: float


@dataclass(frozen=True, slots=True)
class SaliencyMap:
    """A saliency map of the upright source: one byte for each cell, row by row, from the top left."""

    columns: int
    rows: int
    cells: bytes

    def __post_init__(self) -> None:
        if self.columns < 1 or self.rows < 1 or len(self.cells) != self.columns * self.rows:
            raise ValueError(f"expected {self.columns} by {self.rows} cells, at least 1 by 1, got {len(self.cells)}")


@dataclass(frozen=True, slots=True)
class Analysis:
    """The faces and the saliency of a source, which do not depend on the request. It has at most 4 kB as JSON.

    `subject` is the map of a neural network that finds the subject. `residual` is the spectral residual, for images
    without a clear subject.
    """

    version: int
    faces: tuple[Face, ...]
    subject: SaliencyMap
    residual: SaliencyMap


@dataclass(frozen=True, slots=True)
class FindBorder:
    """A search for the border of an image.

    It finds the smallest box that contains all pixels that differ from the color by more than `tolerance`, 0 to 1.
    """

    color: Color | AutoColor
    tolerance: Fraction


@dataclass(frozen=True, slots=True)
class Findings:
    """The answers to Needs: the found borders, in the order of the Needs, and the analysis of the first source.

    The value None for a border means that the whole image is border. Without an `analysis`, `no_analysis_reason` is the
    cause to report.
    """

    borders: tuple[Box | None, ...] = ()
    analysis: Analysis | None = None
    no_analysis_reason: str = "no analysis"
