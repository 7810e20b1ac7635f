"""The commands for whoever moves from one service to another: what a request is called elsewhere, what differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from cropmark.config import configured
from cropmark.translating import Translation

out = Console()

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
    from cropmark import api  # noqa: PLC0415 - the engine is not loaded for --help

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
