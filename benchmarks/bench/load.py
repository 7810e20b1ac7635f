"""Ways to ask: a bounded number of requests from a few keep-alive connections, and wrk for as many as there can be."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request."""

    status: int
    media_type: str
    body: bytes
    ms: float


@dataclass(frozen=True, slots=True)
class Run:
    """The results of several requests."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return sum(answer.status == 200 for answer in self.answers) / self.seconds

    @property
    def failed(self) -> int:
        return sum(answer.status != 200 for answer in self.answers)

    def percentile(self, part: float) -> float:
        """A percentile of the latencies in ms."""
        ranked = sorted(answer.ms for answer in self.answers)
        return ranked[min(len(ranked) - 1, int(part * len(ranked)))]

    @property
    def median_bytes(self) -> float:
        return statistics.median(len(answer.body) for answer in self.answers)


@asynccontextmanager
async def client(connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client with `connections` connections that discards bodies without decoding them."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, auto_decompress=False) as session:
        yield session


async def requested(session: aiohttp.ClientSession, url: str) -> Answer:
    """Send one request. Its status is 0 if the response is missing."""
    started = time.perf_counter()
    try:
        async with session.get(url) as response:
            body = await response.read()
            media_type = response.headers.get("content-type", "").split(";")[0]
            return Answer(response.status, media_type, body, (time.perf_counter() - started) * 1000)
    except (aiohttp.ClientError, TimeoutError):
        return Answer(0, "", b"", (time.perf_counter() - started) * 1000)


def get_once(url: str) -> Answer:
    """One request over a connection of its own."""

    async def once() -> Answer:
        async with client(1) as session:
            return await requested(session, url)

    return asyncio.run(once())


async def swept(urls: Iterable[str], connections: int) -> Run:
    """Request each URL once, as fast as the connections allow."""
    left = iter(urls)
    answers: list[Answer] = []
    async with client(connections) as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session, left, answers) for _ in range(connections)))
        return Run(tuple(answers), time.perf_counter() - started)


async def worker(session: aiohttp.ClientSession, left: Iterator[str], answers: list[Answer]) -> None:
    """Request the remaining URLs one after the other."""
    for url in left:
        answer = await requested(session, url)
        answers.append(answer)


async def paced(urls: Sequence[str], connections: int, each_s: float, seconds: float) -> Run:
    """Run clients, each with a request every `each_s`; a late response only delays the next request."""
    answers: list[Answer] = []

    async def visitor(session: aiohttp.ClientSession, place: int) -> None:
        await asyncio.sleep(each_s * place / connections)
        for turn in range(round(seconds / each_s)):
            answers.append(await requested(session, urls[(place + turn * connections) % len(urls)]))
            await asyncio.sleep(max(0.0, each_s - answers[-1].ms / 1000))

    async with client(connections) as session:
        started = time.perf_counter()
        await asyncio.gather(*(visitor(session, place) for place in range(connections)))
        return Run(tuple(answers), time.perf_counter() - started)


async def paced_apart(urls: Sequence[str], connections: int, each_s: float, seconds: float) -> Run:
    """As paced(), from a process of its own: what else this one asks for shall not make its clock late. No bodies."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, _paced, urls, connections, each_s, seconds)


def _paced(urls: Sequence[str], connections: int, each_s: float, seconds: float) -> Run:
    run = asyncio.run(paced(urls, connections, each_s, seconds))
    return replace(run, answers=tuple(replace(answer, body=b"") for answer in run.answers))


# ---------------------------------------------------------------------------------------------- wrk

_LUA = """local paths = {{ {paths} }}
local at = 0
request = function()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
done = function(summary, latency)
  io.write(string.format("p99_us=%d requests=%d us=%d errors=%d\\n", latency:percentile(99), summary.requests,
    summary.duration, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""
_TOLD = re.compile(r"p99_us=(\d+) requests=(\d+) us=(\d+) errors=(\d+)")


@dataclass(frozen=True, slots=True)
class Burst:
    """The results that wrk prints."""

    rate: float
    p99_ms: float
    requests: int
    errors: int


def burst(wrk: str, origin: str, paths: Sequence[str], *, connections: int, seconds: float, folder: Path) -> Burst:
    """The paths in turn, as fast as one thread of wrk can ask."""
    script = folder / "paths.lua"
    script.write_text(_LUA.format(paths=", ".join(f'"{path}"' for path in paths)))
    whole = max(1, round(seconds))
    command = [wrk, "-t1", f"-c{connections}", f"-d{whole}s", "-s", str(script), origin]
    reported = subprocess.run(command, capture_output=True, text=True, check=True, timeout=whole + 30).stdout
    found = _TOLD.search(reported)
    if found is None:
        raise RuntimeError(f"wrk said nothing that is understood: {reported}")
    p99, requests, us, errors = map(int, found.groups())
    return Burst(requests / (us / 1e6), p99 / 1000, requests, errors)
