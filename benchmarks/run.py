"""Compares cropmark with its peers: `make bench`, or `python benchmarks/run.py [--quick]`.

Installs the peers into benchmarks/.peers, starts every server on the loopback address, sends requests to them in turn,
and writes the section "speed" of benchmarks/RESULTS.md. Takes about 20 minutes, or two with --quick for rough figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("VIPS_CONCURRENCY", "1")

from bench import cold, machine, peers, report, servers, warm
from bench.cold import Case
from bench.images import Album, Kind, Wanted
from bench.quality import Judge
from bench.results import write_section
from bench.servers import Missing, Peer, Server
from bench.targets import Found
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
QUALITY = 80
SATURATED_S = 12


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount of load."""

    rounds: int
    seconds: float
    """Seconds per server in each round of each case."""
    identical: int
    mixed: tuple[int, ...]
    avif: bool = True


FULL = Effort(rounds=5, seconds=3, identical=500, mixed=(5_000, 10_000))
QUICK = Effort(rounds=2, seconds=1, identical=500, mixed=(500, 1_000))


@dataclass(slots=True)
class Bench:
    """All that the measures share."""

    effort: Effort
    album: Album
    place: Path
    cores: machine.Cores
    log: Callable[[str], None]
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def started(self, stack: ExitStack, peer: Peer, name: str, images: Path, **extra: str) -> Server | None:
        """The peer, running until the stack closes; None if it cannot take part, with the reason recorded."""
        self.log(f"{peer.name}: installing and starting")
        try:
            self.versions[peer.name] = peer.install()
            place = self.place / name.replace(" ", "-")
            return stack.enter_context(servers.running(peer, images, place, extra, self.cores.servers))
        except Missing as reason:
            self.missing[peer.name] = str(reason)
            return None


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    effort = QUICK if options.quick else FULL
    if options.seconds or options.rounds:
        rounds, seconds = options.rounds or effort.rounds, options.seconds or effort.seconds
        effort = Effort(rounds, seconds, effort.identical, effort.mixed, effort.avif)
    console = Console(stderr=True)
    place = Path(tempfile.mkdtemp(prefix="cropmark-bench-"))
    began, load_before = time.monotonic(), machine.load_average()
    try:
        with _progress(console) as progress:
            line = progress.add_task("", total=None)
            bench = Bench(
                effort,
                Album(place / "images"),
                place,
                machine.cores(),
                lambda text: progress.update(line, description=text),
            )
            found = measured(bench, options.only)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    command = " ".join(["python benchmarks/run.py", *(sys.argv[1:] if arguments is None else arguments)])
    about = report.About(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine.described(),
        cores=bench.cores,
        load_before=load_before,
        command=command,
        minutes=(time.monotonic() - began) / 60,
        rounds=effort.rounds,
        seconds=effort.seconds,
        versions=bench.versions,
        missing=bench.missing,
    )
    text = report.section(about, found)
    if options.dry or options.only:
        print(text)
    else:
        write_section(options.results, "speed", text)
        console.print(f"written to {options.results}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two minutes, rough figures")
    parser.add_argument("--rounds", type=int, help="rounds of each case")
    parser.add_argument("--seconds", type=float, help="of each server in each round")
    parser.add_argument("--only", choices=("cold", "equal", "hits", "alone"), help="one part; printed, not written")
    parser.add_argument("--dry", action="store_true", help="print, do not write")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that is written")
    return parser.parse_args(arguments)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TimeElapsedColumn(), TextColumn("[progress.description]{task.description}"), console=console
    )


# ---------------------------------------------------------------------------------------------- parts


def measured(bench: Bench, only: str | None) -> Found:
    """All parts, or one of them."""
    bench.log("creating images")
    bench.album.prepare()
    os.sched_setaffinity(0, bench.cores.load)
    found = Found()
    if only in (None, "cold", "equal"):
        with ExitStack() as stack:
            tried = [bench.started(stack, peer, peer.name, bench.album.folder) for peer in peers.RENDERING]
            started = [server for server in tried if server is not None]
            if only != "equal":
                _cold(bench, started, found)
            if only != "cold":
                _equal(bench, started, found)
    if only in (None, "hits"):
        _hits(bench, found)
    if only in (None, "alone"):
        _alone(bench, found)
    return found


def _cold(bench: Bench, started: Sequence[Server], found: Found) -> None:
    for kind, width, codec in ((Kind.MP12, 800, "jpeg"), (Kind.MP12, 800, "webp"), (Kind.MP1, 300, "jpeg")):
        for case in cold.cases(kind, width, codec, QUALITY):
            found.cold[case.title] = _paces(bench, started, case)


def _paces(bench: Bench, started: Sequence[Server], case: Case) -> dict[str, cold.Pace]:
    effort = bench.effort
    return cold.paces(case, started, bench.album, rounds=effort.rounds, seconds=effort.seconds, log=bench.log)


def _equal(bench: Bench, started: Sequence[Server], found: Found) -> None:
    """WebP and AVIF at equal visual quality: sharp at its defaults, ours at the equal setting."""
    by_name = {server.peer.name: server for server in started}
    ours, sharp = by_name.get("cropmark"), by_name.get("sharp")
    if ours is None or sharp is None:
        return
    try:
        bench.log("the judge: installing")
        judge = Judge(bench.album, Kind.MP12, 800, bench.place / "judged")
    except Missing as reason:
        bench.missing["SSIMULACRA2"] = str(reason)
        return
    for name, server in by_name.items():
        bench.log(f"quality of JPEG at setting {QUALITY}: {name}")
        found.looks[name] = judge.looks(server, Wanted("", 800, "jpeg", QUALITY))
    for codec, word in (("webp", "WebP"), ("avif", "AVIF")):
        bench.log(f"{word}: our quality that equals sharp at its default")
        equal = judge.equal(ours, judge.looks(sharp, Wanted("", 800, codec)), codec)
        title = f"12 MP → 800 px {word}, equal quality"
        case = Case(title, Kind.MP12, 800, codec, None, {"cropmark": equal.quality}, ("cropmark", "sharp"))
        found.equal[word] = equal
        found.cold[case.title] = _paces(bench, started, case)
    bench.log("time of libjpeg-turbo alone")
    found.limit_ms = judge.limit_ms(bench.album.bases(Kind.MP12)[0], 20)


def _hits(bench: Bench, found: Found) -> None:
    wrk = machine.tool("wrk", "wrk")
    if wrk is None:
        bench.missing["wrk"] = "on Debian, as root: apt-get install wrk"
        return
    with ExitStack() as stack:
        ours = bench.started(stack, peers.CROPMARK, "hits", bench.album.folder)
        disk = bench.started(stack, peers.CROPMARK, "disk", bench.album.folder, CROPMARK_MEMORY_CACHE_BYTES="0")
        if ours is None or disk is None:
            return
        static = bench.place / "static"
        paths = warm.forty_kilobytes(bench.album)
        found.hit_bytes = warm.prepare_hits(ours, paths, static)
        warm.prepare_hits(disk, paths, static)
        requested = [("cropmark, memory", ours, paths), ("cropmark, disk", disk, paths)]
        for peer in (peers.STATIC, peers.STATIC_2):
            server = bench.started(stack, peer, peer.name, static)
            if server is not None:
                requested.append((peer.name, server, [f"/{number}.jpg" for number in range(len(paths))]))
        found.hits = warm.hits(
            requested,
            wrk,
            rounds=bench.effort.rounds,
            seconds=bench.effort.seconds,
            log=bench.log,
            place=bench.place,
        )


def _alone(bench: Bench, found: Found) -> None:
    """Measurements of cropmark alone under load."""
    with ExitStack() as stack:
        server = bench.started(stack, peers.CROPMARK, "alone", bench.album.folder)
        if server is None:
            return
        bench.log(f"{bench.effort.identical} identical misses")
        found.identical = warm.identical(server, bench.album, bench.effort.identical)
        paths = warm.forty_kilobytes(bench.album)
        warm.prepare_hits(server, paths, bench.place / "bodies")
        bench.log("hits while all renderers are busy")
        seconds = min(SATURATED_S, 4 * bench.effort.seconds)
        wrk = machine.tool("wrk", "wrk")
        found.busy = warm.busy(server, paths, bench.album, wrk, seconds=seconds, place=bench.place)
    with ExitStack() as stack:
        server = bench.started(stack, peers.CROPMARK, "memory", bench.album.folder)
        if server is not None:
            found.kept = warm.memory(server, bench.album, bench.effort.mixed, bench.log)


if __name__ == "__main__":
    sys.exit(main())
