"""Soak test: ten minutes of hits, misses, invalid input, killed workers and a full cache disk together. `make soak`.

    PYTHONPATH=. python benchmarks/soak.py [--minutes 10] [--seed 1]

Every body with status 200 is compared with the expected one, or decoded completely by another decoder; every other
response must be a clear error. The resident memory of the front and of all processes is sampled once a second, and the
last third of the run is compared with the second. A separate process times a hundred hits a second.
Exits with 1 if a response was wrong or memory grew, and writes the section "soak" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from statistics import median

import httpx
from bench.machine import described
from bench.results import table, write_section
from bench.runs import Run, command_line, parser, show_progress
from tests.hostile import make
from tests.hostile.judge import judged
from tests.hostile.make import Hostile, Must
from tests.hostile.probe import probing
from tests.hostile.responses import Kind, seen
from tests.processes import resident_bytes
from tests.web.server_process import Running, running

from cropmark.web.hit import MEMO_BYTES

ROOT = Path(__file__).resolve().parent.parent
RENDERERS = 2
DEADLINE_S = 3.0
CACHE_MIB = 4
"""Size of the disk for the cache, or, if no disk can be mounted, the limit of the cache."""
GROWTH_MIB = 12.0
"""Allowed growth of the front's memory between the second and the last third of the run, in MiB."""
_MEMO_ENTRY_BYTES = 8192
"""The least that an entry of the memo counts."""
REFUSALS = {400, 404, 413, 415, 422, 429, 503}
WIDTHS = (40, 90, 160, 320, 480)
FORMATS = ("jpg", "png", "webp", "avif")


@dataclass(frozen=True, slots=True)
class Right:
    """The expected response to a request: the digest of its body, and the other decoder's verdict."""

    digest: str
    size: tuple[int, int]


@dataclass(slots=True)
class Soak:
    """All that was seen."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    front: list[float] = field(default_factory=list)
    everything: list[float] = field(default_factory=list)
    """Resident MiB, once a second."""
    decoded: int = 0
    full_disk: bool = False
    free_mib: float = 0.0
    """Free space on the cache disk at the end."""
    hits: dict[str, float] = field(default_factory=dict)

    def growth(self, memory: list[float]) -> float:
        """Growth in MiB from the second third to the last."""
        third = len(memory) // 3
        return median(memory[2 * third :]) - median(memory[third : 2 * third]) if third else 0.0

    @property
    def passed(self) -> bool:
        return not self.wrong and self.growth(self.front) <= GROWTH_MIB and not self.hits.get("wrong")


class Decoding:
    """Bodies that wait for the other decoder, in a folder that is emptied when it has looked."""

    def __init__(self, soak: Soak, folder: Path) -> None:
        self._soak, self._folder, self._names = soak, folder, count()
        self._waiting: dict[str, tuple[str, tuple[int, int] | None]] = {}
        self._known: set[str] = set()

    def add(self, body: bytes, about: str, size: tuple[int, int] | None = None) -> None:
        """`size` is the expected size; None: any size within the limits. A known body is not decoded again."""
        digest = hashlib.sha256(body).hexdigest() + str(size)
        if digest in self._known:
            return
        self._known.add(digest)
        name = str(next(self._names))
        (self._folder / name).write_bytes(body)
        self._waiting[name] = (about, size)

    def look(self) -> None:
        """Decode the waiting bodies."""
        now, self._waiting = self._waiting, {}
        taken = Path(tempfile.mkdtemp(dir=self._folder.parent))
        for name in now:
            (self._folder / name).rename(taken / name)
        found = judged(taken)
        for name, (about, size) in now.items():
            reported = found.get(name)
            if reported is None or reported.why:
                self._soak.wrong.append(f"{about}: {reported.why if reported else 'the decoder died'}")
            elif max(reported.width, reported.height) > 8192 or size not in (None, (reported.width, reported.height)):
                self._soak.wrong.append(f"{about}: {reported.width}x{reported.height}, not {size}")
        self._soak.decoded += len(now)
        shutil.rmtree(taken)


@dataclass(slots=True)
class Load:
    """The loads of the soak test."""

    server: Running
    client: httpx.AsyncClient
    soak: Soak
    decoding: Decoding
    chance: random.Random
    right: dict[str, Right]
    files: list[Hostile]
    until_s: float
    widths: Iterator[int] = field(default_factory=lambda: count(600))

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.until_s

    async def known(self) -> None:
        """Images that were asked for before: from a cache, or made again where it forgot them."""
        while self.is_on:
            path = self.chance.choice(list(self.right))
            response = await self.client.get(path)
            right = self.right[path]
            self._count("known", response)
            if response.status_code == 200 and hashlib.sha256(response.content).hexdigest() != right.digest:
                # At half a full queue encoders hurry: other bytes, which must be as large an image.
                self.soak.answers["known, made in a hurry"] += 1
                self.decoding.add(response.content, path, right.size)
            await asyncio.sleep(0.005)

    async def new(self) -> None:
        """Requests for new images."""
        names = sorted({path.partition("?")[0] for path in self.right})
        while self.is_on:
            width, name = next(self.widths) % 1200 + 20, self.chance.choice(names)
            path = f"{name}?width={width}&height={width}&fit=crop&enable=upscale&format={self.chance.choice(FORMATS)}"
            response = await self.client.get(path)
            self._count("new", response)
            if response.status_code == 200:
                self.decoding.add(response.content, path, (width, width))
            await asyncio.sleep(0.05)

    async def bad(self) -> None:
        """The hostile corpus, again and again."""
        while self.is_on:
            each = self.chance.choice(self.files)
            path = f"/fastly/{each.name}?width={self.chance.randrange(20, 200)}&format=webp"
            response = await self.client.get(path)
            self._count("bad", response)
            found = seen(response, each.data)
            self.soak.wrong += [f"{path}: {what}" for what in found.wrong if response.status_code != 429]
            if found.kind is Kind.MADE:
                self.decoding.add(response.content, path)
                if each.must is Must.NOT_BE_MADE:
                    self.soak.wrong.append(f"{path}: made")
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """A renderer every four seconds. Seldom as a decoder falls: that is held against the image in hand."""
        deeds = cycle([*[signal.SIGKILL] * 9, signal.SIGSEGV, *[signal.SIGKILL] * 9, signal.SIGFPE])
        while self.is_on:
            await asyncio.sleep(4)
            deed = next(deeds)
            for pid in self.server.renderers()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, deed)
                    self.soak.kills[deed.name] += 1

    async def watch(self) -> None:
        while self.is_on:
            front = resident_bytes(self.server.process.pid)
            self.soak.front.append(front / 2**20)
            self.soak.everything.append((front + sum(map(resident_bytes, self.server.renderers()))) / 2**20)
            await asyncio.sleep(1)

    async def decode(self) -> None:
        while self.is_on:
            await asyncio.sleep(15)
            await asyncio.to_thread(self.decoding.look)

    def _count(self, sort: str, response: httpx.Response) -> None:
        cached = response.headers.get("server-timing", "").partition(",")[0].removeprefix("cache;desc=")
        self.soak.answers[f"{sort}, {response.status_code}{' ' + cached if response.status_code == 200 else ''}"] += 1
        if response.status_code != 200 and response.status_code not in REFUSALS:
            self.soak.wrong.append(f"{response.url}: {response.status_code}")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of a few MiB mounted at the folder, and whether it could be: root may."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={CACHE_MIB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(options, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


async def right_answers(client: httpx.AsyncClient, folder: Path, chance: random.Random) -> dict[str, Right]:
    """Every known request's answer from a server that nothing happened to yet, decoded. Raises where one is wrong."""
    names = sorted(p.name for p in (ROOT / "examples" / "images").glob("*.jpg"))
    paths = [f"/fastly/{n}?width={w}&format={f}" for n in names for w in WIDTHS for f in FORMATS]
    chance.shuffle(paths)
    bodies = {}
    for number, path in enumerate(paths):
        response = await client.get(path)
        response.raise_for_status()
        bodies[path] = response.content
        (folder / str(number)).write_bytes(response.content)
    found = judged(folder)
    broken = [path for n, path in enumerate(paths) if found[str(n)].why]
    if broken:
        raise SystemExit(f"wrong before anything happened: {broken}")
    sizes = {path: (found[str(n)].width, found[str(n)].height) for n, path in enumerate(paths)}
    return {path: Right(hashlib.sha256(body).hexdigest(), sizes[path]) for path, body in bodies.items()}


async def remembered(client: httpx.AsyncClient, path: str) -> None:
    """Fill the front's memo of addresses, which is bounded: else its filling would look like growth."""
    numbers = iter(range(MEMO_BYTES // _MEMO_ENTRY_BYTES))

    async def asking() -> None:
        for number in numbers:
            await client.get(f"{path}&n={number}")

    await asyncio.gather(*(asking() for _ in range(8)))


async def soaked(server: Running, work: Path, soak: Soak, seconds: float, seed: int) -> None:
    """Run all loads in parallel for this time."""
    chance, bodies, first = random.Random(seed), work / "bodies", work / "first"
    bodies.mkdir()
    first.mkdir()
    timeout = httpx.Timeout(60)
    async with httpx.AsyncClient(base_url=server.address, trust_env=False, timeout=timeout) as client:
        right = await right_answers(client, first, chance)
        await remembered(client, next(iter(right)))
        decoding = Decoding(soak, bodies)
        load = Load(server, client, soak, decoding, chance, right, list(make.corpus()), time.monotonic() + seconds)
        jobs: list[Callable[[], Awaitable[None]]] = [load.known, load.known, load.known, load.new, load.bad]
        jobs += [load.kill, load.watch, load.decode, lambda: show_progress(load, seconds, lambda: _seen(soak))]
        with probing(server.address, next(iter(right))) as soak.hits:
            await asyncio.gather(*(job() for job in jobs))
        decoding.look()


def _seen(soak: Soak) -> str:
    front = soak.front[-1] if soak.front else 0
    return (
        f"{soak.answers.total():,} responses, {len(soak.wrong)} wrong, front {front:.0f} MiB, "
        f"{soak.kills.total()} killed"
    )


def written(soak: Soak, run: Run) -> str:
    """The section of the results."""
    hits = soak.hits
    disk = f"a disk of {CACHE_MIB} MiB, full" if soak.full_disk else f"a cache of {CACHE_MIB} MiB"
    verdict = "Passed" if soak.passed else "Not passed"
    rows = [
        ("responses", f"{soak.answers.total():,}"),
        ("wrong responses", str(len(soak.wrong) + int(hits.get("wrong", 0)))),
        ("bodies decoded by another decoder, the others compared", f"{soak.decoded:,}"),
        ("renderers killed by the test", ", ".join(f"{n} by {name}" for name, n in sorted(soak.kills.items())) or "0"),
        ("hits, 100 per second: p50, p99", f"{hits.get('p50_ms', 0):.2f}, {hits.get('p99_ms', 0):.2f} ms"),
        ("wake-up delay of the measuring process, p99", f"{hits.get('late_p99_ms', 0):.2f} ms"),
        ("front, resident: first, second-third median, last-third median", _memory(soak.front)),
        ("all processes, the same", _memory(soak.everything)),
        ("free space on the cache disk at the end", f"{soak.free_mib:.1f} MiB"),
        ("front, growth from the second third to the last", f"{soak.growth(soak.front):+.1f} MiB"),
    ]
    sorts = [(sort, f"{number:,}") for sort, number in sorted(soak.answers.items())]
    return f"""## Soak

{run}. {described()}: hits, misses, the hostile corpus, a worker killed every four seconds,
the disk cache on {disk}. **{verdict}.**

{table(("", "measured"), rows)}

{table(("responses", "number"), sorts)}
"""


def _memory(samples: list[float]) -> str:
    third = len(samples) // 3
    if not third:
        return "–"
    return f"{samples[0]:.0f}, {median(samples[third : 2 * third]):.0f}, {median(samples[2 * third :]):.0f} MiB"


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=1)
    requested = options.parse_args()
    soak, seconds = Soak(), requested.minutes * 60
    run = Run(command_line("PYTHONPATH=. python benchmarks/soak.py", requested))
    with tempfile.TemporaryDirectory() as folder:
        work, files = Path(folder), Path(folder, "files")
        shutil.copytree(ROOT / "examples" / "images", files)
        make.write(files)
        with small_disk(work / "cache") as soak.full_disk:
            settings = {
                "CROPMARK_RENDER_TIMEOUT_S": str(DEADLINE_S),
                "CROPMARK_MEMORY_CACHE_BYTES": str(4 * 2**20),
                "CROPMARK_DISK_CACHE_BYTES": str(2**30 if soak.full_disk else CACHE_MIB * 2**20),
                "CROPMARK_ACCESS_LOG": "off",
            }
            with running(str(files), cache=work / "cache", environment=settings, renderers=RENDERERS) as server:
                asyncio.run(soaked(server, work, soak, seconds, requested.seed))
                free = os.statvfs(work / "cache")
                soak.free_mib = free.f_bavail * free.f_frsize / 2**20
                if server.process.poll() is not None:
                    soak.wrong.append("the front ended")
    run.end()
    text = written(soak, run)
    write_section(requested.results, "soak", text)
    print(text)
    for line in soak.wrong[:40]:
        print(f"wrong: {line}")
    return 0 if soak.passed else 1


if __name__ == "__main__":
    sys.exit(main())
