"""cropmark stacks: creates and lists stacks, the groups of assets in the library."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli.options import ConfigFile, Data, format_time, open_library, out, parse_name, read_settings

app = typer.Typer(help="Create and list stacks, the groups of assets in the library.", no_args_is_help=True)


@app.command("create")
def create_stack(
    name: Annotated[str, typer.Argument(parser=parse_name, help="Name of the stack; must be unique.")],
    secured: Annotated[bool, typer.Option("--secured", help="Require a delivery token for its images.")] = False,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Create a stack and print its API key. The API key is part of URLs and is not secret."""
    with open_library(read_settings(config, data_dir=data), create=True) as store:
        out.print(store.new_stack(name, secured=secured).api_key, highlight=False)


@app.command("list")
def list_stacks(data: Data = None, config: ConfigFile = None) -> None:
    """List the stacks of the library."""
    with open_library(read_settings(config, data_dir=data)) as store:
        stacks = store.stacks()
    table = Table("api key", "name", "kontent id", "secured", "created", box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True  # to be copied
    for stack in stacks:
        secured = "yes" if stack.secured else "no"
        table.add_row(stack.api_key, escape(stack.name), stack.kontent_id, secured, format_time(stack.created_ms))
    out.print(table)
