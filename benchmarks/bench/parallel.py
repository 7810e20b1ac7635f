"""Misses in parallel: all sizes of one image, as a page asks for them, and from 1 to 64 connections."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import load, machine
from bench.cold import Log
from bench.images import Album, Kind, Wanted
from bench.servers import Server

WIDTHS = (320, 480, 640, 768, 1024, 1280, 1600, 1920)
CODECS = (("jpeg", 80), ("webp", 80), ("avif", 55))
LEVELS = (1, 4, 16, 64)


@dataclass(frozen=True, slots=True)
class Srcset:
    """The 24 renditions of one image of 24 MP, requested in parallel: medians over the rounds."""

    seconds: float
    """Until the last response."""
    cpu_s: float
    failed: int


@dataclass(frozen=True, slots=True)
class Level:
    """Misses over a number of connections."""

    rate: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    failed: int


def srcsets(servers: Sequence[Server], album: Album, *, rounds: int, log: Log) -> dict[str, Srcset]:
    """Each server in turn, a new image in every round; the first is not counted."""
    found: dict[str, list[Srcset]] = {}
    for number in range(rounds + 1):
        for server in servers:
            (name,) = album.fresh(Kind.MP24, server.peer.name, 1)
            urls = [server.url(Wanted(name, width, *codec)) for width in WIDTHS for codec in CODECS]
            if None in urls:
                continue
            log(f"srcset: {server.peer.name}, round {number} of {rounds}")
            one = _srcset(server, [url for url in urls if url])
            if number:
                found.setdefault(server.peer.name, []).append(one)
    return {name: _median(each) for name, each in found.items()}


def _srcset(server: Server, urls: Sequence[str]) -> Srcset:
    before_s = machine.cpu_s(server.pids)
    run = asyncio.run(load.swept(urls, len(urls)))
    time.sleep(0.2)  # the rest of the work, behind the responses
    return Srcset(run.seconds, machine.cpu_s(server.pids) - before_s, run.failed)


def _median(each: Sequence[Srcset]) -> Srcset:
    return Srcset(
        statistics.median(one.seconds for one in each),
        statistics.median(one.cpu_s for one in each),
        sum(one.failed for one in each),
    )


def levels(servers: Sequence[Server], album: Album, *, seconds: float, log: Log) -> dict[str, dict[int, Level]]:
    """12 MP to 800 px at each level, about `seconds` per server."""
    found: dict[str, dict[int, Level]] = {}
    able = [server for server in servers if server.url(Wanted("", 800, "jpeg", 80))]
    for connections in LEVELS:
        for server in able:
            log(f"{connections} connections: {server.peer.name}")
            found.setdefault(server.peer.name, {})[connections] = _level(server, album, connections, seconds)
    return found


def _level(server: Server, album: Album, connections: int, seconds: float) -> Level:
    count = max(2 * connections, round(20 * seconds))
    names = album.fresh(Kind.MP12, server.peer.name, count)
    urls = [server.url(Wanted(name, 800, "jpeg", 80)) or "" for name in names]
    before_s = machine.cpu_s(server.pids)
    run = asyncio.run(load.swept(urls, connections))
    cpu_ms = (machine.cpu_s(server.pids) - before_s) * 1000 / count
    return Level(run.rate, cpu_ms, run.percentile(0.5), run.percentile(0.99), run.failed)
