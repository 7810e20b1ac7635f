"""cropmark assets: import, publish, list, replace and remove assets of the library."""

from __future__ import annotations

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
from rich.table import Table

from cropmark.cli.options import (
    ConfigFile,
    Data,
    StackName,
    err,
    open_library,
    out,
    parse_locale,
    parse_name,
    progress_bar,
    read_settings,
    select_stack,
    unix_ms,
)
from cropmark.model.assets import MAIN_BRANCH, Asset, AssetChanges, BranchRef, Listing, PublishRequest, Stack
from cropmark.model.problems import BadRequest, NotFound

if TYPE_CHECKING:
    from cropmark.config.settings import Settings
    from cropmark.library.bulk_import import BulkImport, ImportRecord
    from cropmark.library.store import LibraryStore

app = typer.Typer(help="Import images and other files into the library and publish them.", no_args_is_help=True)

BY = "command line"
"""The author that the management API shows for changes made by these commands."""

Branch = Annotated[str, typer.Option(parser=parse_name, help="Branch of the stack.")]
Uids = Annotated[list[str], typer.Argument(parser=parse_name, help="Uids of assets.")]
Locale = Annotated[
    str, typer.Option(parser=parse_locale, help="Locale of the publication; any locale works for images.")
]
Publish = Annotated[list[str] | None, typer.Option(parser=parse_name, help="Environment to publish in; repeatable.")]


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders that contain files.")],
    publish: Publish = None,
    tag: Annotated[list[str] | None, typer.Option(parser=parse_name, help="Tag for the assets; repeatable.")] = None,
    folder: Annotated[str | None, typer.Option(parser=parse_name, help="Uid of a folder for the assets.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Import changed files as new versions.")] = False,
    stack: StackName = None,
    branch: Branch = MAIN_BRANCH,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Import files into the library.

    Files that an earlier run has imported are skipped, so a second run continues an interrupted one.
    """
    import asyncio

    from cropmark.library.bulk_import import BulkImport, files_in

    settings = read_settings(config, data_dir=data)
    files = files_in(paths)
    with open_library(settings, create=True) as store:
        place = BranchRef(select_stack(store, stack, create=True).api_key, branch)
        if folder is not None:
            with _uid_in_errors(folder):
                store.folder(place, folder)
        options = BulkImport(
            place=place,
            by=BY,
            publishing=PublishRequest(tuple(publish), (locale,)) if publish else None,
            changes=AssetChanges(tags=tuple(tag) if tag else None, parent_uid=folder),
            update=update,
        )
        _report(asyncio.run(_import(store, settings, files, options)), settings)


async def _import(
    store: LibraryStore, settings: Settings, files: list[Path], options: BulkImport
) -> list[ImportRecord]:
    from cropmark.library.bulk_import import import_files
    from cropmark.server.components import build_pool

    records: list[ImportRecord] = []
    pool = build_pool(settings, forks=True)
    await pool.start()
    try:
        with progress_bar("importing", len(files)) as advance:

            def report(record: ImportRecord) -> None:
                records.append(record)
                advance()

            await import_files(store, pool, files, options, report)
    finally:
        await pool.close()
    return records


def _report(records: list[ImportRecord], settings: Settings) -> None:
    """Print the number of files by outcome, the failures, and the URL of one asset. Exits with 1 after a failure."""
    from cropmark.library.bulk_import import ImportOutcome

    counts = Counter(record.outcome for record in records)
    out.print(
        ", ".join(f"{counts[kind]:,} {kind.value}" for kind in ImportOutcome if counts[kind]) or "no files",
        highlight=False,
    )
    for record in records:
        path = f"[yellow]{escape(str(record.path))}[/]"
        if record.outcome in (ImportOutcome.UNKNOWN_TYPE, ImportOutcome.FAILED):
            err.print(f"{path}: {escape(record.reason)}", highlight=False, soft_wrap=True)
        if record.outcome is ImportOutcome.CHANGED:
            err.print(f"{path} changed: import it with --update", highlight=False)
    first = next((record.asset for record in records if record.asset is not None), None)
    if first is not None:
        out.print(_url(first, settings), highlight=False, markup=False, soft_wrap=True)
    if counts[ImportOutcome.FAILED]:
        sys.exit(1)


@app.command("list")
def list_assets(
    environment: Annotated[str | None, typer.Option(parser=parse_name, help="Only assets published there.")] = None,
    tag: Annotated[str | None, typer.Option(parser=parse_name, help="Only assets with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Largest number of assets.")] = 100,
    skip: Annotated[int, typer.Option(min=0, help="Number of assets to skip.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    stack: StackName = None,
    branch: Branch = MAIN_BRANCH,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """List assets, newest first."""
    settings = read_settings(config, data_dir=data)
    equal = (("tags", tag),) if tag else ()
    with open_library(settings) as store:
        selected = select_stack(store, stack)
        place = BranchRef(selected.api_key, branch)
        listing = Listing(environment=environment, equal=equal, skip=skip, limit=limit, with_count=True)
        page = store.list_entries(place, listing)
    listed = [item for item in page.items if isinstance(item, Asset)]
    if as_json:
        out.print_json(json.dumps([_json(asset, selected, settings) for asset in listed]))
        return
    table = Table("uid", "title", "version", "file", "published", box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True  # a uid is to be copied
    for asset in listed:
        file = asset.version.file
        facts = f"{file.size} " if file.size else ""
        facts += f"{file.type_name}, {file.bytes:,} bytes"
        table.add_row(asset.uid, escape(asset.entry.title), str(asset.version.number), facts, _publications(asset))
    out.print(table)
    out.print(f"{len(listed)} of {page.count}", highlight=False, style="dim")


@app.command("publish")
def publish_assets(
    uids: Uids,
    to: Annotated[list[str], typer.Option("--to", parser=parse_name, help="Environment; repeatable.")],
    version: Annotated[int | None, typer.Option(help="Number of the version.", show_default="the newest")] = None,
    at: Annotated[datetime | None, typer.Option(help="Time to publish at, in UTC.", show_default="now")] = None,
    stack: StackName = None,
    branch: Branch = MAIN_BRANCH,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Publish assets now, or at the time of --at. For a later time, a running server is needed."""
    publishing = PublishRequest(tuple(to), (locale,), version, unix_ms(at))
    with open_library(read_settings(config, data_dir=data)) as store:
        place = BranchRef(select_stack(store, stack).api_key, branch)
        for uid in uids:
            with _uid_in_errors(uid):
                store.publish(place, uid, publishing, BY)
    out.print(f"{len(uids)} {'to be ' if at else ''}published", highlight=False)


@app.command("unpublish")
def unpublish_assets(
    uids: Uids,
    environments: Annotated[list[str], typer.Option("--from", parser=parse_name, help="Environment; repeatable.")],
    at: Annotated[datetime | None, typer.Option(help="Time to unpublish at, in UTC.", show_default="now")] = None,
    stack: StackName = None,
    branch: Branch = MAIN_BRANCH,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Unpublish assets from environments. The assets stay in the library."""
    publishing = PublishRequest(tuple(environments), (locale,), None, unix_ms(at))
    with open_library(read_settings(config, data_dir=data)) as store:
        place = BranchRef(select_stack(store, stack).api_key, branch)
        for uid in uids:
            with _uid_in_errors(uid):
                store.unpublish(place, uid, publishing, BY)
    out.print(f"{len(uids)} {'to be ' if at else ''}unpublished", highlight=False)


@app.command()
def replace(
    uid: Annotated[str, typer.Argument(parser=parse_name, help="Uid of the asset.")],
    file: Annotated[Path, typer.Argument(help="The new file.")],
    publish: Publish = None,
    stack: StackName = None,
    branch: Branch = MAIN_BRANCH,
    locale: Locale = "en-us",
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Add a file as the new version of an asset.

    Environments continue to serve the old version until the new version is published in them.
    """
    import asyncio

    settings = read_settings(config, data_dir=data)
    published = PublishRequest(tuple(publish), (locale,)) if publish else None
    with open_library(settings) as store:
        place = BranchRef(select_stack(store, stack).api_key, branch)
        asset = asyncio.run(_replace(store, settings, place, uid, file, published))
    out.print(f"version {asset.newest}: {_url(asset, settings)}", highlight=False, markup=False, soft_wrap=True)


async def _replace(
    store: LibraryStore, settings: Settings, place: BranchRef, uid: str, file: Path, published: PublishRequest | None
) -> Asset:
    from cropmark.library.bulk_import import UnknownType, inspect, open_file
    from cropmark.server.components import build_pool

    pool = build_pool(settings, forks=True)
    await pool.start()
    try:
        source = open_file(file)
        try:
            upload = await inspect(source, pool, file.name)
            return store.replace(place, uid, upload, source, AssetChanges(), BY, publishing=published)
        finally:
            source.close()
    except UnknownType as error:
        raise BadRequest(
            f"{file}: {error}", fix="give the path of an image or of a file with a known extension"
        ) from error
    except OSError as error:
        raise BadRequest(f"{file}: {error}", fix="check the path and the permissions of the file") from error
    finally:
        await pool.close()


@app.command()
def remove(
    uids: Uids,
    stack: StackName = None,
    branch: Branch = MAIN_BRANCH,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Delete assets with all their versions. All servers also drop the cached variants of these assets."""
    with open_library(read_settings(config, data_dir=data)) as store:
        place = BranchRef(select_stack(store, stack).api_key, branch)
        for uid in uids:
            with _uid_in_errors(uid):
                store.delete(place, uid)
    out.print(f"{len(uids)} removed", highlight=False)


@contextmanager
def _uid_in_errors(uid: str) -> Iterator[None]:
    """Replace a NotFound error of the block with a BadRequest error that names the uid."""
    try:
        yield
    except NotFound as error:
        raise BadRequest(f"{uid}: {error.detail}", fix=error.fix) from error


def _url(asset: Asset, settings: Settings) -> str:
    """The asset's URL in the form of Contentstack's URLs."""
    version = asset.version
    path = f"{asset.entry.branch_ref.stack}/{asset.uid}/{version.file_uid}/{quote(version.file.filename)}"
    names = list(dict.fromkeys(p.environment_name for p in asset.publications if p.version == version.number))
    query = [f"environment={quote(name)}" for name in names[:1]]
    if asset.entry.branch_ref.branch != MAIN_BRANCH:
        query.append(f"branch={quote(asset.entry.branch_ref.branch)}")
    return f"{_base(settings)}/contentstack/v3/assets/{path}" + (f"?{'&'.join(query)}" if query else "")


def _kontent_url(asset: Asset, stack: Stack, settings: Settings) -> str | None:
    """The asset's URL in the form of Kontent.ai's URLs; None for a secured stack, which has no such URLs."""
    path = f"{stack.kontent_id}/{asset.version.file_id}/{quote(asset.version.file.filename)}"
    return None if stack.secured else f"{_base(settings)}/kontent/{path}"


def _base(settings: Settings) -> str:
    from cropmark.config.addresses import public_url

    return settings.public_url.rstrip("/") or public_url(settings)


def _json(asset: Asset, stack: Stack, settings: Settings) -> dict[str, Any]:
    return {
        "stack": asset.entry.branch_ref.stack,
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


def _publications(asset: Asset) -> str:
    names = dict.fromkeys((p.environment_name, p.version) for p in asset.publications)
    return escape(", ".join(f"{name} {version}" for name, version in names)) or "-"
