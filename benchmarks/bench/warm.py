"""Pictures that are there already, alone and beside busy renderers; many who want one picture; memory."""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import load, machine
from bench.cold import Told
from bench.images import Album, Kind, Wanted
from bench.peers import CROPMARK
from bench.servers import Server

CONNECTIONS = 32
BODIES = 64
SATURATING = 16
"""Connections that ask for pictures which nobody has made; and as many that ask for what is there."""


@dataclass(frozen=True, slots=True)
class Hits:
    """As fast as they come: medians over the rounds."""

    rate: float
    cpu_us: float
    p99_ms: float


def forty_kilobytes(album: Album) -> list[str]:
    """Paths of 64 pictures of about 40 kB, each of another source."""
    names = album.fresh(Kind.MP12, "hits", BODIES)
    return [CROPMARK.path(Wanted(name, 480, "jpeg", 75)) or "" for name in names]


def made(server: Server, paths: Sequence[str], static: Path) -> float:
    """Have the server make and keep these, and their bodies lie as files for nginx; their mean size in bytes."""
    static.mkdir(parents=True, exist_ok=True)
    run = asyncio.run(load.swept([server.origin + path for path in paths], 2))
    if run.failed:
        raise RuntimeError(f"{run.failed} pictures could not be made")
    for number, answer in enumerate(run.answers):
        (static / f"{number}.jpg").write_bytes(answer.body)
    return statistics.mean(len(answer.body) for answer in run.answers)


def hits(
    asked: Sequence[tuple[str, Server, Sequence[str]]],
    wrk: str,
    *,
    rounds: int,
    seconds: float,
    told: Told,
    place: Path,
) -> dict[str, Hits]:
    """A B C, A B C, …: names of rows, servers, and the paths that each is asked for in turn."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _, server, paths in asked:
        load.burst(wrk, server.origin, paths, connections=4, seconds=1, folder=place)
    for number in range(rounds):
        for name, server, paths in asked:
            told(f"hits: {name}, round {number + 1} of {rounds}")
            before = machine.cpu_s(server.pids)
            burst = load.burst(wrk, server.origin, paths, connections=CONNECTIONS, seconds=seconds, folder=place)
            if burst.errors:
                raise RuntimeError(f"{name}: {burst.errors} of {burst.requests} hits failed")
            cpu_us = (machine.cpu_s(server.pids) - before) * 1e6 / burst.requests
            found.setdefault(name, []).append((burst.rate, cpu_us, burst.p99_ms))
    return {name: Hits(*map(statistics.median, zip(*runs, strict=True))) for name, runs in found.items()}


@dataclass(frozen=True, slots=True)
class Busy:
    """Hits while the renderers are saturated."""

    p50_ms: float
    p99_ms: float
    hits: int
    misses: int
    refused: int
    closed_p99_ms: float | None
    """The same where 16 clients ask again as soon as they are answered; None without wrk."""


def busy(server: Server, paths: Sequence[str], album: Album, wrk: str | None, *, seconds: float, place: Path) -> Busy:
    """16 clients ask for new pictures all the time; 16 others ask for old ones every 80 ms each."""
    names = album.fresh(Kind.MP12, server.peer.name, round(seconds * 200))
    misses = [server.url(Wanted(name, 800, "jpeg")) or "" for name in names]
    hits = [server.origin + path for path in paths]

    async def both() -> tuple[load.Run, list[load.Answer], load.Burst | None]:
        made: list[load.Answer] = []
        left = iter(misses)
        async with load.client(SATURATING) as session:
            sweeping = [asyncio.create_task(load.worker(session, left, made)) for _ in range(SATURATING)]
            await asyncio.sleep(0.5)
            run = await load.paced_apart(hits, SATURATING, 0.08, seconds)
            burst = None
            if wrk is not None:
                burst = await asyncio.to_thread(
                    load.burst, wrk, server.origin, paths, connections=SATURATING, seconds=seconds / 2, folder=place
                )
            for task in sweeping:
                task.cancel()
            await asyncio.gather(*sweeping, return_exceptions=True)
        return run, made, burst

    run, made, burst = asyncio.run(both())
    if run.failed:
        raise RuntimeError(f"{run.failed} hits failed while the renderers were busy")
    refused = sum(answer.status == 503 for answer in made)
    closed = burst.p99_ms if burst else None
    return Busy(run.percentile(0.5), run.percentile(0.99), len(run.answers), len(made) - refused, refused, closed)


@dataclass(frozen=True, slots=True)
class Identical:
    """Many who want the same new picture at the same moment."""

    requests: int
    renders: int
    cpu_ms: float
    """Of all processes, a request, the one render among it."""
    seconds: float


def identical(server: Server, album: Album, requests: int) -> Identical:
    """Each over a connection of its own. Counted by the server's own metrics."""
    (name,) = album.fresh(Kind.MP12, server.peer.name, 1)
    url = server.url(Wanted(name, 800, "jpeg")) or ""
    renders, before_s = _renders(server), machine.cpu_s(server.pids)
    run = asyncio.run(load.swept([url] * requests, requests))
    if run.failed:
        raise RuntimeError(f"{run.failed} of {requests} identical requests failed")
    spent_s = machine.cpu_s(server.pids) - before_s
    return Identical(requests, _renders(server) - renders, spent_s * 1000 / requests, run.seconds)


def _renders(server: Server) -> int:
    told = load.asked_once(f"{server.origin}/metrics").body.decode()
    found = re.search(r'cropmark_stage_seconds_count\{stage="render"\} (\S+)', told)
    return round(float(found[1])) if found else 0


@dataclass(frozen=True, slots=True)
class Kept:
    """Memory of all processes after so many mixed requests."""

    requests: int
    memory: machine.Memory


def memory(server: Server, album: Album, counts: Sequence[int], told: Told) -> list[Kept]:
    """Four in five for one of 200 pictures, the others for new ones: of 1 MP, and one in ten of those of 12."""
    name = server.peer.name
    old = album.fresh(Kind.MP1, name, 200)
    kept, done = [], 0
    for count in counts:
        told(f"memory: {count - done:,} mixed requests")
        urls = [_mixed(server, album, old, number) for number in range(done, count)]
        run = asyncio.run(load.swept(urls, 8))
        if run.failed:
            raise RuntimeError(f"{run.failed} of {count - done} mixed requests failed")
        done = count
        kept.append(Kept(count, machine.memory(server.pids)))
    return kept


FORMATS = ("jpeg", "webp", "avif", "png")


def _mixed(server: Server, album: Album, old: Sequence[str], number: int) -> str:
    if number % 5:
        wanted = Wanted(old[number * 7 % len(old)], 300, FORMATS[number % 2])
    else:
        kind = Kind.MP12 if number % 50 == 0 else Kind.MP1
        (name,) = album.fresh(kind, server.peer.name, 1)
        wanted = Wanted(name, 800 if kind is Kind.MP12 else 300, FORMATS[number // 5 % 4])
    return server.url(wanted) or ""
