"""The configuration becomes objects: the only place that knows every adapter by name."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from cropmark.analysis import models
from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.loader import Settings, SiteSettings
from cropmark.config.paths import cache_folder, data_folder
from cropmark.config.production import errors, warnings
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.library.errors import LibraryUnavailable
from cropmark.library.results import FolderResults
from cropmark.pipeline import Pipeline
from cropmark.plan.source import SitePath
from cropmark.renderers.pool import Pool
from cropmark.renderers.tasks import Isolation, Sandbox
from cropmark.runtime import cgroups
from cropmark.runtime.metrics import Metrics
from cropmark.server import library as library_setup
from cropmark.server import status
from cropmark.server.policies import budget_of, clients_of, foreign_policy, limiter_of
from cropmark.server.sites import StartupError, dialects_of, sites_of, with_overrides
from cropmark.sources.files import FolderSource
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.untrusted import UntrustedSource
from cropmark.sources.uploads import TemporaryUploads
from cropmark.sources.web import WebSource
from cropmark.web.admin import AdminContext, pages
from cropmark.web.app import App, Endpoint
from cropmark.web.management.endpoint import ManagementContext, ManagementEndpoint
from cropmark.web.pixlab.actions import PixLabContext
from cropmark.web.pixlab.endpoint import PixLabEndpoint, either, one_key
from cropmark.web.pixlab.results import ResultDownloads, ResultUrls
from cropmark.web.site import Sites

if TYPE_CHECKING:
    from cropmark.library.bucket_results import BucketResults
    from cropmark.library.service import LibraryService

T = TypeVar("T")


log = structlog.get_logger("cropmark.server")


@dataclass(frozen=True, slots=True)
class Server:
    """A wired server: its app, and what the command line wants to tell of it."""

    app: App
    pool: Pool
    pipeline: Pipeline
    sites: Sites
    folder: FolderSource | None
    cache_dir: Path
    pixlab: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Prefixes and hosts where PixLab is spoken."""
    new_pixlab_key: str | None = field(default=None, repr=False)
    """PixLab's key where it is spoken and the configuration has none."""


def pool_of(settings: Settings) -> Pool:
    """The renderers, not started yet."""
    return Pool(
        settings.renderers or cgroups.cores(),
        deadline_s=settings.render_deadline_s,
        analysis_deadline_s=settings.analysis_deadline_s,
        queue_limit=settings.queue,
        sandbox=Sandbox(settings.sandbox),
        isolation=Isolation(settings.isolation),
        floor=settings.old_libraries == "refuse",
        models=models_of(settings),
        no_models=f"content analysis is {'not installed' if settings.smart else 'switched off'}",
    )


def models_of(settings: Settings) -> Callable[[], models.Models] | None:
    """What reads the networks for content-aware cropping; None where it is off or not installed."""
    return cache(models.load) if settings.smart and models.available() is None else None


@asynccontextmanager
async def wired(settings: Settings, listening: str = "") -> AsyncIterator[Server]:
    """A server, ready to answer; everything it started is stopped at the end. Raises CannotStart.

    `listening` is the address that links begin with where the configuration names none.
    """
    _refuse_to_start(settings)
    async with AsyncExitStack() as stack:
        folder = _folder(settings)
        disk = await _disk(settings)
        metrics = Metrics()
        tiers = TieredCaches([MemoryCache(settings.memory_cache), disk])
        stack.push_async_callback(tiers.close)
        pool = pool_of(settings)
        await _started(pool)
        stack.push_async_callback(pool.close)
        pipeline = Pipeline(
            cache=tiers, renderers=pool, metrics=metrics, analysis_enabled=models_of(settings) is not None
        )
        stack.push_async_callback(pipeline.close)
        originals = _originals(settings)
        library = await _library(settings, stack)
        sites = Sites(sites_of(settings, folder, originals, library))
        for site in sites:
            stack.push_async_callback(site.source.close)
        doors: list[Endpoint] = []
        app = _app(settings, sites, pipeline, pool, tiers, metrics, folder, doors, library)
        if library is not None:
            await library.start(lambda named: pipeline.purge_source(library.source, SitePath(named), below=True))
            doors += _management_doors(settings, listening, library, app, pool, metrics)
        new_key = None
        if _pixlab_sites(settings):
            bureau = await _bureau(settings, listening, pipeline, originals, metrics, lambda: app.stopping, stack)
            if library is not None:
                bureau = replace(bureau, keys=either(bureau.keys, library.pixlab_owner))
            doors += [ResultDownloads(bureau.results, bureau.links, sites, metrics), *_pixlab_doors(settings, bureau)]
            new_key = None if settings.pixlab_key else _key_of_this_start()
        pixlab = tuple((one.prefix, one.hosts) for one in _pixlab_sites(settings))
        yield Server(app, pool, pipeline, sites, folder, cache_folder(settings), pixlab, new_key)


def _refuse_to_start(settings: Settings) -> None:
    """Raises CannotStart for what a server must not be started with."""
    if "VIPS_UNLIMITED" in os.environ:
        raise StartupError("VIPS_UNLIMITED is set: libvips would check no sizes", "unset VIPS_UNLIMITED")
    for mistake in errors(settings):
        raise StartupError(f"{mistake.where}: {mistake.what}", mistake.fix)
    for doubt in warnings(settings):
        log.warning(doubt)


async def _started(pool: Pool) -> None:
    try:
        await pool.start()
    except Exception as error:
        raise StartupError(f"no renderer can be started: {error}", "run cropmark doctor") from error


def _folder(settings: Settings) -> FolderSource | None:
    if settings.folder is None:
        return None
    if not settings.folder.is_dir():
        raise StartupError(f"{settings.folder} is not a folder", "name a folder of pictures: cropmark serve FOLDER")
    return FolderSource(settings.folder)


async def _disk(settings: Settings) -> DiskCache:
    folder = cache_folder(settings)
    try:
        return await DiskCache.open(folder, settings.disk_cache)
    except OSError as error:
        why = error.strerror or str(error)
        raise StartupError(
            f"the cache folder {folder} cannot be written: {why}", "name another with --cache"
        ) from error


async def _library(settings: Settings, stack: AsyncExitStack) -> LibraryService | None:
    """The library, where there is one; closed with the stack."""
    if not library_setup.is_there(settings):
        return None
    from cropmark.library.service import LibraryService  # noqa: PLC0415 - as library/errors.py says

    try:
        library = LibraryService(await asyncio.to_thread(library_setup.opened, settings))
    except LibraryUnavailable as error:
        raise StartupError(error.what, error.fix) from error
    stack.push_async_callback(library.close)
    return library


def _originals(settings: Settings) -> OriginalCache:
    """Where pictures from the web are kept, apart from renditions: either may be emptied alone."""
    folder = cache_folder(settings) / "originals"
    try:
        return OriginalCache(folder, settings.originals_cache)
    except OSError as error:
        raise StartupError(
            f"{folder} cannot be written: {error.strerror}", "name another folder with --cache"
        ) from error


def _app(
    settings: Settings,
    sites: Sites,
    pipeline: Pipeline,
    pool: Pool,
    tiers: TieredCaches,
    metrics: Metrics,
    folder: FolderSource | None,
    doors: Sequence[Endpoint],
    library: LibraryService | None,
) -> App:
    def readiness() -> dict[str, Any]:
        return status.readiness(app, pool, settings)

    desk = AdminContext(
        sites=sites,
        pipeline=pipeline,
        renderers=pool,
        metrics=metrics,
        readiness=readiness,
        pictures=folder,
        folder=settings.folder.name if settings.folder else "",
        admin_token=settings.admin_token.get_secret_value() if settings.admin_token else None,
        admits=None if library is None else library.admits,
        development=not settings.production,
        dialects=dialects_of(settings),
    )
    app = App(
        sites=sites,
        pipeline=pipeline,
        limiter=limiter_of(settings),
        metrics=metrics,
        pages=pages(desk),
        doors=doors,
        access_log=settings.access_log,
        clients=clients_of(settings),
        budget=budget_of(settings),
        production=settings.production,
    )
    metrics.read_from(lambda: status.rows(pool, tiers, app))
    return app


def _pixlab_sites(settings: Settings) -> list[SiteSettings]:
    """Where PixLab is spoken, the most particular place first."""
    found = [one for one in settings.site if one.dialect == "pixlab"]
    if settings.folder is not None:
        found.append(SiteSettings(prefix="/pixlab", dialect="pixlab"))
    return sorted(found, key=lambda one: (not one.hosts, -len(one.prefix)))


def _pixlab_doors(settings: Settings, bureau: PixLabContext) -> Iterable[PixLabEndpoint]:
    for one in _pixlab_sites(settings):
        own = with_overrides(settings.pixlab, one.settings)
        own = replace(own, source_pixels=min(own.source_pixels, settings.max_source_pixels))
        shared = replace(bureau, dialect=PixLab(own))
        name = one.name or (one.hosts[0] if one.hosts else one.prefix.strip("/"))
        yield PixLabEndpoint(shared, name=name, prefix=one.prefix, hosts=one.hosts)


def _management_doors(
    settings: Settings, listening: str, library: LibraryService, app: App, pool: Pool, metrics: Metrics
) -> Iterable[ManagementEndpoint]:
    counter = ManagementContext(
        library=library,
        renderers=pool,
        limiter=limiter_of(settings),
        metrics=metrics,
        base=(settings.public_url or listening).rstrip("/"),
        stopping=lambda: app.stopping,
        upload_bytes=settings.library_limit,
        organization=settings.contentstack.organization,
        per_s=settings.management_rate,
        strict_environments=settings.strict_environments,
        logs=settings.access_log != "off",
    )
    for prefix, hosts, not_hosts in library_setup.management_places(settings):
        yield ManagementEndpoint(counter, prefix=prefix, hosts=hosts, not_hosts=not_hosts)


async def _bureau(
    settings: Settings,
    listening: str,
    pipeline: Pipeline,
    originals: OriginalCache,
    metrics: Metrics,
    stopping: Callable[[], bool],
    stack: AsyncExitStack,
) -> PixLabContext:
    """What PixLab's endpoints share; closed with the stack."""
    uploads = TemporaryUploads(cache_folder(settings) / "uploads")
    source = UntrustedSource(WebSource(foreign_policy(settings), originals), uploads)
    stack.push_async_callback(source.close)
    results = await _results(settings)
    stack.push_async_callback(results.close)
    key = settings.pixlab_key.get_secret_value() if settings.pixlab_key else _key_of_this_start()
    return PixLabContext(
        dialect=PixLab(settings.pixlab),
        pipeline=pipeline,
        source=source,
        uploads=uploads,
        results=results,
        links=ResultUrls((settings.public_url or listening).rstrip("/")),
        keys=one_key(key),
        limiter=limiter_of(settings, window_s=60),
        metrics=metrics,
        stopping=stopping,
        clients=clients_of(settings),
        per_minute=settings.pixlab_per_minute,
        logs=settings.access_log != "off",
    )


async def _results(settings: Settings) -> FolderResults | BucketResults:
    """Where PixLab's results are kept."""
    if not settings.pixlab_store:
        return await FolderResults.opened(
            data_folder(settings) / "results", lifetime_s=settings.pixlab_keep_s, limit_bytes=settings.pixlab_results
        )
    from cropmark.library.bucket_results import BucketResults, ResultLimits  # noqa: PLC0415 - as library/errors.py says

    limits = ResultLimits(settings.pixlab_keep_s, settings.pixlab_results)
    try:
        return await BucketResults.opened(settings.pixlab_store, limits, role=settings.bucket_role)
    except LibraryUnavailable as error:
        raise StartupError(error.what, error.fix) from error


@cache
def _key_of_this_start() -> str:
    """One a process: a reload must not lock out who was told the key at the start."""
    return new_key()


def new_key() -> str:
    """A key to show once: 32 random bytes, URL-safe."""
    return secrets.token_urlsafe(32)
