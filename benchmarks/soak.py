"""Ten minutes of everything at once: hits, misses, bad input, killed renderers, a full cache disk. `make soak`.

    PYTHONPATH=. python benchmarks/soak.py [--minutes 10] [--seed 1]

What is measured: every body of a 200 is compared with the known right one, or decoded whole by another decoder; what
is no picture must be a clear refusal. The resident memory of the front and of all processes is taken once a second, and
the last third of the run is held against the second. Hits are timed by a process of their own, a hundred a second.
It ends with 1 where an answer was wrong or memory grew, and writes the section "soak" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import platform
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
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path
from statistics import median

import httpx
from bench.results import table, write_section
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tests.hostile import make
from tests.hostile.answers import Kind, seen
from tests.hostile.judge import judged
from tests.hostile.make import Hostile, Must
from tests.hostile.probe import probing
from tests.web.server_process import Running, running

from cropmark.web.hit import MEMO_ENTRIES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
RENDERERS = 2
DEADLINE_S = 3.0
CACHE_MIB = 4
"""Of the disk that the cache lies on, or where none can be mounted, of the cache itself."""
GROWTH_MIB = 12.0
"""The front may hold so much more in the last third of the run than in the second."""
REFUSALS = {400, 404, 413, 415, 422, 429, 503}
WIDTHS = (40, 90, 160, 320, 480)
FORMATS = ("jpg", "png", "webp", "avif")


@dataclass(frozen=True, slots=True)
class Right:
    """The right answer to a request: its body's digest, and what the other decoder found in it."""

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
    """Where the cache lies, at the end."""
    hits: dict[str, float] = field(default_factory=dict)

    def growth(self, memory: list[float]) -> float:
        """MiB by which the last third lies above the second."""
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
        """`size`: what it must have; None: any within the limits. A body that was decoded before is not again."""
        digest = hashlib.sha256(body).hexdigest() + str(size)
        if digest in self._known:
            return
        self._known.add(digest)
        name = str(next(self._names))
        (self._folder / name).write_bytes(body)
        self._waiting[name] = (about, size)

    def look(self) -> None:
        """Decode what waits."""
        now, self._waiting = self._waiting, {}
        taken = Path(tempfile.mkdtemp(dir=self._folder.parent))
        for name in now:
            (self._folder / name).rename(taken / name)
        found = judged(taken)
        for name, (about, size) in now.items():
            told = found.get(name)
            if told is None or told.why:
                self._soak.wrong.append(f"{about}: {told.why if told else 'the decoder died'}")
            elif max(told.width, told.height) > 8192 or size not in (None, (told.width, told.height)):
                self._soak.wrong.append(f"{about}: {told.width}x{told.height}, not {size}")
        self._soak.decoded += len(now)
        shutil.rmtree(taken)


@dataclass(slots=True)
class Load:
    """What goes on during the soak."""

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
    def on(self) -> bool:
        return time.monotonic() < self.until_s

    async def known(self) -> None:
        """Pictures that were asked for before: from a cache, or made again where it forgot them."""
        while self.on:
            path = self.chance.choice(list(self.right))
            answer = await self.client.get(path)
            right = self.right[path]
            self._count("known", answer)
            if answer.status_code == 200 and hashlib.sha256(answer.content).hexdigest() != right.digest:
                # At half a full queue encoders hurry: other bytes, which must be as large a picture.
                self.soak.answers["known, made in a hurry"] += 1
                self.decoding.add(answer.content, path, right.size)
            await asyncio.sleep(0.005)

    async def new(self) -> None:
        """Pictures that nobody asked for before."""
        names = sorted({path.partition("?")[0] for path in self.right})
        while self.on:
            width, name = next(self.widths) % 1200 + 20, self.chance.choice(names)
            path = f"{name}?width={width}&height={width}&fit=crop&enable=upscale&format={self.chance.choice(FORMATS)}"
            answer = await self.client.get(path)
            self._count("new", answer)
            if answer.status_code == 200:
                self.decoding.add(answer.content, path, (width, width))
            await asyncio.sleep(0.05)

    async def bad(self) -> None:
        """The hostile corpus, again and again."""
        while self.on:
            each = self.chance.choice(self.files)
            path = f"/fastly/{each.name}?width={self.chance.randrange(20, 200)}&format=webp"
            answer = await self.client.get(path)
            self._count("bad", answer)
            found = seen(answer, each.data)
            self.soak.wrong += [f"{path}: {what}" for what in found.wrong if answer.status_code != 429]
            if found.kind is Kind.MADE:
                self.decoding.add(answer.content, path)
                if each.must is Must.NOT_BE_MADE:
                    self.soak.wrong.append(f"{path}: made")
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """A renderer every four seconds. Seldom as a decoder falls: that is held against the picture in hand."""
        deeds = cycle([*[signal.SIGKILL] * 9, signal.SIGSEGV, *[signal.SIGKILL] * 9, signal.SIGFPE])
        while self.on:
            await asyncio.sleep(4)
            deed = next(deeds)
            for pid in self.server.renderers()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, deed)
                    self.soak.kills[deed.name] += 1

    async def watch(self) -> None:
        while self.on:
            front = resident(self.server.process.pid)
            self.soak.front.append(front)
            self.soak.everything.append(front + sum(map(resident, self.server.renderers())))
            await asyncio.sleep(1)

    async def decode(self) -> None:
        while self.on:
            await asyncio.sleep(15)
            await asyncio.to_thread(self.decoding.look)

    def _count(self, sort: str, answer: httpx.Response) -> None:
        cached = answer.headers.get("server-timing", "").partition(",")[0].removeprefix("cache;desc=")
        self.soak.answers[f"{sort}, {answer.status_code}{' ' + cached if answer.status_code == 200 else ''}"] += 1
        if answer.status_code != 200 and answer.status_code not in REFUSALS:
            self.soak.wrong.append(f"{answer.url}: {answer.status_code}")


def resident(pid: int) -> float:
    """MiB; 0 for a process that has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


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
        answer = await client.get(path)
        answer.raise_for_status()
        bodies[path] = answer.content
        (folder / str(number)).write_bytes(answer.content)
    found = judged(folder)
    broken = [path for n, path in enumerate(paths) if found[str(n)].why]
    if broken:
        raise SystemExit(f"wrong before anything happened: {broken}")
    sizes = {path: (found[str(n)].width, found[str(n)].height) for n, path in enumerate(paths)}
    return {path: Right(hashlib.sha256(body).hexdigest(), sizes[path]) for path, body in bodies.items()}


async def remembered(client: httpx.AsyncClient, path: str) -> None:
    """Fill the front's memo of addresses, which is bounded: else its filling would look like growth."""
    numbers = iter(range(MEMO_ENTRIES))

    async def asking() -> None:
        for number in numbers:
            await client.get(f"{path}&n={number}")

    await asyncio.gather(*(asking() for _ in range(8)))


async def soaked(server: Running, work: Path, soak: Soak, seconds: float, seed: int) -> None:
    """All loads at once, for so long."""
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
        jobs += [load.kill, load.watch, load.decode, lambda: _progress(load, seconds)]
        with probing(server.address, next(iter(right))) as soak.hits:
            await asyncio.gather(*(job() for job in jobs))
        decoding.look()


async def _progress(load: Load, seconds: float) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("", total=seconds)
        while load.on:
            soak = load.soak
            answers, front = sum(soak.answers.values()), soak.front[-1] if soak.front else 0
            killed = sum(soak.kills.values())
            told = f"{answers:,} answers, {len(soak.wrong)} wrong, front {front:.0f} MiB, {killed} killed"
            bar.update(task, completed=seconds - (load.until_s - time.monotonic()), description=told)
            await asyncio.sleep(1)


def written(soak: Soak, seconds: float) -> str:
    """The section of the results."""
    hits = soak.hits
    disk = f"a disk of {CACHE_MIB} MiB, full" if soak.full_disk else f"a cache of {CACHE_MIB} MiB"
    verdict = "Passed" if soak.passed else "Not passed"
    rows = [
        ("answers", f"{sum(soak.answers.values()):,}"),
        ("wrong answers", str(len(soak.wrong) + int(hits.get("wrong", 0)))),
        ("bodies decoded by another decoder, the others compared", f"{soak.decoded:,}"),
        ("renderers killed by us", ", ".join(f"{n} by {name}" for name, n in sorted(soak.kills.items())) or "0"),
        ("hits a hundred times a second: p50, p99", f"{hits.get('p50_ms', 0):.2f}, {hits.get('p99_ms', 0):.2f} ms"),
        ("how late the process that timed them was woken, p99", f"{hits.get('late_p99_ms', 0):.2f} ms"),
        ("front, resident: first, second-third median, last-third median", _memory(soak.front)),
        ("all processes, the same", _memory(soak.everything)),
        ("free where the cache lies, at the end", f"{soak.free_mib:.1f} MiB"),
        ("front, growth from the second third to the last", f"{soak.growth(soak.front):+.1f} MiB"),
    ]
    sorts = [(sort, f"{number:,}") for sort, number in sorted(soak.answers.items())]
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"""## Soak

`make soak`, {seconds / 60:g} minutes on {when}, {os.cpu_count()} cores, {platform.machine()}: hits, misses, the
hostile corpus, a renderer killed every four seconds, the disk cache on {disk}. **{verdict}.**

{table(("", "seen"), rows)}

{table(("answers", "number"), sorts)}
"""


def _memory(samples: list[float]) -> str:
    third = len(samples) // 3
    if not third:
        return "–"
    return f"{samples[0]:.0f}, {median(samples[third : 2 * third]):.0f}, {median(samples[2 * third :]):.0f} MiB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that is written")
    asked = parser.parse_args()
    soak, seconds = Soak(), asked.minutes * 60
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
                asyncio.run(soaked(server, work, soak, seconds, asked.seed))
                free = os.statvfs(work / "cache")
                soak.free_mib = free.f_bavail * free.f_frsize / 2**20
                if server.process.poll() is not None:
                    soak.wrong.append("the front ended")
    write_section(asked.results, "soak", written(soak, seconds))
    print(written(soak, seconds))
    for line in soak.wrong[:40]:
        print(f"wrong: {line}")
    return 0 if soak.passed else 1


if __name__ == "__main__":
    sys.exit(main())
