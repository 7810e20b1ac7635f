"""Compares cropmark with its peers: `make bench`, or `python benchmarks/run.py [--quick]`.

Installs the peers into benchmarks/.peers, starts every server on the loopback address, sends requests to them in turn,
and writes the section "speed" of benchmarks/RESULTS.md. Takes about 40 minutes, or ten with --quick for rough figures.
In several shorter runs: `--only PART --session FILE` for each part. FILE has the results of the earlier runs, and each
run writes the section with all of them.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("VIPS_CONCURRENCY", "1")

from bench import cold, machine, parallel, peers, report, servers, warm
from bench.cold import Case
from bench.images import Album, Kind, Wanted
from bench.quality import Judge
from bench.results import write_section
from bench.runs import Run, command_line, parser
from bench.servers import Missing, Peer, Server
from bench.targets import Found
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

QUALITY = 80
PARTS = ("cold", "more", "parallel", "equal", "hits", "alone")
SATURATED_S = 12


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount of load."""

    rounds: int
    seconds: float
    """Seconds per server in each round of each case."""
    identical: int
    mixed: tuple[int, ...]


FULL = Effort(rounds=3, seconds=3, identical=500, mixed=(5_000, 10_000))
QUICK = Effort(rounds=2, seconds=1, identical=500, mixed=(500, 1_000))


@dataclass(slots=True)
class Session:
    """The results of one run, or of several runs of single parts."""

    found: Found = field(default_factory=Found)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)


@dataclass(slots=True)
class Bench:
    """All that the measures share."""

    effort: Effort
    album: Album
    place: Path
    cores: machine.Cores
    log: Callable[[str], None]
    versions: dict[str, str]
    missing: dict[str, str]

    def started(self, stack: ExitStack, peer: Peer, name: str, images: Path, **extra: str) -> Server | None:
        """The peer, running until the stack closes; None if it cannot take part, with the reason recorded."""
        self.log(f"{peer.name}: installing and starting")
        try:
            self.versions[peer.name] = peer.install()
            place = self.place / name.replace(" ", "-")
            server = stack.enter_context(servers.running(peer, images, place, extra, self.cores.servers))
        except Missing as reason:
            self.missing[peer.name] = str(reason)
            return None
        self.missing.pop(peer.name, None)
        return server


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    effort = _effort(options)
    session = _session(options.session)
    about = f"cropmark {peers.CROPMARK.install()}, {effort.rounds} rounds of {effort.seconds:g} s"
    run = Run(command_line("python benchmarks/run.py", options), about)
    console = Console(stderr=True)
    place = Path(tempfile.mkdtemp(prefix="cropmark-bench-"))
    cores = machine.cores()
    try:
        with _progress(console) as progress:
            line = progress.add_task("", total=None)
            bench = Bench(
                effort,
                Album(place / "images"),
                place,
                cores,
                lambda text: progress.update(line, description=text),
                session.versions,
                session.missing,
            )
            measured(bench, options.only, session.found)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    run.end()
    session.runs.append(run)
    shared = report.About(session.runs, machine.described(), cores, session.versions, session.missing)
    text = report.section(shared, session.found)
    if options.session:
        options.session.write_bytes(pickle.dumps(session))
    if options.dry or (options.only and not options.session):
        print(text)
    else:
        write_section(options.results, "speed", text)
        console.print(f"written to {options.results}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    found = parser((__doc__ or "").splitlines()[0])
    found.add_argument("--quick", action="store_true", help="rough figures, in about ten minutes")
    found.add_argument("--rounds", type=int, help="rounds of each case")
    found.add_argument("--seconds", type=float, help="of each server in each round")
    found.add_argument("--only", choices=PARTS, help="one part; printed, not written, except with --session")
    found.add_argument("--session", type=Path, help="file with the results of other parts; updated with this run's")
    found.add_argument("--dry", action="store_true", help="print, do not write")
    return found.parse_args(arguments)


def _effort(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else FULL
    return replace(effort, rounds=options.rounds or effort.rounds, seconds=options.seconds or effort.seconds)


def _session(file: Path | None) -> Session:
    """The results of earlier runs; without results if the file does not exist."""
    if file is None or not file.exists():
        return Session()
    stored: Session = pickle.loads(file.read_bytes())
    return stored


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TimeElapsedColumn(), TextColumn("[progress.description]{task.description}"), console=console
    )


# ---------------------------------------------------------------------------------------------- parts


def measured(bench: Bench, only: str | None, found: Found) -> None:
    """Write the results of all parts, or of one of them, into `found`."""
    bench.log("creating images")
    bench.album.prepare()
    os.sched_setaffinity(0, bench.cores.load)
    if only in (None, "cold", "more", "parallel", "equal"):
        with ExitStack() as stack:
            tried = [bench.started(stack, peer, peer.name, bench.album.folder) for peer in peers.RENDERING]
            started = [server for server in tried if server is not None]
            for name, part in (("cold", _cold), ("more", _more), ("parallel", _parallel), ("equal", _equal)):
                if only in (None, name):
                    part(bench, started, found)
    if only in (None, "hits"):
        _hits(bench, found)
    if only in (None, "alone"):
        _alone(bench, found)


def _cold(bench: Bench, started: Sequence[Server], found: Found) -> None:
    for kind, width, codec in ((Kind.MP12, 800, "jpeg"), (Kind.MP12, 800, "webp"), (Kind.MP1, 300, "jpeg")):
        for case in cold.cases(kind, width, codec, QUALITY):
            found.cold[case.title] = _scored(bench, started, case, _paces(bench, started, case))


def _more(bench: Bench, started: Sequence[Server], found: Found) -> None:
    for case in cold.further_cases(QUALITY):
        found.cold[case.title] = _scored(bench, started, case, _paces(bench, started, case))


def _scored(
    bench: Bench, started: Sequence[Server], case: Case, paces: Mapping[str, cold.Pace]
) -> Mapping[str, cold.Pace]:
    """The results with the scores of the images; without them for animations, or if the scorer cannot be installed."""
    if case.kind is Kind.GIF:
        return paces
    try:
        judge = Judge(bench.album, case.kind, case.width, bench.place / "judged")
    except Missing as reason:
        bench.missing["SSIMULACRA2"] = str(reason)
        return paces
    bench.log(f"{case.title}: quality")
    scores = {server.peer.name: judge.looks(server, case.wanted("", "")) for server in started if case.asks(server)}
    return {name: replace(pace, score=scores[name].score) for name, pace in paces.items()}


def _parallel(bench: Bench, started: Sequence[Server], found: Found) -> None:
    with ExitStack() as stack:
        before = bench.started(stack, peers.BEFORE, peers.BEFORE.name, bench.album.folder)
        servers = [*started, before] if before else started
        found.srcsets = parallel.srcsets(servers, bench.album, rounds=bench.effort.rounds, log=bench.log)
    found.levels = parallel.levels(started, bench.album, seconds=bench.effort.seconds, log=bench.log)


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
    photo = Wanted("", 800, "jpeg", QUALITY)
    for name, server in by_name.items():
        if server.url(photo):
            bench.log(f"quality of JPEG at setting {QUALITY}: {name}")
            found.looks[name] = judge.looks(server, photo)
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
