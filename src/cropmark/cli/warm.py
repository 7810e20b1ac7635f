"""cropmark warm: fills the caches of a running server by requesting many URLs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli.options import ConfigFile, err, fail, out, progress_bar, read_settings

if TYPE_CHECKING:
    from cropmark.replay.warm import WarmOptions, WarmRequest, WarmSummary

LISTED_FAILURES = 20


def warm(
    urls: Annotated[
        str,
        typer.Argument(
            help="File or URL of the list: one URL or path per line, a sitemap, or a manifest; - is standard input."
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option(
            help="Send all requests to this server, with the host of each URL as Host header.",
            show_default="the host of each URL; for paths this machine, the configured port",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Largest number of requests at the same time.")] = 4,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Largest number of requests per second.", show_default="unlimited")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Accept header; repeatable. Each URL is requested once per header.", show_default="*/*"),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="File that lists successful requests: these are skipped, and new ones are appended."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Longest time for one response, in seconds.")] = 60.0,
    config: ConfigFile = None,
) -> None:
    """Request many URLs, so that the server's caches contain their images. Exits with 1 if a request failed."""
    from cropmark.replay.url_lists import read_urls
    from cropmark.replay.warm import WarmOptions, WarmSummary, pending_requests, read_done

    listed = read_urls(urls)
    accepts = tuple(accept or ("*/*",))
    options = WarmOptions(_server(server, listed, config), concurrency, rate, accepts, timeout)
    requests = pending_requests(listed, accepts, read_done(resume))
    summary = WarmSummary(skipped=len(listed) * len(accepts) - len(requests))
    _run(requests, options, summary, resume)
    _print(summary)
    if summary.failures:
        raise SystemExit(1)


def _server(given: str | None, listed: list[str], config: Path | None) -> str:
    """The URL of the server that gets all requests; empty if each URL is requested from its own host.

    It is the option --server (`given`). Without this option, it is the configured server if `listed` has paths, and
    empty if `listed` has URLs with a host. Ends the command if `listed` has both.
    """
    from cropmark.config.addresses import public_url

    if given is not None:
        if not given.startswith(("http://", "https://")):
            fail(f"expected the address of a server, got {given!r} | write http://host:port", 2)
        return given.rstrip("/")
    are_paths = {url.startswith("/") for url in listed}
    if len(are_paths) > 1:
        fail("the list has paths and URLs with a host | name the server with --server", 2)
    return public_url(read_settings(config)) if True in are_paths else ""


def _run(requests: list[WarmRequest], options: WarmOptions, summary: WarmSummary, resume: Path | None) -> None:
    import asyncio
    from contextlib import nullcontext

    from cropmark.replay.warm import WarmResult, warm
    from cropmark.runtime.line_file import open_lines

    file = nullcontext(None) if resume is None else open_lines(resume)
    with file as done, progress_bar("warming", len(requests)) as advance:

        def report(result: WarmResult) -> None:
            summary.add(result)
            advance()

        asyncio.run(warm(requests, options, report, done))


def _print(summary: WarmSummary) -> None:
    """Print the number of requests by status and cache result, and the first failures."""
    table = Table("status", "cache", "requests", box=None, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    for (status, cache), count in sorted(summary.counts.items()):
        table.add_row(status, cache, f"{count:,}")
    if summary.counts:
        out.print(table)
    skipped = f", {summary.skipped:,} skipped: an earlier run made them" if summary.skipped else ""
    out.print(f"{summary.counts.total():,} requests, {summary.bytes:,} bytes{skipped}", highlight=False)
    for failed in summary.failures[:LISTED_FAILURES]:
        reason = " ".join(part for part in (str(failed.status or ""), failed.reason) if part)
        err.print(f"[yellow]{escape(failed.request.url)}[/]: {escape(reason)}", highlight=False, soft_wrap=True)
    if len(summary.failures) > LISTED_FAILURES:
        err.print(f"and {len(summary.failures) - LISTED_FAILURES:,} further failures", highlight=False)
