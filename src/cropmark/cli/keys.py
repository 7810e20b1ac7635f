"""cropmark keys: create, list and revoke keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli.options import (
    ConfigFile,
    Data,
    StackName,
    err,
    format_time,
    open_library,
    out,
    parse_name,
    read_settings,
    select_stack,
)
from cropmark.model.assets import KeyKind, KeyScope, LibraryKey
from cropmark.model.problems import BadRequest

if TYPE_CHECKING:
    from cropmark.config.settings import Settings

app = typer.Typer(help="Create and revoke keys.", no_args_is_help=True)


@app.command("create")
def create_key(
    kind: Annotated[KeyKind, typer.Argument(help="Kind of key.")],
    name: Annotated[str, typer.Argument(parser=parse_name, help="A name for the key.")],
    environment: Annotated[
        list[str] | None,
        typer.Option(parser=parse_name, help="Environment of a delivery token; may be repeated."),
    ] = None,
    from_stdin: Annotated[bool, typer.Option("--secret", help="Read the key from standard input.")] = False,
    stack: StackName = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Create a key and print it. The key cannot be shown again."""
    if environment and kind is not KeyKind.DELIVERY:
        raise BadRequest("--environment is for delivery tokens", fix="leave it out")
    settings = read_settings(config, data_dir=data)
    secret = _read_secret(settings) if from_stdin else _new_secret(kind)
    with open_library(settings, create=True) as store:
        has_stack = kind in (KeyKind.MANAGEMENT, KeyKind.DELIVERY)
        api_key = select_stack(store, stack, create=True).api_key if has_stack else None
        store.new_key(kind, name, KeyScope(api_key, tuple(environment or ())), secret)
    if not from_stdin:
        out.print(secret, highlight=False, soft_wrap=True)
        err.print("This key is shown only once.", style="dim")


@app.command("list")
def list_keys(data: Data = None, config: ConfigFile = None) -> None:
    """List the keys without their secrets."""
    with open_library(read_settings(config, data_dir=data)) as store:
        names = {stack.api_key: stack.name for stack in store.stacks()}
        keys = store.all_keys()
    table = Table("id", "kind", "name", "scope", "created", "last used", box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True  # to be copied
    for key in keys:
        created = format_time(key.created_ms)
        used = format_time(key.last_used_ms) if key.last_used_ms else "never"
        table.add_row(key.id, key.kind.value, escape(key.name), escape(_scope(key, names)), created, used)
    out.print(table)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(parser=parse_name, help="Id of the key, from `cropmark keys list`.")],
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Revoke a key. All servers reject it within a second."""
    with open_library(read_settings(config, data_dir=data)) as store:
        if not store.revoke_key(key_id):
            raise BadRequest(f"unknown key {key_id!r}", fix="see cropmark keys list")
    out.print("revoked", highlight=False)


def _new_secret(kind: KeyKind) -> str:
    from cropmark.library.keys import new_secret

    return new_secret(kind)


def _read_secret(settings: Settings) -> str:
    """The key that the user chose, read from standard input. An argument would be visible to other processes.

    Warns of a key that is too short; in production, raises BadRequest for it.
    """
    from cropmark.library.keys import RECOMMENDED_CHARS

    secret = sys.stdin.readline().strip()
    if len(secret) < RECOMMENDED_CHARS:
        warning = f"a key of {len(secret)} characters can be guessed"
        if settings.production:
            fix = f"use {RECOMMENDED_CHARS} characters or more, or a generated key"
            raise BadRequest(f"production: {warning}", fix=fix)
        err.print(f"[yellow]warning:[/] {warning}", highlight=False)
    return secret


def _scope(key: LibraryKey, names: dict[str, str]) -> str:
    stack = names.get(key.scope.stack or "", key.scope.stack or "")
    return ": ".join(part for part in (stack, ", ".join(key.scope.environments)) if part) or "-"
