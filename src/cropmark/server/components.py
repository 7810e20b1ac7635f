"""Builds the parts that sites, endpoints and pages share: renderers, caches, the pipeline, the library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cropmark.analysis import models
from cropmark.caches.disk import DiskCache
from cropmark.caches.stats import MAX_ENTRY_DIVISOR, Tier
from cropmark.caches.tiered import TieredCaches
from cropmark.config.paths import cache_folder
from cropmark.config.settings import Settings
from cropmark.library.errors import LibraryUnavailable
from cropmark.model.formats import CmykConversion
from cropmark.pipeline import Pipeline
from cropmark.ports import RenderLocks
from cropmark.renderers.pool import Pool
from cropmark.renderers.pool_config import PoolConfig
from cropmark.renderers.tasks import Isolation, Sandbox
from cropmark.runtime import cgroups
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_log import PurgeHistory
from cropmark.security.rate_limit import MemoryLimiter
from cropmark.server import library as library_setup
from cropmark.server import shared_cache
from cropmark.server.errors import StartupError
from cropmark.server.exposition import HostMetrics
from cropmark.server.fronts import originals_folder
from cropmark.server.kept import Kept
from cropmark.server.policies import rate_limiter
from cropmark.sources.files import FolderSource
from cropmark.sources.original_cache import OriginalCache

if TYPE_CHECKING:
    from cropmark.fleet.link import RedisLink
    from cropmark.fleet.siblings import Handler, Siblings
    from cropmark.library.service import LibraryService


@dataclass(frozen=True, slots=True)
class Components:
    """The parts of a server that its sites, endpoints and pages share."""

    settings: Settings
    base_url: str
    """Base URL of the links that the server returns, without a slash at its end."""
    folder: FolderSource | None
    """The source of the images in `settings.folder`, if it is set."""
    metrics: Metrics
    limiter: MemoryLimiter
    caches: TieredCaches
    pool: Pool
    pipeline: Pipeline
    originals: OriginalCache
    library: LibraryService | None
    history: PurgeHistory
    link: RedisLink | None
    """The connection to Redis, if one is configured."""
    siblings: Siblings | None
    """The other fronts of this host, if there are any."""
    host_metrics: HostMetrics | None
    """The metrics of all fronts, if there are several."""
    answers: dict[str, Handler]
    """For each kind of message of other fronts, the function that answers it while this is the current server."""


async def open_components(settings: Settings, listening: str, stack: AsyncExitStack, kept: Kept) -> Components:
    """Build and start the shared parts. `stack` will close them, except those in `kept`. Raises StartupError.

    `listening` is the base URL of links to the server, unless `public_url` is configured.
    """
    folder = _folder(settings)
    metrics, history = kept.metrics, kept.history
    limiter = rate_limiter(settings)  # first: checks the URL of Redis, and that its client is installed
    link = _redis_link(settings)
    if link is not None:
        stack.push_async_callback(link.close)
    caches = TieredCaches(await _tiers(settings, kept))
    stack.push_async_callback(caches.close)
    pool = build_pool(settings, forks=True)
    await _start(pool)
    stack.push_async_callback(pool.close)
    pipeline = build_pipeline(settings, caches, pool, metrics, history, _render_locks(settings, link, kept))
    stack.push_async_callback(pipeline.close)
    return Components(
        settings=settings,
        base_url=(settings.public_url or listening).rstrip("/"),
        folder=folder,
        metrics=metrics,
        limiter=limiter,
        caches=caches,
        pool=pool,
        pipeline=pipeline,
        originals=_original_cache(settings, kept),
        history=history,
        link=link,
        siblings=kept.siblings,
        host_metrics=kept.host_metrics,
        answers={} if kept.host_metrics is None else dict(kept.host_metrics.answers),
        library=await _library(settings, stack),
    )


def build_pool(settings: Settings, *, forks: bool = False) -> Pool:
    """A pool of renderers, not started yet. `forks`: the renderers are forks of one process (see PoolConfig)."""
    config = PoolConfig(
        settings.renderers or cgroups.cores(),
        queue_limit=settings.queue_limit,
        deadline_s=settings.request_deadline_s,
        total_memory_bytes=_memory_limit(settings),
        cache_bytes=_memory_cache_bytes(settings),
        timeout_s=settings.render_timeout_s,
        frame_cache_bytes=_frame_cache_bytes(settings),
        analysis_timeout_s=settings.analysis_timeout_s,
        sandbox=Sandbox(settings.sandbox),
        isolation=Isolation(settings.isolation),
        allow_vulnerable_libraries=settings.allow_vulnerable_libraries,
        cmyk=CmykConversion(settings.cmyk),
        reads_svg="rasterize" in (settings.svg, *(site.svg for site in settings.site)),
        forks=forks,
    )
    no_models_reason = f"content analysis is {'not installed' if settings.smart_crop else 'switched off'}"
    return Pool(config, models=model_loader(settings), no_models_reason=no_models_reason)


def build_pipeline(
    settings: Settings,
    caches: TieredCaches,
    pool: Pool,
    metrics: Metrics,
    history: PurgeHistory | None = None,
    locks: RenderLocks | None = None,
) -> Pipeline:
    """A pipeline, for a server, cropmark.api or a batch worker. Equal settings give equal cache keys in all three."""
    return Pipeline(
        cache=caches,
        renderers=pool,
        metrics=metrics,
        analysis_enabled=model_loader(settings) is not None,
        cmyk=CmykConversion(settings.cmyk),
        history=history,
        stale_bytes=_memory_cache_bytes(settings) // 4,
        locks=locks,
    )


def _memory_limit(settings: Settings) -> int | None:
    return settings.memory_limit_bytes or cgroups.memory_limit()


def _memory_cache_bytes(settings: Settings) -> int:
    """The size of the memory cache in bytes: as configured, but at most a sixteenth of the server's memory."""
    limit = _memory_limit(settings)
    return settings.memory_cache_bytes if limit is None else min(settings.memory_cache_bytes, limit // 16)


def _frame_cache_bytes(settings: Settings) -> int:
    """The size of each renderer's frame cache in bytes: as configured, but at most a 32nd of the server's memory."""
    limit = _memory_limit(settings)
    return settings.frame_cache_bytes if limit is None else min(settings.frame_cache_bytes, limit // 32)


def model_loader(settings: Settings) -> Callable[[], models.Models] | None:
    """A function that returns the models of content analysis; None if analysis is off or not installed.

    The function loads the models at its first call.
    """
    return cache(models.load_models) if settings.smart_crop and models.unavailable_reason() is None else None


async def _start(pool: Pool) -> None:
    try:
        await pool.start()
    except Exception as error:
        raise StartupError(f"the renderers cannot start: {error}", "run cropmark doctor") from error


def _folder(settings: Settings) -> FolderSource | None:
    if settings.folder is None:
        return None
    if not settings.folder.is_dir():
        raise StartupError(f"{settings.folder} is not a folder", "give a folder of images: cropmark serve FOLDER")
    return FolderSource(settings.folder)


async def _tiers(settings: Settings, kept: Kept) -> list[Tier]:
    """The tiers of the cache, fastest first: memory, disk, and the shared cache if configured. Raises StartupError."""
    shared = shared_cache.tier(settings, kept.history)  # first: its error must not leave the disk cache open
    tiers: list[Tier] = [kept.memory_cache(_memory_cache_bytes(settings)), await _disk_cache(settings, kept)]
    return tiers if shared is None else [*tiers, shared]


async def _disk_cache(settings: Settings, kept: Kept) -> DiskCache:
    folder = cache_folder(settings)
    history = None if kept.siblings is None else kept.history
    try:
        # Larger entries would not fit the memory cache: they are sent from their files.
        read_bytes = _memory_cache_bytes(settings) // MAX_ENTRY_DIVISOR
        bounds = settings.disk_cache_bytes, settings.disk_cache_entries
        return await DiskCache.open(folder, *bounds, read_bytes=read_bytes, history=history)
    except OSError as error:
        message = f"the cache folder {folder} is not writable: {error.strerror or error}"
        raise StartupError(message, "give another folder with --cache") from error


def _redis_link(settings: Settings) -> RedisLink | None:
    """A connection to Redis, not opened yet; None if Redis is not configured."""
    if settings.redis_url is None:
        return None
    from cropmark.fleet.link import RedisLink  # noqa: PLC0415 - of the extra `redis`

    return RedisLink(settings.redis_url.get_secret_value())


def _render_locks(settings: Settings, link: RedisLink | None, kept: Kept) -> RenderLocks | None:
    """The locks that prevent the same render on two servers, if Redis and a shared cache are configured.

    Otherwise: the locks that prevent it on two fronts of this host; None with one front.
    """
    if link is None or not settings.shared_cache:
        return kept.locks
    from cropmark.fleet.locks import RedisLocks  # noqa: PLC0415 - of the extra `redis`

    return RedisLocks(link)


def _original_cache(settings: Settings, kept: Kept) -> OriginalCache:
    """The cache of originals fetched from origins. Raises StartupError.

    It has a folder of its own, so that the originals can be deleted without the renditions.
    """
    folder = originals_folder(settings, 0 if kept.siblings is None else kept.siblings.number)
    try:
        return OriginalCache(folder, settings.originals_cache_bytes)
    except OSError as error:
        message = f"the cache folder {folder} is not writable: {error.strerror}"
        raise StartupError(message, "give another folder with --cache") from error


async def _library(settings: Settings, stack: AsyncExitStack) -> LibraryService | None:
    """The library, which `stack` will close; None if the server has no library. Raises StartupError."""
    if not library_setup.exists(settings):
        return None
    from cropmark.library.service import LibraryService  # noqa: PLC0415 - SQLAlchemy is loaded for a library only

    try:
        store = await asyncio.to_thread(library_setup.open_library, settings)
    except LibraryUnavailable as error:
        raise StartupError(error.what, error.fix) from error
    library = LibraryService(store, stale_s=settings.library_stale_s, timeout_s=settings.database_timeout_s)
    stack.push_async_callback(library.close)
    return library
