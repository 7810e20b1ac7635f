"""An analysis as JSON and back: it crosses from an untrusted process and lies in caches, so all of it is checked."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from cropmark.geometry.findings import Analysis, Face, SaliencyMap

VERSION = 1
"""Rises whenever equal pictures are analyzed differently; part of the cache key."""

MOST_BYTES = 4096
MOST_CELLS_A_SIDE = 32
MOST_FACES = 24

# A face that the frame cuts has its whole box: left, top, width, height, score.
FACE_RANGES = ((-2, 2), (-2, 2), (1e-6, 3), (1e-6, 3), (0, 1))


class MalformedAnalysis(ValueError):
    """Bytes that are no analysis of this version."""


def analysis_json(analysis: Analysis) -> bytes:
    """At most MOST_BYTES: {"version", "grid": [columns, rows], "faces": [[x, y, w, h, score]], "subject", "residual"}.

    Faces are shares of the upright source's sides; maps are base64 of a byte a cell, row by row.
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


def read_analysis(data: bytes) -> Analysis:
    """The analysis that analysis_json() wrote. Raises Malformed at the first thing out of form."""
    if len(data) > MOST_BYTES:
        raise MalformedAnalysis(f"an analysis has at most {MOST_BYTES} bytes, not {len(data)}")
    try:
        form = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedAnalysis("an analysis is JSON") from error
    match form:
        case {
            "version": int(version),
            "grid": [int(columns), int(rows)],
            "faces": list(faces),
            "subject": str(subject),
            "residual": str(residual),
        } if len(form) == 5:
            return _analysis(version, (columns, rows), faces, (subject, residual))
    raise MalformedAnalysis("an analysis has version, grid, faces, subject and residual")


def _analysis(version: int, grid: tuple[int, int], faces: list[object], maps: tuple[str, str]) -> Analysis:
    if version != VERSION:
        raise MalformedAnalysis(f"expected version {VERSION}, got {version}")
    if not all(1 <= side <= MOST_CELLS_A_SIDE for side in grid):
        raise MalformedAnalysis(f"a grid is 1 to {MOST_CELLS_A_SIDE} cells a side, not {grid}")
    if len(faces) > MOST_FACES:
        raise MalformedAnalysis(f"at most {MOST_FACES} faces, got {len(faces)}")
    subject, residual = (_grid(*grid, text) for text in maps)
    return Analysis(version, tuple(_face(row) for row in faces), subject, residual)


def _face(row: object) -> Face:
    if not (isinstance(row, list) and len(row) == 5 and all(isinstance(number, int | float) for number in row)):
        raise MalformedAnalysis("a face is five numbers")
    # Compared before float(), which fails on a number of a thousand digits; NaN is in no range.
    if not all(least <= number <= most for number, (least, most) in zip(row, FACE_RANGES, strict=True)):
        raise MalformedAnalysis("a face lies in its picture, its score between 0 and 1")
    return Face(*(float(number) for number in row))


def _grid(columns: int, rows: int, text: str) -> SaliencyMap:
    try:
        cells = b64decode(text, validate=True)
        return SaliencyMap(columns, rows, cells)
    except ValueError as error:
        raise MalformedAnalysis("a map is base64 of a byte a cell") from error
