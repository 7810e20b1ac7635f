"""Writes tables, and replaces single sections of a results file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.cold import Pace
from bench.parallel import LEVELS, Level, Srcset
from bench.quality import Equal
from bench.warm import Busy, Hits, Identical, Kept

HEAD = "# Benchmark results\n\nEach section is written by the command that it names, with date and machine.\n"


def with_section(text: str, name: str, body: str) -> str:
    """The file's text with this section in the place of the one of that name, or at its end."""
    section = f"<!-- {name} -->\n{body.strip()}\n<!-- /{name} -->"
    found = re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- /{re.escape(name)} -->", re.DOTALL)
    if found.search(text):
        return found.sub(lambda _: section, text, count=1)
    return f"{text.rstrip()}\n\n{section}\n"


def write_section(file: Path, name: str, body: str) -> None:
    text = file.read_text("utf-8") if file.exists() else HEAD
    file.write_text(with_section(text, name, body), "utf-8")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column is text, the others are figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---------------------------------------------------------------------------------------------- tables


def cold_table(found: Mapping[str, Mapping[str, Pace]], servers: Sequence[str]) -> str:
    """CPU ms per image, in brackets theirs divided by ours; images per second; kB and SSIMULACRA2 of an image."""
    rows = []
    for title, paces in found.items():
        ours = paces["cropmark"].cpu_ms
        rows.append([title, *(_pace(paces.get(name), ours, name == "cropmark") for name in servers)])
    return table(("", *servers), rows)


def _pace(pace: Pace | None, ours: float, is_ours: bool) -> str:
    if pace is None:
        return "–"
    ratio = "" if is_ours else f" ({pace.cpu_ms / ours:.2f}×)"
    score = "" if pace.score is None else f", {pace.score:.1f}"
    return f"{pace.cpu_ms:.1f} ms{ratio}, {pace.rate:.1f}/s, {pace.bytes / 1000:.1f} kB{score}"


def srcset_table(found: Mapping[str, Srcset]) -> str:
    rows = [(name, f"{one.seconds:.2f} s", f"{one.cpu_s:.2f} s", str(one.failed)) for name, one in found.items()]
    return table(("", "until the last response", "processor time", "failed"), rows)


def levels_table(found: Mapping[str, Mapping[int, Level]]) -> str:
    """A column for each number of connections."""
    rows = [(name, *(_level(one) for one in levels.values())) for name, levels in found.items()]
    return table(("", *map(str, LEVELS)), rows)


def _level(one: Level) -> str:
    failed = f", {one.failed} failed" if one.failed else ""
    return f"{one.cpu_ms:.1f} ms, {one.rate:.1f}/s, p50 {one.p50_ms:.0f} ms, p99 {one.p99_ms:.0f} ms{failed}"


def equal_table(found: Mapping[str, Equal]) -> str:
    rows = [
        (
            name,
            str(equal.quality),
            f"{equal.ours.score:.1f}",
            f"{equal.theirs.score:.1f}",
            f"{equal.ours.bytes / 1000:.1f} kB",
            f"{equal.theirs.bytes / 1000:.1f} kB",
            f"{equal.more_bytes:+.0%}",
        )
        for name, equal in found.items()
    ]
    heads = ("", "our quality", "our score", "sharp's score", "our size", "sharp's size", "bytes")
    return table(heads, rows)


def hits_table(found: Mapping[str, Hits], reference: str) -> str:
    base = found.get(reference)
    rows = []
    for name, hits in found.items():
        ratio = f"{hits.rate / base.rate:.2f}×" if base else "–"
        rows.append((name, f"{hits.rate:,.0f}/s", ratio, f"{hits.cpu_us:.1f} µs", f"{hits.p99_ms:.2f} ms"))
    return table(("", "hits", f"of {reference}", "processor time per hit", "p99"), rows)


def one_table(busy: Busy, identical: Identical, stored: Sequence[Kept]) -> str:
    """Measurements of cropmark alone, without a peer."""
    closed = f"{busy.closed_p99_ms:.1f} ms" if busy.closed_p99_ms is not None else "not measured"
    rows = [
        ("hits while all renderers are busy, p50 and p99", f"{busy.p50_ms:.1f} and {busy.p99_ms:.1f} ms"),
        ("the same, 16 clients without pauses, p99", closed),
        ("number of hits and of misses in parallel", f"{busy.hits:,}, {busy.misses:,} ({busy.refused} rejected)"),
        (f"{identical.requests} identical misses: renders", str(identical.renders)),
        ("processor time of all processes, each", f"{identical.cpu_ms:.2f} ms"),
        ("until the last response", f"{identical.seconds:.2f} s"),
    ]
    for one in stored:
        memory = f"{one.memory.resident:.0f} MiB, {one.memory.proportional:.0f} with shared pages counted once"
        rows.append((f"resident memory after {one.requests:,} mixed requests", memory))
    return table(("", "cropmark"), rows)
