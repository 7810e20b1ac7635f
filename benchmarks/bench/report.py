"""Writes the section of a run: targets, figures, and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import results
from bench.cold import CONNECTIONS
from bench.images import CAMERA_QUALITY
from bench.machine import Cores
from bench.peers import ABSENT
from bench.runs import Run
from bench.targets import NAMES, NGINX, Found, targets, targets_table
from bench.warm import BODIES
from bench.warm import CONNECTIONS as HIT_CONNECTIONS


@dataclass(frozen=True, slots=True)
class About:
    """The circumstances of the results: of one run, or of several runs of single parts."""

    runs: Sequence[Run]
    machine: str
    cores: Cores
    versions: Mapping[str, str]
    missing: Mapping[str, str]


def section(about: About, found: Found) -> str:
    runs = "\n".join(f"- {run}" for run in about.runs)
    parts = ["## Speed compared with peers", f"{about.machine}.", runs, targets_table(targets(found))]
    if found.cold:
        parts += ["### Cache misses", COLD, results.cold_table(found.cold, NAMES)]
    if found.srcsets:
        parts += ["### All sizes of an image", SRCSET, results.srcset_table(found.srcsets)]
    if found.levels:
        parts += ["### From 1 to 64 connections", LEVELS, results.levels_table(found.levels)]
    if found.looks:
        scores = ", ".join(f"{name} {one.score:.1f} ({one.bytes / 1000:.1f} kB)" for name, one in found.looks.items())
        parts += [f"Quality of the 800 px JPEGs at quality 80 (SSIMULACRA2 against an exact resize): {scores}."]
    if found.equal:
        parts += [EQUAL, results.equal_table(found.equal)]
    if found.hits:
        parts += ["### Cache hits", _about_hits(found), results.hits_table(found.hits, NGINX)]
    if found.busy and found.identical:
        parts += ["### Under load", ALONE, results.one_table(found.busy, found.identical, found.kept)]
    parts += ["### Method", how(about)]
    return "\n\n".join(parts)


COLD = (
    f"Each image is requested once, over {CONNECTIONS} connections. Processor time of all processes of the server per "
    "image (in brackets theirs divided by ours, the figure that counts), images per second, mean size, and SSIMULACRA2 "
    "against an exact resize. Rows that name no setting have quality 80, PNG and GIF none."
)
SRCSET = "24 MP in eight widths from 320 to 1920 px as JPEG, WebP and AVIF, requested in parallel."
LEVELS = (
    "12 MP → 800 px JPEG, quality 80, by number of connections: processor time per image, images per second, latency."
)
EQUAL = (
    "Our quality is the lowest setting with a mean score of three images not below sharp's at its defaults; the "
    "rates at that quality are in the rows above."
)
ALONE = (
    "16 clients constantly request new 12 MP images, while 16 others each request a cached image every 80 ms. Mixed: "
    "four of five requests are for one of 200 images, the others for new ones in JPEG, WebP, AVIF and PNG, of which "
    "one in ten has 12 MP."
)


def _about_hits(found: Found) -> str:
    return (
        f"wrk, one thread, {HIT_CONNECTIONS} connections, {BODIES} images in turn, mean size "
        f"{found.hit_bytes / 1000:.0f} kB, each from another source. One server process each; nginx with two workers "
        "for comparison. From disk: the memory tier is off, the files are in the page cache."
    )


def how(about: About) -> str:
    """Versions, cores, rounds, sources."""
    versions = "; ".join(f"{name} {version}" for name, version in about.versions.items())
    missing = " ".join(f"Missing: {name} ({reason})." for name, reason in about.missing.items())
    where = "the same cores" if about.cores.shared else f"cores {_listed(about.cores.load)}"
    return (
        f"{versions}. {missing} {ABSENT}\n\n"
        f"Every server has cores {_listed(about.cores.servers)}, the load comes from {where} of the same machine, over "
        "the loopback address. Rounds with the servers in turn (A B C, A B C, …); medians of rates and of processor "
        "times. Peers run with their defaults: sharp with "
        "a minimal HTTP server (“careful”: with fastShrinkOnLoad off, so that it decodes a JPEG at twice the image's "
        "size or more; “equal”: AVIF with our effort and chroma, PNG with filters for about our size), IPX with its "
        "own server, thumbor with two processes and no storage, nginx with two workers for "
        "its image filter, which cannot write WebP. “Defaults” means the quality that each server uses if the request "
        "names none.\n\n"
        "Sources: mosaics of the project's photographs at their own scale (1 MP: one cut; 12 and 24 MP: 16, 36 cuts), "
        f"JPEG at quality {CAMERA_QUALITY} with 4:2:0 chroma, three of each kind, under a new name for each request, "
        "so that no server's cache has a rendition and the files are in the page cache for all."
    )


def _listed(cores: tuple[int, ...]) -> str:
    return " and ".join(map(str, cores)) if len(cores) < 3 else f"{cores[0]} to {cores[-1]}"
