"""Annotated photographs, read from a folder; for eval_smart.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cropmark.geometry.placement import shape_size
from cropmark.model.values import Box, Ratio, Size

ASPECTS = ("1:1", "16:9", "9:16", "4:5", "3:1")


def ratio(aspect: str) -> Ratio:
    width, height = aspect.split(":")
    return Ratio(Fraction(width), Fraction(height))


@dataclass(frozen=True)
class Photo:
    name: str
    path: Path
    size: Size
    faces: tuple[Box, ...]
    minor_faces: tuple[Box, ...]
    heads: tuple[Box, ...]
    subject: Box

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()

    def window_size(self, aspect: str) -> Size:
        """Of the largest window of that aspect."""
        return shape_size(ratio(aspect), self.size)


def photos(folder: Path) -> list[Photo]:
    """All photographs that annotations.json tells of."""
    return [_photo(folder, told) for told in json.loads((folder / "annotations.json").read_text())]


def _photo(folder: Path, told: dict[str, Any]) -> Photo:
    def boxes(name: str) -> tuple[Box, ...]:
        return tuple(Box(*box) for box in told[name])

    return Photo(
        name=told["file"],
        path=folder / "photos" / told["file"],
        size=Size(told["width"], told["height"]),
        faces=boxes("faces"),
        minor_faces=boxes("faces_minor"),
        heads=boxes("heads"),
        subject=Box(*told["subject"]),
    )
