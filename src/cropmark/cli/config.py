"""cropmark config: prints, explains and checks the configuration."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli.options import ConfigFile, fail, out
from cropmark.config.errors import InvalidConfiguration

app = typer.Typer(help="Show, explain or check the configuration.", no_args_is_help=True)


@app.command("show")
def config_show(
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print all settings, each with its value and the file or variable that sets it. Secrets are masked."""
    from cropmark.config.loader import load_settings

    origins = load_settings(config).origins
    if as_json:
        rows = {one.name: {"value": one.value, "origin": one.origin} for one in origins}
        sys.stdout.write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for one in origins:
        style = None if one.origin != "default" else "dim"
        table.add_row(one.name, escape(one.value), escape(one.origin), style=style)
    out.print(table)


@app.command("explain")
def config_explain(
    key: Annotated[str, typer.Argument(help="Name of a setting, such as max_age_s, fastly.upscale or site.prefix.")],
    config: ConfigFile = None,
) -> None:
    """Explain one setting: its effect, default, environment variable and current value."""
    from cropmark.config.descriptions import describe, setting_names
    from cropmark.config.errors import hint
    from cropmark.config.loader import load_settings

    found = describe(key)
    if found is None:
        fail(f"unknown setting {key!r} | {hint(key, setting_names())}", 2)
    current = {one.name: one for one in load_settings(config).origins}.get(found.name)
    out.print(f"[bold]{escape(found.name)}[/]: {escape(found.description)}", highlight=False, soft_wrap=True)
    for name, text in (
        ("type", found.type),
        ("default", found.default),
        ("variable", found.variable or "none: only in the file"),
        ("value", f"{current.value} (from {current.origin})" if current else ""),
    ):
        if text:
            out.print(f"  {name + ':':10}{text}", highlight=False, soft_wrap=True, markup=False)


@app.command("check")
def config_check(config: ConfigFile = None) -> None:
    """Check the configuration. Prints each error with its line and a fix."""
    from cropmark.config.loader import load_settings
    from cropmark.server.check import find_issues

    loaded = load_settings(config)
    if issues := tuple(find_issues(loaded)):
        raise InvalidConfiguration(issues)
    where = escape(str(loaded.file or "environment and defaults, without a file"))
    out.print(f"[green]OK[/]: {where}", highlight=False)
