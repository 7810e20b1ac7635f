"""Serializes an Analysis as JSON, and parses it.

Parsing validates every value, because the JSON comes from an untrusted process or from a cache.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from cropmark.geometry.findings import Analysis, Face, SaliencyMap

VERSION = 3
"""A part of the cache key of an analysis. Increase it whenever the analysis of the same image changes."""

MAX_BYTES = 4096
MAX_CELLS_PER_SIDE = 32
MAX_FACES = 24

# left, top, width, height, score. The box of a face may extend outside the image.
FACE_RANGES = ((-2, 2), (-2, 2), (1e-6, 3), (1e-6, 3), (0, 1))


class MalformedAnalysis(ValueError):
    """The bytes are not a valid analysis of this version."""


def serialize_analysis(analysis: Analysis) -> bytes:
    """The analysis as JSON of at most MAX_BYTES.

    {"version", "grid": [columns, rows], "faces": [[left, top, width, height, score]], "subject", "residual"}. Faces are
    in shares of the sides of the upright source. The maps "subject" and "residual" are base64 of one byte per cell, row
    by row.
    """
    grid = analysis.subject
    form = {
        "version": analysis.version,
        "grid": [grid.columns, grid.rows],
        "faces": [[face.left, face.top, face.width, face.height, face.score] for face in analysis.faces],
        "subject": b64encode(grid.cells).decode(),
        "residual": b64encode(analysis.residual.cells).decode(),
    }
    return json.dumps(form, separators=(",", ":")).encode()


def parse_analysis(data: bytes) -> Analysis:
    """The Analysis from the JSON of serialize_analysis(). Raises MalformedAnalysis at the first invalid value."""
    if len(data) > MAX_BYTES:
        raise MalformedAnalysis(f"an analysis must have at most {MAX_BYTES} bytes, not {len(data)}")
    try:
        form = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedAnalysis("an analysis must be JSON") from error
    match form:
        case {
            "version": int(version),
            "grid": [int(columns), int(rows)],
            "faces": list(faces),
            "subject": str(subject),
            "residual": str(residual),
        } if len(form) == 5:
            return _analysis(version, (columns, rows), faces, (subject, residual))
    raise MalformedAnalysis("an analysis must have version, grid, faces, subject and residual")


def _analysis(version: int, grid: tuple[int, int], faces: list[object], maps: tuple[str, str]) -> Analysis:
    if version != VERSION:
        raise MalformedAnalysis(f"expected version {VERSION}, got {version}")
    if not all(1 <= side <= MAX_CELLS_PER_SIDE for side in grid):
        raise MalformedAnalysis(f"a grid must have 1 to {MAX_CELLS_PER_SIDE} cells per side, not {grid}")
    if len(faces) > MAX_FACES:
        raise MalformedAnalysis(f"at most {MAX_FACES} faces, got {len(faces)}")
    subject, residual = (_grid(*grid, text) for text in maps)
    return Analysis(version, tuple(_face(row) for row in faces), subject, residual)


def _face(row: object) -> Face:
    if not (isinstance(row, list) and len(row) == 5 and all(isinstance(number, int | float) for number in row)):
        raise MalformedAnalysis("a face must be five numbers")
    # Compared before float(), which fails on a number of a thousand digits; NaN fails every comparison.
    if not all(least <= number <= most for number, (least, most) in zip(row, FACE_RANGES, strict=True)):
        raise MalformedAnalysis("a face must be in the image and its score between 0 and 1")
    return Face(*(float(number) for number in row))


def _grid(columns: int, rows: int, text: str) -> SaliencyMap:
    try:
        cells = b64decode(text, validate=True)
        return SaliencyMap(columns, rows, cells)
    except ValueError as error:
        raise MalformedAnalysis("a map must be base64 of one byte per cell") from error
