"""The commands for whoever moves from one service to another: what a request is called elsewhere, what differs."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cropmark.config.loader import configured

if TYPE_CHECKING:  # they bring the engine and the web stack, which whoever asks for --help need not wait for
    from cropmark.replay.compare import Comparison, FetchedUrl
    from cropmark.translation import Translation

out = Console(emoji=False)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; ./cropmark.toml where it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def translate(
    request: Annotated[str, typer.Argument(help="A URL, its path, or what stands behind its question mark.")],
    spoken: Annotated[
        str | None, typer.Option("--from", help="Its dialect; that of the path /fastly/… where left out.")
    ] = None,
    wanted: Annotated[str | None, typer.Option("--to", help="One dialect; all others where left out.")] = None,
    accept: Annotated[
        str | None, typer.Option(help="For clients that send this Accept header; for every client where left out.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Say a request in another dialect, or name what has no words there.

    Ends with 1 where a dialect that was named by --to cannot say the same.
    """
    from cropmark import api  # noqa: PLC0415 - as below

    found = api.translate(
        request, dialect=spoken, to=(wanted,) if wanted else None, accept=accept, settings=configured(config).settings
    )
    if as_json:
        out.print_json(json.dumps([one.plain() for one in found]))
    else:
        for one in found:
            _show(one)
    if wanted and not all(one.same for one in found):
        sys.exit(1)


def _show(found: Translation) -> None:
    """A translation on one line, to be copied whole, and below it a line for each thing that differs."""
    if found.query is None:
        out.print(f"[bold]{found.dialect}[/] [red]has no words for it[/]", highlight=False)
    else:
        endpoint = f"{found.query.endpoint}?" if found.query.endpoint else ""
        means = "[green]the same[/]" if found.same else "[yellow]nearly the same[/]"
        words = escape(endpoint + found.query.text) or "(no query)"
        out.print(f"[bold]{found.dialect}[/] {means}: {words}", highlight=False, soft_wrap=True)
        for name, value in found.query.headers:
            out.print(f"  with the header {escape(name)}: {escape(value)}", highlight=False, soft_wrap=True)
    for sentence in found.differs:
        out.print(Padding(escape(sentence), (0, 0, 0, 2)), style="dim", highlight=False)


def compare(
    one: Annotated[str, typer.Argument(help="A URL, such as the service's.")],
    two: Annotated[str, typer.Argument(help="The other, such as this server's.")],
    accept: Annotated[str, typer.Option(help="The Accept header that both are asked with.")] = "",
    tolerance: Annotated[
        float, typer.Option(min=0, max=255, help="Levels of 255 that the pictures may differ on average.")
    ] = 5.0,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Fetch two URLs and tell what differs: status, type, size, frames, picture. Ends with 1 where something does."""
    from cropmark.replay.compare import compared  # noqa: PLC0415 - it brings the engine

    found = asyncio.run(compared(one, two, accept=accept, settings=configured(config).settings))
    unlike = found.unlike(tolerance)
    if as_json:
        out.print_json(json.dumps(found.plain(tolerance)))
    else:
        out.print(_table(found, unlike))
        out.print(f"[red]differs[/]: {', '.join(unlike)}" if unlike else "[green]alike[/]", highlight=False)
    if unlike:
        sys.exit(1)


def _table(found: Comparison, unlike: tuple[str, ...]) -> Table:
    table = Table("", escape(found.one.url), escape(found.two.url), "", box=None, header_style="bold", pad_edge=False)
    for name in ("status", "type", "size", "frames", "bytes"):
        mark = "[red]differs[/]" if name in unlike else ""
        table.add_row(name, _cell(found.one, name), _cell(found.two, name), mark)
    if found.difference is not None:
        d = found.difference
        psnr = "no pixel differs" if d.psnr_db is None else f"PSNR {d.psnr_db:.1f} dB"
        mark = "[red]differs[/]" if "picture" in unlike else ""
        table.add_row("picture", f"mean {d.mean:.2f}, most {d.maximum} of 255 over {d.size}", psnr, mark)
    return table


def _cell(seen: FetchedUrl, name: str) -> str:
    match name:
        case "status":
            return str(seen.status)
        case "type":
            return escape(seen.media_type)
        case "bytes":
            return f"{seen.bytes:,}"
        case "frames":
            return str(seen.info.frames) if seen.info else ""
        case _:
            return str(seen.info.size) if seen.info else escape(seen.trouble or "")
