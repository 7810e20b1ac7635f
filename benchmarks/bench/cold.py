"""Pictures that nobody has made yet: how many a second, and what each costs in processor time."""

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
"""Twice the cores that the servers have: enough to keep them busy, too few to make ours hurry its encoders."""
MOST = 3_000
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One picture, asked of several servers. `qualities` by server; one that is not named takes `quality`."""

    title: str
    kind: Kind
    width: int
    format: str
    quality: int | None = None
    qualities: Mapping[str, int | None] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    """Names of those that are asked; none: all."""

    def asks(self, server: Server) -> bool:
        """Whether it takes part: it is to, and can make it."""
        is_named = not self.servers or server.peer.name in self.servers
        return is_named and server.peer.path(self.wanted("", "")) is not None

    def wanted(self, name: str, server: str) -> Wanted:
        return Wanted(name, self.width, self.format, self.qualities.get(server, self.quality))


@dataclass(frozen=True, slots=True)
class Pace:
    """What a server did in one case: medians over the rounds."""

    rate: float
    cpu_ms: float
    """Processor time of all its processes, a picture."""
    bytes: float
    pictures: int


def cases(kind: Kind, width: int, codec: str, quality: int) -> tuple[Case, Case]:
    """The same picture at everybody's defaults, and at one quality."""
    what = f"{kind.told} → {width} px {codec.upper().replace('WEBP', 'WebP')}"
    plain = Case(f"{what}, defaults", kind, width, codec)
    return plain, replace(plain, title=f"{what}, quality {quality}", quality=quality)


def paces(
    case: Case, servers: Sequence[Server], album: Album, *, rounds: int, seconds: float, told: Told
) -> dict[str, Pace]:
    """A B C, A B C, …: each server for about so many seconds a round, after a few pictures that are not counted."""
    asked = [server for server in servers if case.asks(server)]
    counts = {}
    for server in asked:
        told(f"{case.title}: {server.peer.name}, warming up")
        warm = _run(case, server, album, 6)
        _verify(case, server, warm)
        counts[server.peer.name] = min(MOST, max(CONNECTIONS, round(warm.rate * seconds)))
    rates, costs, sizes = defaultdict(list), defaultdict(list), {}
    for number in range(rounds):
        for server in asked:
            name = server.peer.name
            told(f"{case.title}: {name}, round {number + 1} of {rounds}")
            before = machine.cpu_s(server.pids)
            run = _run(case, server, album, counts[name])
            _verify(case, server, run)
            costs[name].append((machine.cpu_s(server.pids) - before) * 1000 / counts[name])
            rates[name].append(run.rate)
            sizes[name] = statistics.mean(len(answer.body) for answer in run.answers)
    return {
        name: Pace(statistics.median(rates[name]), statistics.median(costs[name]), sizes[name], rounds * counts[name])
        for name in rates
    }


def _run(case: Case, server: Server, album: Album, count: int) -> load.Run:
    name = server.peer.name
    urls = [server.url(case.wanted(each, name)) for each in album.fresh(case.kind, name, count)]
    return asyncio.run(load.swept([url for url in urls if url], CONNECTIONS))


def _verify(case: Case, server: Server, run: load.Run) -> None:
    """Raises RuntimeError where anything but the picture came."""
    for answer in run.answers:
        if answer.status != 200 or answer.media_type != f"image/{case.format}":
            told = f"{answer.status} {answer.media_type} {answer.body[:100]!r}"
            raise RuntimeError(f"{server.peer.name}, {case.title}: {told}")
    picture = pyvips.Image.new_from_buffer(run.answers[0].body, "")
    if picture.width != case.width:
        raise RuntimeError(f"{server.peer.name}, {case.title}: {picture.width} px wide")
