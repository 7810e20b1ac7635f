"""Soak test of a fleet: nginx, Redis, PostgreSQL, an S3 server and two servers are killed. `make fleet-soak`.

    PYTHONPATH=. python benchmarks/fleet_soak.py [--minutes 5] [--seed 1]

The load runs while each part is killed with SIGKILL (PostgreSQL: an immediate shutdown) and started again. Every body
is compared with the expected one or decoded; benchmarks/fleet/load.py has the rules. Exits with 1 if anything was
wrong, and writes the section "fleet-soak" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from bench.machine import described
from bench.results import table, write_section
from bench.runs import Run, command_line, parser, show_progress
from fleet.load import COLORED, GRACE_S, Load, Verdict, jobs
from fleet.parts import Fleet, started

from cropmark.fleet.locks import LOCK_S

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("redis", "one", "bucket", "nginx", "postgres", "two")
FIRST_S = 3.0
"""Seconds of undisturbed load before the first kill."""


async def kills(load: Load, parts: Sequence[str], down_s: float) -> None:
    """Kill the parts one after the other, evenly over the time, with time to recover after the last one."""
    fleet, began_s = load.fleet, time.monotonic()
    gap_s = (load.until_s - began_s - FIRST_S) / len(parts)
    for number, part in enumerate(parts):
        await asyncio.sleep(max(0.0, began_s + FIRST_S + number * gap_s - time.monotonic()))
        if part in ("one", "two"):
            load.read_assets = {read for read in load.read_assets if read[0] != part}
        if part == "bucket":
            async with load.bucket_writes:
                await asyncio.to_thread(fleet.kill, part, down_s)
        else:
            await asyncio.to_thread(fleet.kill, part, down_s)
    load.until_s = max(load.until_s, time.monotonic() + GRACE_S)
    load.is_killing = False


async def finish(load: Load) -> None:
    """Check, after everything is back, that both servers serve the newest colors and all assets."""
    await asyncio.sleep(GRACE_S)
    for server in ("one", "two"):
        for name in COLORED:
            if not await load.check_color(server, name):
                load.verdict.wrong.append(f"{name} of {server}: not served at the end")
        for path in load.assets:
            if not await load.check_asset(server, path):
                load.verdict.wrong.append(f"{path} of {server}: lost")


async def soak(fleet: Fleet, seconds: float, parts: Sequence[str], down_s: float, seed: int = 1) -> Verdict:
    """Run the load for this time while the parts are killed."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        load = Load(fleet, client, Verdict(), random.Random(seed), 0.0)
        await load.prepare()
        load.until_s = time.monotonic() + seconds
        work = [job() for job in jobs(load)]
        await asyncio.gather(*work, kills(load, parts, down_s), show_progress(load, seconds, lambda: _seen(load)))
        await finish(load)
    return load.verdict


def judge_processes(fleet: Fleet, verdict: Verdict) -> None:
    """Renderers that outlived their server, and exceptions in the logs. Called when all servers have ended."""
    if fleet.orphans:
        verdict.wrong.append(f"{fleet.orphans} renderers outlived their server")
    for log in fleet.logs:
        if "Traceback" in log:
            verdict.wrong.append(f"a traceback in a log: {log[log.index('Traceback') :][:2000]}")


def _seen(load: Load) -> str:
    away = [each.part for each in load.fleet.outages if load.fleet.is_away(each.part)]
    seen = f"{load.verdict.responses.total():,} responses, {len(load.verdict.wrong)} wrong"
    return f"{seen}; away: {', '.join(away) or '-'}"


def written(fleet: Fleet, verdict: Verdict, run: Run) -> str:
    """The section of the results."""
    away = ", ".join(f"{each.part} {each.until_s - each.from_s:.1f} s" for each in fleet.outages)
    times = sorted(verdict.took_s)
    p50, p99 = (1000 * times[int(len(times) * share)] for share in (0.5, 0.99))
    renders = ", ".join(f"{number}: {count:,}" for number, count in sorted(verdict.renders_of_key.items()))
    rows = [
        ("responses with an image", f"{verdict.responses.total():,}"),
        (
            "wrong responses, lost purges, lost assets, images rendered twice, unexplained errors",
            str(len(verdict.wrong)),
        ),
        ("purges, of these while Redis was away", f"{verdict.purges:,}, {verdict.waited}"),
        ("new images with six requests at the same time, three on each server", f"{verdict.bursts:,}"),
        ("largest number of renders on one server while Redis was up, with the number of images", renders),
        (f"images that both servers rendered, because it took more than {LOCK_S:g} s", str(verdict.on_both)),
        ("uploads to the library, all of them served at the end", f"{verdict.assets:,}"),
        ("response time: p50, p99", f"{p50:.1f}, {p99:.1f} ms"),
        ("time from each kill until the part was back", away),
    ]
    good = [(name, f"{number:,}") for name, number in sorted(verdict.responses.items())]
    failed = [(name, f"{number:,}") for name, number in sorted(verdict.failed.items())] or [("none", "0")]
    return f"""## Fleet soak

{run}. {described()}, shared by all parts and the load: nginx (without its cache), Redis, PostgreSQL,
an S3 server, two servers with one renderer each. **{"Passed" if not verdict.wrong else "Not passed"}.**

{table(("", "measured"), rows)}

{table(("responses", "number"), good)}

{table(("failed requests, all explained by a kill", "number"), failed)}
"""


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=5)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    run = Run(command_line("PYTHONPATH=. python benchmarks/fleet_soak.py", given))
    # Not below a folder that only root can read: PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="cropmark-fleet-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with started(folder, ROOT / "examples" / "images") as fleet:
            verdict = asyncio.run(soak(fleet, given.minutes * 60, PARTS, 5.0, given.seed))
        judge_processes(fleet, verdict)
    run.end()
    text = written(fleet, verdict, run)
    write_section(given.results, "fleet-soak", text)
    print(text)
    for line in verdict.wrong[:40]:
        print(f"wrong: {line}")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
