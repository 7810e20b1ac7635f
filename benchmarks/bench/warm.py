"""Cache hits, alone and with busy renderers; coalesced requests for one image; memory."""

from __future__ import annotations

import asyncio
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import load, machine
from bench.cold import Log
from bench.images import Album, Kind, Wanted
from bench.peers import CROPMARK
from bench.servers import Server

CONNECTIONS = 32
BODIES = 64
SATURATING = 16
"""Connections that request new images, and as many that request cached ones."""


@dataclass(frozen=True, slots=True)
class Hits:
    """As fast as they come: medians over the rounds."""

    rate: float
    cpu_us: float
    p99_ms: float


def forty_kilobytes(album: Album) -> list[str]:
    """Paths of 64 images of about 40 kB, each of another source."""
    names = album.fresh(Kind.MP12, "hits", BODIES)
    return [CROPMARK.path(Wanted(name, 480, "jpeg", 75)) or "" for name in names]


def prepare_hits(server: Server, paths: Sequence[str], static: Path) -> float:
    """Let the server cache these, and write the bodies as files for nginx; returns the mean size in bytes."""
    static.mkdir(parents=True, exist_ok=True)
    run = asyncio.run(load.swept([server.origin + path for path in paths], 2))
    if run.failed:
        raise RuntimeError(f"{run.failed} images could not be made")
    for number, response in enumerate(run.answers):
        (static / f"{number}.jpg").write_bytes(response.body)
    return statistics.mean(len(response.body) for response in run.answers)


def hits(
    requested: Sequence[tuple[str, Server, Sequence[str]]],
    wrk: str,
    *,
    rounds: int,
    seconds: float,
    log: Log,
    place: Path,
) -> dict[str, Hits]:
    """A B C, A B C, …: names of rows, servers, and the paths that each is asked for in turn."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _, server, paths in requested:
        load.burst(wrk, server.origin, paths, connections=4, seconds=1, folder=place)
    for number in range(rounds):
        for name, server, paths in requested:
            log(f"hits: {name}, round {number + 1} of {rounds}")
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
    """16 clients ask for new images all the time; 16 others ask for old ones every 80 ms each."""
    names = album.fresh(Kind.MP12, server.peer.name, round(seconds * 200))
    misses = [server.url(Wanted(name, 800, "jpeg")) or "" for name in names]
    hits = [server.origin + path for path in paths]

    async def both() -> tuple[load.Run, list[load.Answer], load.Burst | None]:
        rendered: list[load.Answer] = []
        left = iter(misses)
        async with load.client(SATURATING) as session:
            sweeping = [asyncio.create_task(load.worker(session, left, rendered)) for _ in range(SATURATING)]
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
        return run, rendered, burst

    run, rendered, burst = asyncio.run(both())
    if run.failed:
        raise RuntimeError(f"{run.failed} hits failed while the renderers were busy")
    refused = sum(response.status == 503 for response in rendered)
    closed = burst.p99_ms if burst else None
    return Busy(run.percentile(0.5), run.percentile(0.99), len(run.answers), len(rendered) - refused, refused, closed)


@dataclass(frozen=True, slots=True)
class Identical:
    """Many simultaneous requests for the same new image."""

    requests: int
    renders: int
    cpu_ms: float
    """Processor time of all processes per request, including the one render."""
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
    reported = load.get_once(f"{server.origin}/metrics").body.decode()
    found = re.search(r'cropmark_render_stage_duration_seconds_count\{stage="render"\} (\S+)', reported)
    return round(float(found[1])) if found else 0


@dataclass(frozen=True, slots=True)
class Kept:
    """Memory of all processes after `requests` mixed requests."""

    requests: int
    memory: machine.Memory


def memory(server: Server, album: Album, counts: Sequence[int], log: Log) -> list[Kept]:
    """Four in five for one of 200 images, the others for new ones: of 1 MP, and one in ten of those of 12."""
    name = server.peer.name
    old = album.fresh(Kind.MP1, name, 200)
    stored, done = [], 0
    for count in counts:
        log(f"memory: {count - done:,} mixed requests")
        urls = [_mixed(server, album, old, number) for number in range(done, count)]
        run = asyncio.run(load.swept(urls, 8))
        if run.failed:
            raise RuntimeError(f"{run.failed} of {count - done} mixed requests failed")
        done = count
        stored.append(Kept(count, machine.memory(server.pids)))
    return stored


FORMATS = ("jpeg", "webp", "avif", "png")


def _mixed(server: Server, album: Album, old: Sequence[str], number: int) -> str:
    if number % 5:
        wanted = Wanted(old[number * 7 % len(old)], 300, FORMATS[number % 2])
    else:
        kind = Kind.MP12 if number % 50 == 0 else Kind.MP1
        (name,) = album.fresh(kind, server.peer.name, 1)
        wanted = Wanted(name, 800 if kind is Kind.MP12 else 300, FORMATS[number // 5 % 4])
    return server.url(wanted) or ""
