"""Consoles, options and helper functions that several commands share.

`cropmark --help` imports all modules of this package. So that it is fast, they import the configuration, the engine,
the database and the web stack only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperOption

from cropmark.model.assets import MAX_LOCALE_CHARS, MAX_NAME_CHARS, Stack
from cropmark.model.problems import BadRequest

if TYPE_CHECKING:
    from cropmark.config.settings import Settings
    from cropmark.library.store import LibraryStore

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

FIRST_STACK = "default"
"""Name of the stack that is created if a command needs one and the library has none."""


def parse_name(text: str) -> str:
    """The text, unchanged. Raises BadRequest if the management API does not accept it as a name."""
    return _checked(text, MAX_NAME_CHARS)


def parse_locale(text: str) -> str:
    """The text, unchanged. Raises BadRequest if the management API does not accept it as a locale."""
    return _checked(text, MAX_LOCALE_CHARS)


def _checked(text: str, max_chars: int) -> str:
    from cropmark.management.parse import read_text

    return read_text(text, repr(text[:80]), max_chars)


def parse_dialect(text: str) -> str:
    """The text, unchanged. Raises a usage error if it is not the name of a dialect that can serve a folder."""
    names = _dialect_names()
    if text not in names:
        raise typer.BadParameter(f"unknown dialect {text!r}; write one of {', '.join(names)}")
    return text


def _dialect_names() -> tuple[str, ...]:
    from cropmark.dialects.registry import folder_entries

    return tuple(entry.name for entry in folder_entries())


class DialectCommand(TyperCommand):
    """A command with the names of all dialects in the help of its option --dialect.

    The dialects are imported only when the help is printed.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:  # Typer's private copies of Click's classes
        for param in self.params:
            if isinstance(param, TyperOption) and param.name == "dialect":
                param.help = f"{param.help} {', '.join(_dialect_names())}."
        super().format_help(ctx, formatter)


ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file.", show_default="./cropmark.toml if it exists")
]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (library, stored results).")]
DialectName = Annotated[
    str, typer.Option("--dialect", "-d", parser=parse_dialect, metavar="NAME", help="Dialect of the query:")
]
"""The type of the option --dialect. Its command has the class DialectCommand, which adds the dialects to the help."""
StackName = Annotated[
    str | None,
    typer.Option("--stack", parser=parse_name, help="Name or API key of the stack; required if there are several."),
]


def fail(text: str, code: int = 1) -> NoReturn:
    """Print `text` to standard error and exit with `code`. Each line of `text` has the form `cause | fix`."""
    for line in text.splitlines():
        cause, _, fix = line.partition(" | ")
        fix = fix.removeprefix("fix: ")
        err.print("[red]cropmark:[/]", Text(cause), highlight=False, soft_wrap=True)
        if fix:
            err.print("         ", Text(fix), highlight=False, soft_wrap=True, style="dim")
    raise SystemExit(code)


def read_settings(config: Path | None, **overrides: Any) -> Settings:
    """Load the settings. `overrides` are the settings given on the command line."""
    from cropmark.config.loader import load_settings

    return load_settings(config, overrides).settings


@contextmanager
def progress_bar(text: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show a progress bar on standard error during the block. Yields a function that advances the bar by one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield partial(progress.advance, progress.add_task(text, total=total, completed=done))


@contextmanager
def open_library(settings: Settings, *, create: bool = False) -> Iterator[LibraryStore]:
    """Open the configured library for the block. Raises BadRequest if the library is unavailable or does not exist.

    `create`: a library that does not exist is created.
    """
    from cropmark.config.paths import data_folder
    from cropmark.library.errors import LibraryUnavailable
    from cropmark.server import library

    if not create and not library.exists(settings):
        raise BadRequest(f"{data_folder(settings)} does not contain a library", fix="cropmark assets add PATH")
    try:
        store = library.open_library(settings)
    except LibraryUnavailable as error:
        raise BadRequest(error.what, fix=error.fix) from error
    try:
        yield store
    finally:
        store.close()


def select_stack(store: LibraryStore, name: str | None, *, create: bool = False) -> Stack:
    """The stack with the given name or API key; without a name, the only stack of the library. Raises BadRequest.

    `create`: without a name, a stack is created if the library has none.
    """
    stacks = store.stacks()
    if name is not None:
        for stack in stacks:
            if name in (stack.api_key, stack.name):
                return stack
        raise BadRequest(f"unknown stack {name!r}", fix=f"create it: cropmark stacks create {name}")
    if not stacks:
        if create:
            return store.new_stack(FIRST_STACK)
        raise BadRequest("the library has no stack", fix="create one: cropmark stacks create NAME")
    if len(stacks) > 1:
        names = ", ".join(stack.name for stack in stacks)
        raise BadRequest(f"the library has {len(stacks)} stacks: {names}", fix="name one with --stack")
    return stacks[0]


def format_time(ms: int) -> str:
    """A Unix time in milliseconds as UTC text, such as `2026-11-21 10:00`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def unix_ms(at: datetime | None) -> int | None:
    """The Unix time in milliseconds; None for None. A time without a time zone is UTC."""
    return None if at is None else int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
