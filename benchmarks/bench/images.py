"""Test images: mosaics of the project's photographs, under enough new names that no server has a cached rendition.

A mosaic of photographs at their own scale has the detail of a camera's image; an enlarged photograph lacks it and
decodes too fast. Copies are hard links: the same bytes, warm in the page cache for every server, under new names.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pyvips

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "tests" / "data" / "corpus" / "photos"
NAMES = (
    "mate_ladybird",
    "fa_sample3",
    "gc_alpaca",
    "pk_yellow_car",
    "gc_penguin",
    "gc_toucan",
)
CAMERA_QUALITY = 92


class Kind(Enum):
    """Sizes of sources, in pixels."""

    MP12 = (4000, 3000)
    MP1 = (1200, 840)

    @property
    def label(self) -> str:
        return "12 MP" if self is Kind.MP12 else "1 MP"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requested rendition. `quality` None: the server's default."""

    name: str
    width: int
    format: str
    quality: int | None = None


class Album:
    """A folder of sources, three different ones of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bases: dict[Kind, list[Path]] = {}
        self._next: defaultdict[tuple[Kind, str], itertools.count[int]] = defaultdict(itertools.count)

    def prepare(self) -> None:
        """Write the sources; a few seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind in Kind:
            for at in range(3):
                path = self.folder / f"base-{kind.name.lower()}-{at}.jpg"
                _mosaic(kind, at).jpegsave(str(path), Q=CAMERA_QUALITY, keep="none")
                self._bases.setdefault(kind, []).append(path)

    def bases(self, kind: Kind) -> list[Path]:
        return self._bases[kind]

    def fresh(self, kind: Kind, asker: str, count: int) -> list[str]:
        """Names of `count` images that this asker has never been given; the same names for all askers in order."""
        return [self._linked(kind, number) for number in itertools.islice(self._next[kind, asker], count)]

    def _linked(self, kind: Kind, number: int) -> str:
        name = f"{kind.name.lower()}-{number:06}.jpg"
        base = self._bases[kind][number % 3]
        if not (self.folder / name).exists():
            os.link(base, self.folder / name)
        return name


def _mosaic(kind: Kind, at: int) -> pyvips.Image:
    """A cut of one photograph at its own scale for 1 MP; sixteen cuts, some of them mirrored, for 12."""
    width, height = kind.value
    if kind is Kind.MP1:
        return _cut(NAMES[at], width, height)
    tiles = []
    for place in range(16):
        tile = _cut(NAMES[(place + at) % len(NAMES)], width // 4, height // 4)
        tiles.append(tile.fliphor() if place // len(NAMES) % 2 else tile)
    return pyvips.Image.arrayjoin(tiles, across=4)


def _cut(name: str, width: int, height: int) -> pyvips.Image:
    """The middle of a photograph."""
    photo = pyvips.Image.new_from_buffer((PHOTOS / f"{name}.jpg").read_bytes(), "")
    return photo.crop((photo.width - width) // 2, (photo.height - height) // 2, width, height).copy_memory()
