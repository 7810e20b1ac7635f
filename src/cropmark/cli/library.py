"""cropmark library: imports a vendor's export into the library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cropmark.cli.options import ConfigFile, Data, err, open_library, out, parse_name, read_settings
from cropmark.model.assets import MAIN_BRANCH

if TYPE_CHECKING:
    from cropmark.config.settings import Settings
    from cropmark.library.exports import Export
    from cropmark.library.site_import import ImportTotals, SiteImport
    from cropmark.library.store import LibraryStore
    from cropmark.model.assets import Stack

app = typer.Typer(help="Import a site's assets with their ids.", no_args_is_help=True)
imports = typer.Typer(help="Import a vendor's export: ids, versions and environments remain.", no_args_is_help=True)
app.add_typer(imports, name="import")

BY = "import"

MAX_FAILURES = 50
"""Number of failed assets that are printed by name; the other failures are only counted."""

Secured = Annotated[bool, typer.Option("--secured", help="Require a delivery token for the images of a new stack.")]
StackTitle = Annotated[str | None, typer.Option("--name", parser=parse_name, help="Name of a new stack.")]


@imports.command()
def contentstack(
    export: Annotated[Path, typer.Argument(help="Folder that csdx cm:stacks:export wrote.")],
    name: StackTitle = None,
    branch: Annotated[str, typer.Option(parser=parse_name, help="Branch of the export.")] = MAIN_BRANCH,
    secured: Secured = False,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Import an export of Contentstack. The assets' URLs remain valid: only their host changes.

    A second run continues an interrupted one. Exits with 1 if a version is missing or was not verified.
    """
    from cropmark.library.contentstack_export import ContentstackExport
    from cropmark.library.site_import import SiteImport

    read = ContentstackExport(export, branch)
    options = SiteImport(name or f"contentstack {read.api_key}", branch, BY, secured)
    _run(read, options, read_settings(config, data_dir=data))


@imports.command()
def kontent(
    export: Annotated[Path, typer.Argument(help="ZIP file that data-ops environment backup wrote, or its folder.")],
    name: StackTitle = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Import a backup of Kontent.ai. The assets' URLs remain valid: only their host changes.

    A second run continues an interrupted one. Exits with 1 if an asset is missing or was not verified.
    """
    from contextlib import closing

    from cropmark.library.kontent_export import KontentExport
    from cropmark.library.site_import import SiteImport

    with closing(KontentExport(export)) as read:
        options = SiteImport(name or f"kontent {read.kontent_id}", MAIN_BRANCH, BY)
        _run(read, options, read_settings(config, data_dir=data))


def _run(export: Export, options: SiteImport, settings: Settings) -> None:
    """Import the export and print the counts. Exits with 1 if the import is incomplete."""
    import asyncio

    with open_library(settings, create=True) as store:
        stack, totals = asyncio.run(_import(store, settings, export, options))
    counts = [f"{count:,} {outcome.value}" for outcome, count in totals.outcomes.items()]
    out.print(f"assets: {', '.join(counts) or '0'}", highlight=False)
    out.print(
        f"versions: {totals.verified_versions:,} of {totals.exported_versions:,} verified by URL and digest",
        highlight=False,
    )
    out.print(
        f"the stack {escape(stack.name)} ({stack.api_key}, {stack.kontent_id}) has "
        f"{totals.stored_assets:,} assets with {totals.stored_versions:,} versions",
        highlight=False,
        soft_wrap=True,
    )
    if not totals.is_complete:
        sys.exit(1)


async def _import(
    store: LibraryStore, settings: Settings, export: Export, options: SiteImport
) -> tuple[Stack, ImportTotals]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from cropmark.library.site_import import AssetRecord, import_site
    from cropmark.server.components import build_pool

    pool = build_pool(settings)
    await pool.start()
    failures = 0
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,}"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=err, transient=True) as progress:
            bar = progress.add_task("assets imported:", total=None)

            def report(record: AssetRecord) -> None:
                nonlocal failures
                progress.advance(bar)
                failures += bool(record.reasons)
                if record.reasons and failures <= MAX_FAILURES:
                    reasons = escape("; ".join(record.reasons))
                    err.print(f"[yellow]{escape(record.name)}[/]: {reasons}", highlight=False, soft_wrap=True)

            result = await import_site(store, pool, export, options, report)
    finally:
        await pool.close()
    if failures > MAX_FAILURES:
        err.print(f"and {failures - MAX_FAILURES:,} more", highlight=False)
    return result
