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
        """The size of the largest window of that aspect."""
        return shape_size(ratio(aspect), self.size)


def photos(folder: Path) -> list[Photo]:
    """All photographs in annotations.json."""
    return [_photo(folder, reported) for reported in json.loads((folder / "annotations.json").read_text())]


def _photo(folder: Path, reported: dict[str, Any]) -> Photo:
    def boxes(name: str) -> tuple[Box, ...]:
        return tuple(Box(*box) for box in reported[name])

    return Photo(
        name=reported["file"],
        path=folder / "photos" / reported["file"],
        size=Size(reported["width"], reported["height"]),
        faces=boxes("faces"),
        minor_faces=boxes("faces_minor"),
        heads=boxes("heads"),
        subject=Box(*reported["subject"]),
    )
