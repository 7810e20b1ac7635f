"""What the commands share: options, the library by its configuration, times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cropmark.config.loader import configured
from cropmark.config.paths import data_folder
from cropmark.management.parse import text_of
from cropmark.model.assets import MAX_LOCALE_CHARS, MAX_NAME_CHARS, Stack
from cropmark.model.problems import BadRequest

if TYPE_CHECKING:  # they bring the database, which whoever asks for --help need not wait for
    from cropmark.config.settings import Settings
    from cropmark.library.store import LibraryStore

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

FIRST_STACK = "default"
"""Made where a stack is needed and there is none."""


def name_of(text: str) -> str:
    """What the management API takes as a name too. Raises BadOrder for any other."""
    return text_of(text, repr(text[:80]), MAX_NAME_CHARS)


def locale_of(text: str) -> str:
    """The same of a locale."""
    return text_of(text, repr(text[:80]), MAX_LOCALE_CHARS)


ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; ./cropmark.toml where it is.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of what must be kept.")]
StackName = Annotated[
    str | None, typer.Option("--stack", parser=name_of, help="Name or api key; needed where there are several.")
]


def settings_of(config: Path | None, data: Path | None) -> Settings:
    """The configuration with what the command line says."""
    return configured(config, {"data_dir": data}).settings


@contextmanager
def library(settings: Settings, *, make: bool = False) -> Iterator[LibraryStore]:
    """The library, which may be made where there is none. Raises BadOrder where it cannot be had."""
    from cropmark.library.errors import LibraryUnavailable  # noqa: PLC0415
    from cropmark.server import library as library_setup  # noqa: PLC0415

    if not make and not library_setup.is_there(settings):
        raise BadRequest(f"there is no library in {data_folder(settings)}", fix="cropmark assets add PATH")
    try:
        store = library_setup.opened(settings)
    except LibraryUnavailable as error:
        raise BadRequest(error.what, fix=error.fix) from error
    try:
        yield store
    finally:
        store.close()


def stack_of(store: LibraryStore, name: str | None, *, make: bool = False) -> Stack:
    """The stack of that name or api key; the only one where none is named."""
    stacks = store.stacks()
    if name is not None:
        for stack in stacks:
            if name in (stack.api_key, stack.name):
                return stack
        raise BadRequest(f"there is no stack {name!r}", fix=f"make it: cropmark keys create stack {name}")
    if not stacks:
        if make:
            return store.new_stack(FIRST_STACK)
        raise BadRequest(
            "there is no stack yet", fix="make one: cropmark keys create stack NAME, or cropmark assets add"
        )
    if len(stacks) > 1:
        known = ", ".join(stack.name for stack in stacks)
        raise BadRequest(f"expected one stack, there are {len(stacks)}: {known}", fix="name one with --stack")
    return stacks[0]


def day(ms: int) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def ms_of(at: datetime | None) -> int | None:
    """Unix milliseconds; without a zone, of UTC."""
    return None if at is None else int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
