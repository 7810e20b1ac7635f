"""The section that a run writes: what is to be reached, then the figures behind it, then how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench import results
from bench.cold import CONNECTIONS
from bench.images import CAMERA_QUALITY
from bench.machine import Cores
from bench.peers import ABSENT
from bench.targets import NAMES, NGINX, Found, targets, targets_table
from bench.warm import BODIES
from bench.warm import CONNECTIONS as HIT_CONNECTIONS


@dataclass(frozen=True, slots=True)
class About:
    """How the figures came about."""

    date: str
    machine: str
    cores: Cores
    load_before: float
    command: str
    minutes: float
    rounds: int
    seconds: float
    versions: Mapping[str, str]
    missing: Mapping[str, str]


def section(about: About, found: Found) -> str:
    when = f"{about.date}, `{about.command}`, {about.minutes:.0f} minutes."
    where = f"{about.machine}; load average before: {about.load_before:.1f}."
    parts = ["## Speed, beside peers", f"{when} {where}", targets_table(targets(found))]
    if found.cold:
        parts += ["### Pictures that nobody has made yet", COLD, results.cold_table(found.cold, NAMES)]
    if found.looks:
        told = ", ".join(f"{name} {one.score:.1f} ({one.bytes / 1000:.1f} kB)" for name, one in found.looks.items())
        parts += [f"How the 800 px JPEGs at quality 80 look (SSIMULACRA2 against an exact resize): {told}."]
    if found.equal:
        parts += [EQUAL, results.equal_table(found.equal)]
    if found.hits:
        parts += ["### Pictures that are there", _about_hits(found), results.hits_table(found.hits, NGINX)]
    if found.busy and found.identical:
        parts += ["### Under load", ALONE, results.one_table(found.busy, found.identical, found.kept)]
    parts += ["### How", how(about)]
    return "\n\n".join(parts)


COLD = (
    f"Each picture is asked for once, over {CONNECTIONS} connections. Pictures a second (in brackets ours over "
    "theirs), processor time of all the server's processes a picture, mean size."
)
EQUAL = (
    "Our quality is the lowest at which three pictures look no worse, on the mean, than sharp's at its defaults; the "
    "rates at that quality are in the rows above."
)
ALONE = (
    "16 clients ask for new 12 MP pictures all the time, while 16 others ask for old ones every 80 ms each. Mixed: "
    "four in five for one of 200 pictures, the others new, in JPEG, WebP, AVIF and PNG, one in ten of those of 12 MP."
)


def _about_hits(found: Found) -> str:
    return (
        f"wrk, one thread, {HIT_CONNECTIONS} connections, {BODIES} pictures in turn of {found.hit_bytes / 1000:.0f} kB "
        "on the mean, each of another source. One server process each; nginx with two workers beside it. From disk: "
        "the memory tier switched off, the files in the page cache."
    )


def how(about: About) -> str:
    """Versions, cores, rounds, sources."""
    versions = "; ".join(f"{name} {version}" for name, version in about.versions.items())
    missing = " ".join(f"Left out: {name} ({reason})." for name, reason in about.missing.items())
    where = "the same cores" if about.cores.shared else f"cores {_listed(about.cores.load)}"
    return (
        f"{versions}. {missing} {ABSENT}\n\n"
        f"Every server has cores {_listed(about.cores.servers)}, the load comes from {where} of the same machine, all "
        f"by the loopback address. {about.rounds} rounds, the servers in turn in each (A B C, A B C, …), about "
        f"{about.seconds:g} s each; medians of rates and of processor times. Peers run as they come: sharp behind "
        "the least HTTP server that there can be (“careful”: with its option fastShrinkOnLoad off, so that it decodes "
        "a JPEG at no less than twice the picture), IPX with its own, thumbor with two processes and no storage, nginx "
        "with two workers for its image filter, which makes no WebP. “Defaults” is what each takes when nobody names a "
        "quality.\n\n"
        "Sources: mosaics of the project's photographs at their own scale (12 MP: sixteen cuts of six photographs; "
        f"1 MP: one cut), JPEG at quality {CAMERA_QUALITY}, three different ones of each size, under as many names as "
        "there are requests, so that no cache helps anybody and the files are in the page cache for all."
    )


def _listed(cores: tuple[int, ...]) -> str:
    return " and ".join(map(str, cores)) if len(cores) < 3 else f"{cores[0]} to {cores[-1]}"
