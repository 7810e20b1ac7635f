"""Image quality by SSIMULACRA2 against an exact resize, and the quality setting of ours that equals a peer's.

The scorer has its own environment: it needs other versions of Pillow and numpy than the peers.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyvips

from bench import load
from bench.images import Album, Kind, Wanted
from bench.peers import HERE, python_of
from bench.servers import Server

LOWEST, HIGHEST = 20, 95


@dataclass(frozen=True, slots=True)
class Looks:
    """The mean score and mean size of three images of a server."""

    score: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Equal:
    """Our quality that looks as a peer's images do, and both sides' figures at it."""

    quality: int
    ours: Looks
    below: Looks
    """Ours one quality lower, which looks worse than theirs."""
    theirs: Looks

    @property
    def more_bytes(self) -> float:
        """Ours over theirs, less one, at just their score: one step of quality may be two points of score."""
        step = self.ours.score - self.below.score
        past = min(1.0, (self.ours.score - self.theirs.score) / step) if step > 0 else 0.0
        return (self.ours.bytes - past * (self.ours.bytes - self.below.bytes)) / self.theirs.bytes - 1


class Judge:
    """Scores images of one kind and width."""

    def __init__(self, album: Album, kind: Kind, width: int, folder: Path) -> None:
        self._python = python_of("quality")
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._width = width
        self._names = [base.name for base in album.bases(kind)]
        self._references = [self._reference(base) for base in album.bases(kind)]

    def looks(self, server: Server, wanted: Wanted) -> Looks:
        """The scores of all three sources at this format and quality."""
        responses = [load.get_once(server.url(replace(wanted, name=name)) or "") for name in self._names]
        if any(response.status != 200 for response in responses):
            raise RuntimeError(f"{server.peer.name} does not make {wanted}: {responses[0].body[:200]!r}")
        images = [self._png(f"at-{at}", response.body) for at, response in enumerate(responses)]
        scores = self._scores(zip(self._references, images, strict=True))
        return Looks(statistics.mean(scores), statistics.mean(len(response.body) for response in responses))

    def equal(self, ours: Server, theirs: Looks, codec: str) -> Equal:
        """Our lowest quality that looks no worse: the score rises with the quality, so halves will do."""
        low, high = LOWEST, HIGHEST
        seen: dict[int, Looks] = {}
        while low < high:
            middle = (low + high) // 2
            seen[middle] = self.looks(ours, Wanted("", self._width, codec, middle))
            low, high = (low, middle) if seen[middle].score >= theirs.score else (middle + 1, high)
        for quality in (low, low - 1):
            if quality not in seen:
                seen[quality] = self.looks(ours, Wanted("", self._width, codec, quality))
        return Equal(low, seen[low], seen[low - 1], theirs)

    def limit_ms(self, image: Path, times: int) -> float:
        """The time libjpeg-turbo alone takes for the same JPEG, in ms of one core."""
        command = [str(self._python), str(HERE / "peers" / "quality" / "limit.py"), str(image), str(self._width)]
        return float(subprocess.run([*command, str(times)], capture_output=True, text=True, check=True).stdout)

    def _reference(self, base: Path) -> Path:
        """Every pixel decoded, then resized once."""
        image = pyvips.Image.new_from_file(str(base))
        if image.get_typeof("icc-profile-data"):
            image = image.icc_transform("srgb", embedded=True)
        return self._written(base.stem, image.resize(self._width / image.width))

    def _png(self, name: str, body: bytes) -> Path:
        return self._written(name, pyvips.Image.new_from_buffer(body, ""))

    def _written(self, name: str, image: pyvips.Image) -> Path:
        path = self._folder / f"{name}.png"
        image.pngsave(str(path), compression=1)
        return path

    def _scores(self, pairs: Iterable[tuple[Path, Path]]) -> list[float]:
        lines = "".join(f"{reference}\t{image}\n" for reference, image in pairs)
        command = [str(self._python), str(HERE / "peers" / "quality" / "score.py")]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        return [float(line) for line in done.stdout.split()]
