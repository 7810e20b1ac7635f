"""cropmark replay: compares two servers by requesting the image URLs of an access log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli.options import ConfigFile, fail, out, progress_bar, read_settings

if TYPE_CHECKING:
    from cropmark.config.settings import Settings
    from cropmark.replay.results import ReplayOptions, ResultFile
    from cropmark.replay.run import Pace
    from cropmark.replay.summary import Summary
    from cropmark.replay.targets import ReadLog

MAX_ROWS = 12


def replay(
    log: Annotated[Path, typer.Argument(help="Access log, also compressed by gzip; - is standard input.")],
    against: Annotated[
        str | None, typer.Option(help="URL of the old service, before the log's paths.", show_default="do not compare")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="URL of this server.", show_default="this machine, the configured port")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results and the report.")] = Path("replay"),
    match: Annotated[
        str | None, typer.Option(help="Regular expression for the paths of images.", show_default="by suffix and type")
    ] = None,
    accept: Annotated[str, typer.Option(help="Accept header of all requests.")] = "",
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Largest number of URLs per second.")] = 20.0,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Largest number of URLs at the same time.")] = 4,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of URLs, the most requested first.", show_default="all")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=255, help="Largest mean difference of equal images, in levels from 0 to 255.")
    ] = 5.0,
    worst: Annotated[int, typer.Option(min=0, max=200, help="Number of image pairs in the report.")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Request each image URL of an access log from this server and from the old service, and compare the images.

    Writes results.jsonl and report.html. A second run with the same options continues an interrupted one, and repeats
    failed requests. Exits with 1 unless all images are identical or visually equal.
    """
    import asyncio

    from cropmark.config.addresses import public_url
    from cropmark.replay.fetch import checked_url
    from cropmark.replay.results import ReplayOptions, ResultFile
    from cropmark.replay.run import Pace

    settings = read_settings(config)
    options = ReplayOptions(
        checked_url(server or public_url(settings)),
        None if against is None else checked_url(against),
        accept,
        tolerance,
    )
    read = _read_log(log, match, limit)
    folder.mkdir(parents=True, exist_ok=True)
    results = ResultFile(folder / "results.jsonl", options)
    summary = asyncio.run(_replay(read, options, Pace(rate, concurrency), results, settings, worst))
    if as_json:
        out.print_json(json.dumps(summary.to_json()))
    else:
        _print_summary(summary)
        out.print(f"report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
    if not summary.is_good:
        raise SystemExit(1)


def _read_log(log: Path, match: str | None, limit: int | None) -> ReadLog:
    from dataclasses import replace

    from cropmark.replay.targets import read_log

    try:
        pattern = None if match is None else re.compile(match)
    except re.error as error:
        fail(f"--match: {error} | write a regular expression, such as /media/", 2)
    read = read_log(log, pattern)
    if not read.targets:
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in read.skipped) or "it is empty"
        fail(f"{log} has no request of an image: {skipped} | select paths with --match")
    return replace(read, targets=read.targets[:limit])


async def _replay(
    read: ReadLog, options: ReplayOptions, pace: Pace, results: ResultFile, settings: Settings, worst_pairs: int
) -> Summary:
    """Replay the URLs without a final result from an earlier run, write the report, and return the summary."""
    from cropmark.api import write
    from cropmark.replay.report import draw_pairs, failures_of, html_report
    from cropmark.replay.results import UrlResult
    from cropmark.replay.run import replay
    from cropmark.replay.summary import summarize, worst
    from cropmark.server.components import build_pool

    known = {key for key, result in results.by_key.items() if result.outcome.is_final}
    waiting = [target for target in read.targets if target.key not in known]
    pool = build_pool(settings, forks=True)
    await pool.start()
    total = len(read.targets)
    try:
        with results, progress_bar("replaying", total, total - len(waiting)) as advance:

            def report(result: UrlResult) -> None:
                results.add(result)
                advance()

            await replay(waiting, options, pace, pool, report)
        found = [results.by_key[target.key] for target in read.targets]
        summary = summarize(found)
        pairs = await draw_pairs(worst(found, worst_pairs), options, pool)
    finally:
        await pool.close()
    page = html_report(read, options, summary, pairs, failures_of(found))
    write(results.path.with_name("report.html"), page.encode("utf-8", "replace"))
    return summary


def _print_summary(summary: Summary) -> None:
    requests = dict(summary.requests)
    table = Table("outcome", "URLs", "requests", box=None, header_style="bold", pad_edge=False)
    for outcome, count in summary.urls:
        style = "green" if outcome.is_good else "red"
        table.add_row(f"[{style}]{outcome.value}[/]", f"{count:,}", f"{requests[outcome]:,}")
    out.print(table)
    bad = [pattern for pattern in summary.patterns if pattern.bad]
    for pattern in bad[:MAX_ROWS]:
        outcomes = ", ".join(f"{count:,} {outcome.value}" for outcome, count in pattern.outcomes if not outcome.is_good)
        out.print(f"{escape(pattern.pattern)}: {outcomes}", highlight=False, soft_wrap=True)
    if len(bad) > MAX_ROWS:
        out.print(f"and {len(bad) - MAX_ROWS} more patterns", highlight=False)
    share = f"{100 * summary.good_share:.2f} %"
    out.print(f"{share} of the requests are for identical or visually equal images", highlight=False, soft_wrap=True)
