"""How good pictures are, by SSIMULACRA2 against an exact resize, and which quality of ours equals a peer's.

The scorer has an environment of its own: it needs another Pillow and numpy than the peers.
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
    """How three pictures of a server look, and how large they are: means."""

    score: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Equal:
    """Our quality that looks as a peer's pictures do, and both sides' figures at it."""

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
    """Scores pictures of one kind and width."""

    def __init__(self, album: Album, kind: Kind, width: int, folder: Path) -> None:
        self._python = python_of("quality")
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._width = width
        self._names = [base.name for base in album.bases(kind)]
        self._references = [self._reference(base) for base in album.bases(kind)]

    def looks(self, server: Server, wanted: Wanted) -> Looks:
        """Of all three sources at this format and quality."""
        answers = [load.asked_once(server.url(replace(wanted, name=name)) or "") for name in self._names]
        if any(answer.status != 200 for answer in answers):
            raise RuntimeError(f"{server.peer.name} does not make {wanted}: {answers[0].body[:200]!r}")
        pictures = [self._png(f"at-{at}", answer.body) for at, answer in enumerate(answers)]
        scores = self._scores(zip(self._references, pictures, strict=True))
        return Looks(statistics.mean(scores), statistics.mean(len(answer.body) for answer in answers))

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

    def limit_ms(self, picture: Path, times: int) -> float:
        """What the same JPEG costs libjpeg-turbo alone, in ms of one core."""
        command = [str(self._python), str(HERE / "peers" / "quality" / "limit.py"), str(picture), str(self._width)]
        return float(subprocess.run([*command, str(times)], capture_output=True, text=True, check=True).stdout)

    def _reference(self, base: Path) -> Path:
        """Every pixel decoded, then resized once."""
        image = pyvips.Image.new_from_file(str(base))
        return self._written(base.stem, image.resize(self._width / image.width))

    def _png(self, name: str, body: bytes) -> Path:
        return self._written(name, pyvips.Image.new_from_buffer(body, ""))

    def _written(self, name: str, image: pyvips.Image) -> Path:
        path = self._folder / f"{name}.png"
        image.pngsave(str(path), compression=1)
        return path

    def _scores(self, pairs: Iterable[tuple[Path, Path]]) -> list[float]:
        lines = "".join(f"{reference}\t{picture}\n" for reference, picture in pairs)
        command = [str(self._python), str(HERE / "peers" / "quality" / "score.py")]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        return [float(line) for line in done.stdout.split()]
