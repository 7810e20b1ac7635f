"""cropmark translate and compare: commands for a migration between services."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cropmark.cli.options import ConfigFile, out, read_settings

if TYPE_CHECKING:
    from cropmark.replay.compare import Comparison
    from cropmark.replay.fetch import FetchedUrl
    from cropmark.translation import Translation

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def translate(
    request: Annotated[str, typer.Argument(help="A URL, a path, or a query without its question mark.")],
    source_dialect: Annotated[
        str | None, typer.Option("--from", help="Dialect of the request.", show_default="from the path, /fastly/…")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", help="Dialect to translate to.", show_default="all others")
    ] = None,
    accept: Annotated[
        str | None, typer.Option(help="Translate for clients with this Accept header.", show_default="every client")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Translate a request to other dialects, and list the differences of each translation.

    Exits with 1 if the dialect given by --to cannot express the request exactly.
    """
    from cropmark import api

    to = (target,) if target else None
    translations = api.translate(request, dialect=source_dialect, to=to, accept=accept, settings=read_settings(config))
    if as_json:
        out.print_json(json.dumps([translation.to_json() for translation in translations]))
    else:
        for translation in translations:
            _print_translation(translation)
    if target and not all(translation.same for translation in translations):
        raise SystemExit(1)


def _print_translation(translation: Translation) -> None:
    """Print the translated query on one line, so that it can be copied, and then a line for each difference."""
    dialect, query = f"[bold]{translation.dialect}[/]", translation.query
    if query is None:
        out.print(f"{dialect} [red]cannot express it[/]", highlight=False)
    else:
        endpoint = f"{query.endpoint}?" if query.endpoint else ""
        verdict = "[green]equivalent[/]" if translation.same else "[yellow]nearly equivalent[/]"
        text = escape(endpoint + query.text) or "(no query)"
        out.print(f"{dialect} {verdict}: {text}", highlight=False, soft_wrap=True)
        for name, value in query.headers:
            out.print(f"  with the header {escape(name)}: {escape(value)}", highlight=False, soft_wrap=True)
    for sentence in translation.differs:
        out.print(Padding(escape(sentence), (0, 0, 0, 2)), style="dim", highlight=False)


def compare(
    one: Annotated[str, typer.Argument(help="A URL, such as that of the old service.")],
    two: Annotated[str, typer.Argument(help="The URL to compare with, such as that of this server.")],
    accept: Annotated[str, typer.Option(help="Accept header of both requests.")] = "",
    tolerance: Annotated[
        float, typer.Option(min=0, max=255, help="Largest mean difference of equal images, in levels from 0 to 255.")
    ] = 5.0,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Fetch two URLs and compare the status, type, size, frames and pixels. Exits with 1 if the responses differ."""
    import asyncio

    from cropmark.replay.compare import compare_urls

    comparison = asyncio.run(compare_urls(one, two, accept=accept, settings=read_settings(config)))
    differences = comparison.differences(tolerance)
    if as_json:
        out.print_json(json.dumps(comparison.to_json(tolerance)))
    else:
        out.print(_table(comparison, differences))
        verdict = f"[red]different[/]: {', '.join(differences)}" if differences else "[green]identical[/]"
        out.print(verdict, highlight=False)
    if differences:
        raise SystemExit(1)


def _table(comparison: Comparison, differences: tuple[str, ...]) -> Table:
    one, two = comparison.one, comparison.two
    table = Table("", escape(one.url), escape(two.url), "", box=None, header_style="bold", pad_edge=False)
    for name in ("status", "type", "size", "frames", "bytes"):
        mark = "[red]different[/]" if name in differences else ""
        table.add_row(name, _cell(one, name), _cell(two, name), mark)
    if (difference := comparison.difference) is not None:
        pixels = f"mean {difference.mean:.2f}, maximum {difference.maximum} of 255 over {difference.size}"
        psnr = "all pixels equal" if difference.psnr_db is None else f"PSNR {difference.psnr_db:.1f} dB"
        table.add_row("image", pixels, psnr, "[red]different[/]" if "image" in differences else "")
    return table


def _cell(fetched: FetchedUrl, name: str) -> str:
    match name:
        case "status":
            return str(fetched.status)
        case "type":
            return escape(fetched.media_type)
        case "bytes":
            return f"{fetched.bytes:,}"
        case "frames":
            return str(fetched.info.frames) if fetched.info else ""
        case _:
            return str(fetched.info.size) if fetched.info else escape(fetched.error or "")
