"""One server against two servers behind nginx, and one front against two: `make bench-scaling`.

    PYTHONPATH=. python benchmarks/scaling.py [--rounds 9] [--misses 300]

Misses are new sizes of the sample images. Hits are one small image. The load generator is a process on the same cores
and takes CPU time from the servers: CPU time per miss is the figure that counts. Rounds alternate between the
arrangements; medians, least and most are written into the section "scaling" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from bench import load
from bench.machine import cpu_s, described, family
from bench.results import table, write_section
from bench.runs import Run, command_line, parser
from tests.deploy.nginx import running_nginx
from tests.ports import free_port
from tests.web.server_process import Running, running

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "examples" / "images"
CONNECTIONS = 8
ENVIRONMENT = {"CROPMARK_ACCESS_LOG": "off", "CROPMARK_FRAME_CACHE_BYTES": "0"}
HIT = "/fastly/rocket.jpg?width=120&format=webp"


@dataclass(slots=True)
class Figures:
    """The results of the rounds of one arrangement."""

    misses: list[float] = field(default_factory=list)
    """Per second."""
    miss_ms: list[float] = field(default_factory=list)
    """CPU time of all server processes per miss."""
    hits: list[float] = field(default_factory=list)
    hit_us: list[float] = field(default_factory=list)
    failed: int = 0


@contextmanager
def arranged(servers: int, fronts: int, renderers: int, *, proxy: bool) -> Iterator[tuple[str, list[Running]]]:
    """Servers, behind nginx with `proxy`; the address for requests."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cropmark-scaling-")))
        folder.chmod(0o755)
        found = []
        for number in range(servers):
            server = running(
                str(IMAGES),
                "--data",
                str(folder / f"data-{number}"),
                cache=folder / f"{number}",
                environment=ENVIRONMENT,
                renderers=renderers,
                fronts=fronts,
                port=free_port(),
            )
            found.append(stack.enter_context(server))
        address = found[0].address
        if proxy:
            hosts = [each.address.removeprefix("http://") for each in found]
            address = stack.enter_context(running_nginx(folder, hosts, cache=False))
        yield address, found


def measure(address: str, servers: list[Running], figures: Figures, misses: int, hits: int) -> None:
    """One round: misses of all sizes from 60 pixels on, then hits."""
    widths = count(60)
    names = sorted(path.name for path in IMAGES.glob("*.jpg"))
    for warm in range(CONNECTIONS):
        load.get_once(f"{address}/fastly/{names[warm % len(names)]}?width={next(widths)}&enable=upscale")
    urls = [f"{address}/fastly/{names[n % len(names)]}?width={next(widths)}&enable=upscale" for n in range(misses)]
    pids = [pid for each in servers for pid in family(each.process.pid)]
    before = cpu_s(pids)
    run = asyncio.run(load.swept(urls, CONNECTIONS))
    figures.misses.append(run.rate)
    figures.miss_ms.append((cpu_s(pids) - before) * 1000 / misses)
    figures.failed += run.failed
    asyncio.run(load.swept([address + HIT] * 200, CONNECTIONS))
    before = cpu_s(pids)
    run = asyncio.run(load.swept([address + HIT] * hits, CONNECTIONS))
    figures.hits.append(run.rate)
    figures.hit_us.append((cpu_s(pids) - before) * 1e6 / hits)
    figures.failed += run.failed


ARRANGEMENTS = {
    "one server, one renderer, behind nginx": (1, 1, 1, True),
    "two servers, one renderer each, behind nginx": (2, 1, 1, True),
    "one server, one front, two renderers": (1, 1, 2, False),
    "one server, two fronts, two renderers": (1, 2, 2, False),
}


def written(found: dict[str, Figures], options: argparse.Namespace, run: Run) -> str:
    """The section of the results."""
    rows = [
        (
            name,
            f"{spread(each.misses, '.1f')} /s",
            f"{spread(each.miss_ms, '.2f')} ms",
            f"{spread(each.hits, ',.0f')} /s",
            f"{spread(each.hit_us, '.0f')} µs",
            str(each.failed),
        )
        for name, each in found.items()
    ]
    one, two, front, fronts = found.values()
    ratios = [
        ("CPU time per miss, two servers to one (goal: ≤ 1.05)", ratio(two.miss_ms, one.miss_ms)),
        ("misses per second, two servers to one", ratio(two.misses, one.misses)),
        ("CPU time per miss, two fronts to one", ratio(fronts.miss_ms, front.miss_ms)),
        ("misses per second, two fronts to one", ratio(fronts.misses, front.misses)),
        ("CPU time per hit, two fronts to one", ratio(fronts.hit_us, front.hit_us)),
        ("hits per second, two fronts to one", ratio(fronts.hits, front.hits)),
    ]
    heads = ("median (least – most)", "misses", "CPU per miss", "hits", "CPU per hit", "failed")
    return f"""## Two servers, and two fronts

{run}. {described()}.
{options.rounds} rounds of {options.misses:,} misses and {options.hits:,} hits over {CONNECTIONS} connections.
nginx and the load generator, one Python process, run on the same cores and limit the rates: a second front has no core
of its own. CPU time is that of the servers' processes without nginx.

{table(heads, rows)}

{table(("ratio in each round", "median (least – most)"), ratios)}
"""


def spread(values: Sequence[float], style: str) -> str:
    """The median of the rounds, with the least and the most."""
    return f"{median(values):{style}} ({min(values):{style}} – {max(values):{style}})"


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """The ratio in each round."""
    if not all(base):  # fewer requests than take one tick of the CPU clock
        return "not measured"
    return spread([value / other for value, other in zip(values, base, strict=True)], ".2f")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--misses", type=int, default=300)
    options.add_argument("--hits", type=int, default=4000)
    given = options.parse_args()
    run = Run(command_line("PYTHONPATH=. python benchmarks/scaling.py", given))
    found = {name: Figures() for name in ARRANGEMENTS}
    for _ in range(given.rounds):
        for name, (servers, fronts, renderers, proxy) in ARRANGEMENTS.items():
            with arranged(servers, fronts, renderers, proxy=proxy) as (address, started):
                measure(address, started, found[name], given.misses, given.hits)
            print(name, found[name].misses[-1], found[name].miss_ms[-1], found[name].hits[-1], flush=True)
    run.end()
    text = written(found, given, run)
    write_section(given.results, "scaling", text)
    print(text)
    return 1 if any(each.failed for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
