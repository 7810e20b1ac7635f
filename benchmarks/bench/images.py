"""Test images: mosaics of the project's photographs, under enough new names that no server has a cached rendition.

A mosaic of photographs at their own scale has the detail of a camera's image; an enlarged photograph lacks it and
decodes too fast. Copies are hard links: the same bytes, warm in the page cache for every server, under new names.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
SOURCES = 3
"""Different sources of each kind."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """The size in pixels and the format of a source. JPEGs have 4:2:0 chroma, as cameras and editors write them."""

    label: str
    width: int
    height: int
    suffix: str = "jpg"
    profile: str = ""
    progressive: bool = False
    frames: int = 1


class Kind(Enum):
    """The sources."""

    MP24 = SourceSpec("24 MP", 6000, 4050)  # to 1280 px without a remainder: rounding would count as lost quality
    MP12 = SourceSpec("12 MP", 4000, 3000)
    MP1 = SourceSpec("1 MP", 1200, 840)
    P3 = SourceSpec("12 MP P3", 4000, 3000, profile="p3")
    PROGRESSIVE = SourceSpec("12 MP progressive", 4000, 3000, progressive=True)
    PNG = SourceSpec("3 MP PNG", 2000, 1500, suffix="png")
    GIF = SourceSpec("GIF of 12 frames", 480, 360, suffix="gif", frames=12)

    @property
    def label(self) -> str:
        return self.value.label


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

    def prepare(self, kinds: Iterable[Kind] = Kind) -> None:
        """Write the sources of these kinds; all take half a minute."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            self._bases[kind] = [self._written(kind, at) for at in range(SOURCES)]

    def bases(self, kind: Kind) -> list[Path]:
        return self._bases[kind]

    def fresh(self, kind: Kind, asker: str, count: int) -> list[str]:
        """Names of `count` images that this asker has never been given; the same names for all askers in order."""
        return [self._linked(kind, number) for number in itertools.islice(self._next[kind, asker], count)]

    def _linked(self, kind: Kind, number: int) -> str:
        name = f"{kind.name.lower()}-{number:06}.{kind.value.suffix}"
        base = self._bases[kind][number % SOURCES]
        if not (self.folder / name).exists():
            os.link(base, self.folder / name)
        return name

    def _written(self, kind: Kind, at: int) -> Path:
        spec = kind.value
        path = self.folder / f"base-{kind.name.lower()}-{at}.{spec.suffix}"
        image = mosaic(spec.width, spec.height, at)
        match spec.suffix:
            case "png":
                image.pngsave(str(path), keep="none")
            case "gif":
                _film(image, spec.frames).gifsave(str(path), effort=4)
            case _:
                if spec.profile:
                    image = image.icc_transform(spec.profile, input_profile="srgb")
                save = {"Q": CAMERA_QUALITY, "subsample_mode": "on", "interlace": spec.progressive, "keep": "icc"}
                image.jpegsave(str(path), **save)
        return path


def mosaic(width: int, height: int, at: int) -> pyvips.Image:
    """A cut of one photograph at its own scale for up to 1 MP; 16 or 36 cuts, some of them mirrored, for more."""
    if width * height < 1_100_000:
        return _cut(NAMES[at], width, height)
    sides = 4 if width <= 4000 else 6
    tiles = []
    for place in range(sides * sides):
        tile = _cut(NAMES[(place + at) % len(NAMES)], width // sides, height // sides)
        tiles.append(tile.fliphor() if place // len(NAMES) % 2 else tile)
    return pyvips.Image.arrayjoin(tiles, across=sides)


def _film(image: pyvips.Image, frames: int) -> pyvips.Image:
    """The image moving to the left."""
    return joined([image.wrap(x=12 * at, y=0) for at in range(frames)])


def joined(frames: Sequence[pyvips.Image]) -> pyvips.Image:
    """An animation of these frames, each of 80 ms."""
    film = pyvips.Image.arrayjoin(list(frames), across=1).copy()
    film.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    film.set_type(pyvips.GValue.array_int_type, "delay", [80] * len(frames))
    return film


def _cut(name: str, width: int, height: int) -> pyvips.Image:
    """The middle of a photograph."""
    photo = pyvips.Image.new_from_buffer((PHOTOS / f"{name}.jpg").read_bytes(), "")
    return photo.crop((photo.width - width) // 2, (photo.height - height) // 2, width, height).copy_memory()
