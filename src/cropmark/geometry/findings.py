"""What only pixels can tell: asked for as a Need, handed to resolve() as Findings."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cropmark.model.values import Box, Color
from cropmark.plan.steps import AutoColor


@dataclass(frozen=True, slots=True)
class Face:
    """A face's box as shares of the upright source's sides, and how sure the detector is (0 to 1)."""

    left: float
    top: float
    width: float
    height: float
    score: float


@dataclass(frozen=True, slots=True)
class SaliencyMap:
    """A map over the upright source: rows of columns, each cell 0 to 255, left to right, top to bottom."""

    columns: int
    rows: int
    cells: bytes

    def __post_init__(self) -> None:
        if self.columns < 1 or self.rows < 1 or len(self.cells) != self.columns * self.rows:
            raise ValueError(f"a grid of {self.columns} by {self.rows} has not {len(self.cells)} cells")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the picture is about; of the source, whatever is made of it. At most 4 kB as JSON."""

    version: int
    faces: tuple[Face, ...]
    subject: SaliencyMap
    residual: SaliencyMap


@dataclass(frozen=True, slots=True)
class FindBorder:
    """Find the smallest box that holds every pixel farther than `tolerance` (0 to 1) from the color."""

    color: Color | AutoColor
    tolerance: Fraction


@dataclass(frozen=True, slots=True)
class Findings:
    """Answers to Needs, in the order they were asked, and the analysis of the first source.

    A border is None where nothing but border is there. `no_analysis` says why there is none, for whoever asked.
    """

    borders: tuple[Box | None, ...] = ()
    analysis: Analysis | None = None
    no_analysis: str = "no analysis"
