"""cropmark keys: stacks and keys, made, listed, revoked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli.options import ConfigFile, Data, StackName, day, err, library, name_of, out, settings_of, stack_of
from cropmark.model.assets import KeyKind, KeyScope, LibraryKey
from cropmark.model.problems import BadRequest

if TYPE_CHECKING:  # as in shared.py
    from cropmark.config.settings import Settings

app = typer.Typer(help="Make and revoke keys, and stacks.", no_args_is_help=True)


@app.command("create")
def create_key(
    kind: Annotated[str, typer.Argument(help="stack, management, delivery, pixlab or admin.")],
    name: Annotated[str, typer.Argument(parser=name_of, help="What it is called; no two stacks have one name.")],
    environment: Annotated[
        list[str] | None,
        typer.Option(parser=name_of, help="Environment that a delivery token is for; may be repeated."),
    ] = None,
    secured: Annotated[bool, typer.Option("--secured", help="A stack whose pictures need a delivery token.")] = False,
    secret: Annotated[bool, typer.Option("--secret", help="Take the key from the standard input.")] = False,
    stack: StackName = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Make a key, which is shown once, or a stack, whose api key is part of its URLs and no secret."""
    if environment and kind != KeyKind.DELIVERY.value:
        raise BadRequest("--environment is for delivery tokens", fix="leave it out")
    settings = settings_of(config, data)
    if kind == "stack":
        with library(settings, make=True) as store:
            out.print(store.new_stack(name, secured=secured).api_key, highlight=False)
        return
    wanted = _kind(kind)
    text = _given(settings) if secret else _new(wanted)
    with library(settings, make=True) as store:
        scoped = wanted in (KeyKind.MANAGEMENT, KeyKind.DELIVERY)
        scope = KeyScope(stack_of(store, stack, make=True).api_key if scoped else None, tuple(environment or ()))
        store.new_key(wanted, name, scope, text)
    if not secret:
        out.print(text, highlight=False, soft_wrap=True)
        err.print("It is shown this once.", style="dim")


@app.command("list")
def list_keys(data: Data = None, config: ConfigFile = None) -> None:
    """Show stacks and keys; never a key itself."""
    with library(settings_of(config, data)) as store:
        stacks, keys = store.stacks(), store.all_keys()
    names = {stack.api_key: stack.name for stack in stacks}
    table = Table("id", "kind", "name", "for", "made", "last used", box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True  # an id is to be copied
    for stack in stacks:
        kind = "secured stack" if stack.secured else "stack"
        table.add_row(stack.api_key, kind, escape(stack.name), stack.kontent_id, day(stack.created_ms), "")
    for key in keys:
        used = day(key.last_used_ms) if key.last_used_ms else "never"
        table.add_row(key.id, key.kind.value, escape(key.name), escape(_scope(key, names)), day(key.created_ms), used)
    out.print(table)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(parser=name_of, help="Its id, as the list shows it.")],
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Make a key useless, on every server within a second."""
    with library(settings_of(config, data)) as store:
        if not store.revoke_key(key_id):
            raise BadRequest(f"there is no key {key_id!r}", fix="see cropmark keys list")
    out.print("revoked", highlight=False)


def _kind(text: str) -> KeyKind:
    try:
        return KeyKind(text)
    except ValueError as error:
        kinds = ", ".join(kind.value for kind in KeyKind)
        raise BadRequest(f"there is no kind of key {text!r}", fix=f"write one of stack, {kinds}") from error


def _new(kind: KeyKind) -> str:
    from cropmark.library.keys import new_secret  # noqa: PLC0415

    return new_secret(kind)


def _given(settings: Settings) -> str:
    """A key that somebody chose, from the standard input: an argument would be seen by every process."""
    from cropmark.library.keys import SAFE_CHARS  # noqa: PLC0415

    secret = sys.stdin.readline().strip()
    if len(secret) < SAFE_CHARS:
        told = f"a key of {len(secret)} characters can be guessed where a made one cannot"
        if settings.production:
            raise BadRequest(f"production: {told}", fix=f"give one of {SAFE_CHARS} or more, or let one be made")
        err.print(f"[yellow]warning:[/] {told}", highlight=False)
    return secret


def _scope(key: LibraryKey, names: dict[str, str]) -> str:
    stack = names.get(key.scope.stack or "", key.scope.stack or "")
    return ": ".join(part for part in (stack, ", ".join(key.scope.environments)) if part) or "-"
