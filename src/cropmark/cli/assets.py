"""cropmark assets: pictures into the library, published, listed, replaced, removed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cropmark.cli.options import (
    ConfigFile,
    Data,
    StackName,
    err,
    library,
    locale_of,
    ms_of,
    name_of,
    out,
    settings_of,
    stack_of,
)
from cropmark.model.assets import MAIN, Asset, BranchRef, Changes, Listing, Publishing, Stack
from cropmark.model.problems import BadRequest, NotFound

if TYPE_CHECKING:  # as in shared.py
    from cropmark.config.settings import Settings
    from cropmark.library.bulk_import import BulkImport, ImportRecord
    from cropmark.library.store import LibraryStore

app = typer.Typer(help="Keep pictures in the library, and publish them.", no_args_is_help=True)

BY = "command line"
"""Who it was, in what the library tells of its changes."""

Branch = Annotated[str, typer.Option(parser=name_of, help="Branch of the stack.")]
Uids = Annotated[list[str], typer.Argument(parser=name_of, help="Uids of assets.")]
Locale = Annotated[str, typer.Option(parser=locale_of, help="Locale of the publication; for pictures any does.")]
Publish = Annotated[list[str] | None, typer.Option(parser=name_of, help="Environment to publish in; may be repeated.")]


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders of them.")],
    publish: Publish = None,
    tag: Annotated[list[str] | None, typer.Option(parser=name_of, help="Tag to give them; may be repeated.")] = None,
    folder: Annotated[str | None, typer.Option(parser=name_of, help="Uid of a folder to put them in.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Files that changed since become new versions.")] = False,
    stack: StackName = None,
    branch: Branch = MAIN,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Take files into the library.

    May be ended at any time and begun anew: what is there is not taken in twice.
    """
    from cropmark.library.bulk_import import BulkImport, files_in  # noqa: PLC0415

    settings = settings_of(config, data)
    files = files_in(paths)
    with library(settings, make=True) as store:
        place = BranchRef(stack_of(store, stack, make=True).api_key, branch)
        if folder is not None:
            with _told_of(folder):
                store.folder(place, folder)
        how = BulkImport(
            place=place,
            by=BY,
            published=Publishing(tuple(publish), (locale,)) if publish else None,
            changes=Changes(tags=tuple(tag) if tag else None, parent_uid=folder),
            updates=update,
        )
        _told_of_import(asyncio.run(_imported(store, settings, files, how)), settings)


async def _imported(store: LibraryStore, settings: Settings, files: list[Path], how: BulkImport) -> list[ImportRecord]:
    from cropmark.library.bulk_import import take_in  # noqa: PLC0415
    from cropmark.server.wiring import pool_of  # noqa: PLC0415

    taken: list[ImportRecord] = []
    pool = pool_of(settings)
    await pool.start()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=err, transient=True) as progress:
            bar = progress.add_task("taking in", total=len(files))

            def told(one: ImportRecord) -> None:
                taken.append(one)
                progress.advance(bar)

            await take_in(store, pool, files, how, told)
    finally:
        await pool.close()
    return taken


def _told_of_import(taken: list[ImportRecord], settings: Settings) -> None:
    """How many there were of each kind, what failed, and one URL to try."""
    from cropmark.library.bulk_import import ImportOutcome  # noqa: PLC0415

    counts = Counter(one.outcome for one in taken)
    out.print(
        ", ".join(f"{counts[kind]:,} {kind.value}" for kind in ImportOutcome if counts[kind]) or "no files",
        highlight=False,
    )
    for one in taken:
        if one.outcome in (ImportOutcome.NOT_AN_IMAGE, ImportOutcome.FAILED):
            err.print(f"[yellow]{escape(str(one.path))}[/]: {escape(one.why)}", highlight=False, soft_wrap=True)
        if one.outcome is ImportOutcome.CHANGED:
            err.print(f"[yellow]{escape(str(one.path))}[/] changed: take it in with --update", highlight=False)
    first = next((one.asset for one in taken if one.asset is not None), None)
    if first is not None:
        out.print(_url(first, settings), highlight=False, markup=False, soft_wrap=True)
    if counts[ImportOutcome.FAILED]:
        sys.exit(1)


@app.command("list")
def list_assets(
    environment: Annotated[str | None, typer.Option(parser=name_of, help="Only what is published there.")] = None,
    tag: Annotated[str | None, typer.Option(parser=name_of, help="Only what has this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    skip: Annotated[int, typer.Option(min=0, help="Leave out the first so many.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    stack: StackName = None,
    branch: Branch = MAIN,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Show what the library holds, the newest first."""
    settings = settings_of(config, data)
    equal = (("tags", tag),) if tag else ()
    with library(settings) as store:
        of = stack_of(store, stack)
        place = BranchRef(of.api_key, branch)
        listing = Listing(environment=environment, equal=equal, skip=skip, limit=limit, counted=True)
        page = store.list_entries(place, listing)
    found = [item for item in page.items if isinstance(item, Asset)]
    if as_json:
        out.print_json(json.dumps([_plain(asset, of, settings) for asset in found]))
        return
    table = Table("uid", "title", "version", "picture", "published", box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True  # a uid is to be copied
    for asset in found:
        file = asset.version.file
        picture = f"{file.size or 'unknown size'} {file.format.value}, {file.bytes:,} bytes"
        table.add_row(asset.uid, escape(asset.entry.title), str(asset.version.number), picture, _published(asset))
    out.print(table)
    out.print(f"{len(found)} of {page.count}", highlight=False, style="dim")


@app.command("publish")
def publish_assets(
    uids: Uids,
    to: Annotated[list[str], typer.Option("--to", parser=name_of, help="Environment; may be repeated.")],
    version: Annotated[int | None, typer.Option(help="The version; the newest if left out.")] = None,
    at: Annotated[datetime | None, typer.Option(help="When, in UTC; now if left out.")] = None,
    stack: StackName = None,
    branch: Branch = MAIN,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Publish assets, or let a server do it at a time."""
    wanted = Publishing(tuple(to), (locale,), version, ms_of(at))
    with library(settings_of(config, data)) as store:
        place = BranchRef(stack_of(store, stack).api_key, branch)
        for uid in uids:
            with _told_of(uid):
                store.publish(place, uid, wanted, BY)
    out.print(f"{len(uids)} {'to be ' if at else ''}published", highlight=False)


@app.command("unpublish")
def unpublish_assets(
    uids: Uids,
    environments: Annotated[list[str], typer.Option("--from", parser=name_of, help="Environment; may be repeated.")],
    at: Annotated[datetime | None, typer.Option(help="When, in UTC; now if left out.")] = None,
    stack: StackName = None,
    branch: Branch = MAIN,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Take assets from an environment; they stay in the library."""
    wanted = Publishing(tuple(environments), (locale,), None, ms_of(at))
    with library(settings_of(config, data)) as store:
        place = BranchRef(stack_of(store, stack).api_key, branch)
        for uid in uids:
            with _told_of(uid):
                store.unpublish(place, uid, wanted, BY)
    out.print(f"{len(uids)} {'to be ' if at else ''}unpublished", highlight=False)


@app.command()
def replace(
    uid: Annotated[str, typer.Argument(parser=name_of, help="Uid of the asset.")],
    file: Annotated[Path, typer.Argument(help="The new picture.")],
    publish: Publish = None,
    stack: StackName = None,
    branch: Branch = MAIN,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Give an asset a new file; where it is published, the old one is served until the new one is published."""
    settings = settings_of(config, data)
    published = Publishing(tuple(publish), (locale,)) if publish else None
    with library(settings) as store:
        place = BranchRef(stack_of(store, stack).api_key, branch)
        asset = asyncio.run(_replaced(store, settings, place, uid, file, published))
    out.print(f"version {asset.newest}: {_url(asset, settings)}", highlight=False, markup=False, soft_wrap=True)


async def _replaced(
    store: LibraryStore, settings: Settings, place: BranchRef, uid: str, file: Path, published: Publishing | None
) -> Asset:
    from cropmark.library.bulk_import import NotAnImage, inspected, opened  # noqa: PLC0415
    from cropmark.server.wiring import pool_of  # noqa: PLC0415

    pool = pool_of(settings)
    await pool.start()
    try:
        source = opened(file)
        try:
            upload = await inspected(source, pool, file.name)
            return store.replace(place, uid, upload, source, Changes(), BY, published=published)
        finally:
            source.close()
    except (NotAnImage, OSError) as error:
        raise BadRequest(f"{file}: {error}", fix="name a picture") from error
    finally:
        await pool.close()


@app.command()
def remove(
    uids: Uids,
    stack: StackName = None,
    branch: Branch = MAIN,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Delete assets with all their versions; every server forgets what it made of them."""
    with library(settings_of(config, data)) as store:
        place = BranchRef(stack_of(store, stack).api_key, branch)
        for uid in uids:
            with _told_of(uid):
                store.delete(place, uid)
    out.print(f"{len(uids)} removed", highlight=False)


@contextmanager
def _told_of(uid: str) -> Iterator[None]:
    """What is not there is named."""
    try:
        yield
    except NotFound as error:
        raise BadRequest(f"{uid}: {error.detail}", fix=error.fix) from error


def _url(asset: Asset, settings: Settings) -> str:
    """Where a server answers with it, as Contentstack has it."""
    version = asset.version
    path = f"{asset.entry.place.stack}/{asset.uid}/{version.file_uid}/{quote(version.file.filename)}"
    names = list(dict.fromkeys(p.environment_name for p in asset.publications if p.version == version.number))
    words = [f"environment={quote(name)}" for name in names[:1]]
    if asset.entry.place.branch != MAIN:
        words.append(f"branch={quote(asset.entry.place.branch)}")
    return f"{_base(settings)}/contentstack/v3/assets/{path}" + (f"?{'&'.join(words)}" if words else "")


def _kontent_url(asset: Asset, stack: Stack, settings: Settings) -> str | None:
    """The same as Kontent.ai has it, where no picture is secured; None for a secured stack."""
    path = f"{stack.kontent_id}/{asset.version.file_id}/{quote(asset.version.file.filename)}"
    return None if stack.secured else f"{_base(settings)}/kontent/{path}"


def _base(settings: Settings) -> str:
    from cropmark.server.run import address  # noqa: PLC0415 - it brings the web stack

    return settings.public_url.rstrip("/") or address(settings.host, settings.port)


def _plain(asset: Asset, stack: Stack, settings: Settings) -> dict[str, Any]:
    return {
        "stack": asset.entry.place.stack,
        "uid": asset.uid,
        "title": asset.entry.title,
        "version": asset.version.number,
        "file_uid": asset.version.file_uid,
        "filename": asset.version.file.filename,
        "tags": list(asset.entry.tags),
        "published": {p.environment_name: p.version for p in asset.publications},
        "url": _url(asset, settings),
        "kontent_url": _kontent_url(asset, stack, settings),
    }


def _published(asset: Asset) -> str:
    names = dict.fromkeys((p.environment_name, p.version) for p in asset.publications)
    return escape(", ".join(f"{name} {version}" for name, version in names)) or "-"
