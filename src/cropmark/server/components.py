"""Builds the parts that endpoints, sites and pages share: renderers, caches, the pipeline, the library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cropmark.analysis import models
from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.paths import cache_folder
from cropmark.config.settings import Settings
from cropmark.library.errors import LibraryUnavailable
from cropmark.model.formats import CmykConversion
from cropmark.pipeline import Pipeline
from cropmark.renderers.pool import Pool
from cropmark.renderers.pool_config import PoolConfig
from cropmark.renderers.tasks import Isolation, Sandbox
from cropmark.runtime import cgroups
from cropmark.runtime.metrics import Metrics
from cropmark.server import library as library_setup
from cropmark.server.errors import StartupError
from cropmark.sources.files import FolderSource
from cropmark.sources.original_cache import OriginalCache

if TYPE_CHECKING:
    from cropmark.library.service import LibraryService


@dataclass(frozen=True, slots=True)
class Components:
    """The shared parts of one server."""

    settings: Settings
    base_url: str
    """Base URL of the links that the server returns, without a slash at its end."""
    folder: FolderSource | None
    """The images of `settings.folder`."""
    metrics: Metrics
    caches: TieredCaches
    pool: Pool
    pipeline: Pipeline
    originals: OriginalCache
    library: LibraryService | None


async def open_components(settings: Settings, listening: str, stack: AsyncExitStack) -> Components:
    """The parts, started; the stack closes them. Raises StartupError.

    `listening` is the base URL of links if `public_url` is not configured.
    """
    folder = _folder(settings)
    metrics = Metrics()
    caches = TieredCaches([MemoryCache(settings.memory_cache_bytes), await _disk_cache(settings)])
    stack.push_async_callback(caches.close)
    pool = build_pool(settings)
    await _start(pool)
    stack.push_async_callback(pool.close)
    analyzes = model_loader(settings) is not None
    cmyk = CmykConversion(settings.cmyk)
    pipeline = Pipeline(cache=caches, renderers=pool, metrics=metrics, analysis_enabled=analyzes, cmyk=cmyk)
    stack.push_async_callback(pipeline.close)
    return Components(
        settings=settings,
        base_url=(settings.public_url or listening).rstrip("/"),
        folder=folder,
        metrics=metrics,
        caches=caches,
        pool=pool,
        pipeline=pipeline,
        originals=_original_cache(settings),
        library=await _library(settings, stack),
    )


def build_pool(settings: Settings) -> Pool:
    """The pool of renderers, not started."""
    config = PoolConfig(
        settings.renderers or cgroups.cores(),
        queue_limit=settings.queue_limit,
        timeout_s=settings.render_timeout_s,
        analysis_timeout_s=settings.analysis_timeout_s,
        sandbox=Sandbox(settings.sandbox),
        isolation=Isolation(settings.isolation),
        allow_vulnerable_libraries=settings.allow_vulnerable_libraries,
        cmyk=CmykConversion(settings.cmyk),
    )
    no_models_reason = f"content analysis is {'not installed' if settings.smart_crop else 'switched off'}"
    return Pool(config, models=model_loader(settings), no_models_reason=no_models_reason)


def model_loader(settings: Settings) -> Callable[[], models.Models] | None:
    """Loads the models of content analysis, once; None if analysis is off or not installed."""
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


async def _disk_cache(settings: Settings) -> DiskCache:
    folder = cache_folder(settings)
    try:
        return await DiskCache.open(folder, settings.disk_cache_bytes)
    except OSError as error:
        message = f"the cache folder {folder} is not writable: {error.strerror or error}"
        raise StartupError(message, "give another folder with --cache") from error


def _original_cache(settings: Settings) -> OriginalCache:
    """The cache of originals from the web, in a folder of its own, so that either cache can be deleted alone."""
    folder = cache_folder(settings) / "originals"
    try:
        return OriginalCache(folder, settings.originals_cache_bytes)
    except OSError as error:
        message = f"the cache folder {folder} is not writable: {error.strerror}"
        raise StartupError(message, "give another folder with --cache") from error


async def _library(settings: Settings, stack: AsyncExitStack) -> LibraryService | None:
    """The library if there is one; the stack closes it."""
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
