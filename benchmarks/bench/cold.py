"""Cache misses: renditions per second, and processor time per rendition."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyvips

from bench import load, machine
from bench.images import Album, Kind, Wanted
from bench.servers import Server

CONNECTIONS = 4
"""Twice the servers' cores: enough to use all cores, and too few to switch cropmark to low effort."""
MOST = 3_000
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One image, asked of several servers. `qualities` by server; one that is not named takes `quality`."""

    title: str
    kind: Kind
    width: int
    format: str
    quality: int | None = None
    qualities: Mapping[str, int | None] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    """Names of those that are asked; none: all."""

    def asks(self, server: Server) -> bool:
        """True if the server takes part and can render the case."""
        is_named = not self.servers or server.peer.name in self.servers
        return is_named and server.peer.path(self.wanted(f".{self.kind.value.suffix}", "")) is not None

    def wanted(self, name: str, server: str) -> Wanted:
        return Wanted(name, self.width, self.format, self.qualities.get(server, self.quality))


@dataclass(frozen=True, slots=True)
class Pace:
    """The results of a server in one case: medians over the rounds."""

    rate: float
    cpu_ms: float
    """Processor time of all its processes, an image."""
    bytes: float
    images: int
    score: float | None = None
    """SSIMULACRA2, the mean of three images; None for animations."""


def further_cases(quality: int) -> tuple[Case, ...]:
    """The rows at one quality only: other sizes, formats and sources."""
    return tuple(
        Case(
            f"{kind.label} → {width} px {_word(codec)}",
            kind,
            width,
            codec,
            None if codec in ("png", "gif") else quality,
        )
        for kind, width, codec in (
            (Kind.MP12, 512, "jpeg"),
            (Kind.MP12, 1920, "jpeg"),
            (Kind.MP24, 1280, "jpeg"),
            (Kind.P3, 800, "jpeg"),
            (Kind.PROGRESSIVE, 800, "jpeg"),
            (Kind.MP12, 512, "webp"),
            (Kind.MP12, 512, "avif"),
            (Kind.PNG, 512, "png"),
            (Kind.GIF, 240, "gif"),
        )
    )


def _word(codec: str) -> str:
    return codec.upper().replace("WEBP", "WebP")


def cases(kind: Kind, width: int, codec: str, quality: int) -> tuple[Case, Case]:
    """The same image at each server's defaults, and at one quality."""
    what = f"{kind.label} → {width} px {_word(codec)}"
    plain = Case(f"{what}, defaults", kind, width, codec)
    return plain, replace(plain, title=f"{what}, quality {quality}", quality=quality)


def paces(
    case: Case, servers: Sequence[Server], album: Album, *, rounds: int, seconds: float, log: Log
) -> dict[str, Pace]:
    """Run the servers in turn, each for about `seconds` per round, after a few uncounted warm-up images."""
    requested = [server for server in servers if case.asks(server)]
    counts = {}
    for server in requested:
        log(f"{case.title}: {server.peer.name}, warming up")
        warm = _run(case, server, album, 6)
        _verify(case, server, warm)
        counts[server.peer.name] = min(MOST, max(CONNECTIONS, round(warm.rate * seconds)))
    rates, costs, sizes = defaultdict(list), defaultdict(list), {}
    for number in range(rounds):
        for server in requested:
            name = server.peer.name
            log(f"{case.title}: {name}, round {number + 1} of {rounds}")
            before = machine.cpu_s(server.pids)
            run = _run(case, server, album, counts[name])
            _verify(case, server, run)
            costs[name].append((machine.cpu_s(server.pids) - before) * 1000 / counts[name])
            rates[name].append(run.rate)
            sizes[name] = statistics.mean(len(response.body) for response in run.answers)
    return {
        name: Pace(statistics.median(rates[name]), statistics.median(costs[name]), sizes[name], rounds * counts[name])
        for name in rates
    }


def _run(case: Case, server: Server, album: Album, count: int) -> load.Run:
    name = server.peer.name
    urls = [server.url(case.wanted(each, name)) for each in album.fresh(case.kind, name, count)]
    return asyncio.run(load.swept([url for url in urls if url], CONNECTIONS))


def _verify(case: Case, server: Server, run: load.Run) -> None:
    """Raises RuntimeError where anything but the image came."""
    for response in run.answers:
        if response.status != 200 or response.media_type != f"image/{case.format}":
            details = f"{response.status} {response.media_type} {response.body[:100]!r}"
            raise RuntimeError(f"{server.peer.name}, {case.title}: {details}")
    image = pyvips.Image.new_from_buffer(run.answers[0].body, "")
    if image.width != case.width:
        raise RuntimeError(f"{server.peer.name}, {case.title}: {image.width} px wide")
