"""Generates the corpus of hostile files, the same on every run: `python -m tests.hostile.make FOLDER`."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from tests.hostile import bombs, polyglots, raw, seeds
from tests.hostile.raw import GifFrame

CRASHERS = Path(__file__).parent / "crashers"
MUTATIONS = 8
SYSTEM = (Path("/usr/share/pngsuite"), Path("/usr/share/doc/libtiff-tools/examples"), Path("/usr/share/pixmaps"))
"""Folders of Debian packages with images of many formats; used if present."""
MOST_OF_SYSTEM = 60


class Must(Enum):
    """The expected outcome for a file."""

    BE_MADE = "a sound image: the answer is an image"
    NOT_BE_MADE = "no whole image: a refusal, or the file as it is"
    END_WELL = "any of these"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file: its path below the corpus, its bytes, and its expected outcome."""

    name: str
    data: bytes
    must: Must


@cache
def corpus() -> tuple[Hostile, ...]:
    """All of it."""
    return tuple(_families())


def _families() -> Iterator[Hostile]:
    for folder, family, must in (
        ("sound", seeds.sound(), Must.BE_MADE),
        ("gifs", gifs(), Must.BE_MADE),
        ("misnamed", polyglots.misnamed(), Must.BE_MADE),
        ("both", polyglots.images_too(), Must.BE_MADE),
        ("bombs", bombs.refused(), Must.NOT_BE_MADE),
        ("polyglots", polyglots.no_images(), Must.NOT_BE_MADE),
        ("heavy", bombs.heavy(), Must.END_WELL),
    ):
        yield from (Hostile(f"{folder}/{name}", data, must) for name, data in family.items())
    yield from _torn()
    yield from _changed()
    yield from (Hostile(f"crashers/{p.name}", p.read_bytes(), Must.END_WELL) for p in sorted(CRASHERS.glob("*")))
    yield from _of_the_system()


def _torn() -> Iterator[Hostile]:
    """Every seed cut at every tenth."""
    for name, data in seeds.torn_seeds().items():
        for tenths in range(1, 10):
            cut = data[: len(data) * tenths // 10]
            yield Hostile(f"torn/{tenths}-{name}", cut, Must.NOT_BE_MADE)


def _changed() -> Iterator[Hostile]:
    """Every seed with some bytes changed, parts left out, doubled or exchanged."""
    chance = random.Random(seeds.SEED)
    for name, data in seeds.torn_seeds().items():
        for number in range(MUTATIONS):
            yield Hostile(f"changed/{number}-{name}", changed(data, chance), Must.END_WELL)


ODD_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\x01\0\0", b"\xff\xff", b"\0")


def changed(data: bytes, chance: random.Random) -> bytes:
    """The bytes after one to eight random changes; their first four stay, so that the format is still known."""
    body = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(4, max(5, min(len(body), chance.choice((64, 512, len(body))))))
        match chance.randrange(5):
            case 0:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                body[at : at + 1] = bytes([(body[at] if at < len(body) else 0) ^ 1 << chance.randrange(8)])
            case 2:
                number = chance.choice(ODD_NUMBERS)
                body[at : at + len(number)] = number
            case 3:
                del body[at : at + chance.randrange(1, 40)]
            case _:
                source = chance.randrange(len(body) + 1)
                body[at:at] = body[source : source + chance.randrange(1, 200)]
    return bytes(body)


def gifs() -> dict[str, bytes]:
    """Animations with every disposal method, offset frames, or local palettes."""
    found = {}
    for disposal in range(8):
        frames = [GifFrame(4 * n, 3 * n, 20, 20, 1 + n % 3, disposal, clear=2 if n == 2 else None) for n in range(5)]
        found[f"disposal-{disposal}.gif"] = raw.gif(60, 50, frames)
    one = GifFrame(0, 0, 20, 20)
    return found | {
        "interlaced.gif": raw.gif(20, 20, [GifFrame(0, 0, 20, 20, interlaced=True)]),
        "local-palettes.gif": raw.gif(20, 20, [one, GifFrame(5, 5, 9, 9, 2, local=True)]),
        "no-end-mark.gif": raw.gif(20, 20, [one, one], end=False),
        "no-delay.gif": raw.gif(20, 20, [GifFrame(0, 0, 20, 20, delay_cs=0)] * 3),
        "long-delay.gif": raw.gif(20, 20, [GifFrame(0, 0, 20, 20, delay_cs=65535)] * 2),
        "plays-once.gif": raw.gif(20, 20, [one, one], loop=False),
        "1x1.gif": raw.gif(1, 1, [GifFrame(0, 0, 1, 1)]),
        "frames-300.gif": raw.gif(20, 20, [GifFrame(n % 10, 3, 9, 9, n % 4) for n in range(300)]),
    }


def _of_the_system() -> Iterator[Hostile]:
    found = (p for folder in SYSTEM for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size < 200_000)
    for number, path in enumerate(found):
        if number >= MOST_OF_SYSTEM:
            return
        yield Hostile(f"system/{path.name}", path.read_bytes(), Must.END_WELL)


def write(folder: Path) -> Path:
    """All files below the folder, which is returned."""
    for hostile in corpus():
        path = folder / hostile.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hostile.data)
    return folder


def main() -> None:
    folder = write(Path(sys.argv[1]))
    total = sum(len(each.data) for each in corpus())
    print(f"{len(corpus())} files of {total / 1e6:.1f} MB in all below {folder}")


if __name__ == "__main__":
    main()
