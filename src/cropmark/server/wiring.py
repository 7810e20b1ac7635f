"""Builds a server from its settings: components, sites, pages and endpoints become one app."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from cropmark.config.paths import cache_folder
from cropmark.config.production import errors, warnings
from cropmark.config.settings import Settings
from cropmark.library.errors import LibraryUnavailable
from cropmark.pipeline import Pipeline
from cropmark.plan.source import SitePath
from cropmark.renderers.pool import Pool
from cropmark.server import status
from cropmark.server.components import Components, open_components
from cropmark.server.errors import StartupError
from cropmark.server.management import management_endpoints
from cropmark.server.pixlab import pixlab_endpoints, pixlab_sites, session_key
from cropmark.server.policies import client_ip, rate_limiter, variant_quota
from cropmark.server.sites import build_dialects, build_sites
from cropmark.sources.files import FolderSource
from cropmark.web.admin import AdminContext, pages
from cropmark.web.app import App
from cropmark.web.deps import AppDeps, Endpoint
from cropmark.web.site import Sites

log = structlog.get_logger("cropmark.server")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready for requests, with the values that the command line prints."""

    app: App
    pool: Pool
    pipeline: Pipeline
    sites: Sites
    folder: FolderSource | None
    cache_dir: Path
    pixlab: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Prefix and hosts of each site that serves PixLab's API."""
    new_pixlab_key: str | None = field(default=None, repr=False)
    """The random API key of this process, if PixLab's API is served and no key is configured."""


@asynccontextmanager
async def open_server(settings: Settings, listening: str = "") -> AsyncIterator[Server]:
    """A server; everything that it started is stopped at the end. Raises StartupError.

    `listening` is the base URL of links if `public_url` is not configured.
    """
    _check_safe_to_start(settings)
    async with AsyncExitStack() as stack:
        parts = await open_components(settings, listening, stack)
        sites = Sites(build_sites(settings, parts.folder, parts.originals, parts.library))
        for site in sites:
            stack.push_async_callback(site.source.close)
        endpoints: list[Endpoint] = []  # filled below, because endpoints need the app
        app = _app(parts, sites, endpoints)
        await _start_library(parts)
        endpoints += management_endpoints(parts, app)
        endpoints += await pixlab_endpoints(parts, app, sites, stack)
        pixlab = pixlab_sites(settings)
        yield Server(
            app=app,
            pool=parts.pool,
            pipeline=parts.pipeline,
            sites=sites,
            folder=parts.folder,
            cache_dir=cache_folder(settings),
            pixlab=tuple((site.prefix, site.hosts) for site in pixlab),
            new_pixlab_key=session_key() if pixlab and not settings.pixlab_key else None,
        )


async def _start_library(parts: Components) -> None:
    """Start to poll the library's changes, if there is a library. Raises StartupError."""
    library = parts.library
    if library is None:
        return
    try:
        await library.start(lambda name: parts.pipeline.purge_source(library.source, SitePath(name), below=True))
    except LibraryUnavailable as error:
        raise StartupError(error.what, error.fix) from error


def _check_safe_to_start(settings: Settings) -> None:
    """Log warnings about weak settings. Raises StartupError for settings that are unsafe."""
    if "VIPS_UNLIMITED" in os.environ:
        raise StartupError("VIPS_UNLIMITED is set: libvips would not check image sizes", "unset VIPS_UNLIMITED")
    for issue in errors(settings):
        raise StartupError(f"{issue.location}: {issue.message}", issue.fix)
    for warning in warnings(settings):
        log.warning(warning)


def _app(parts: Components, sites: Sites, endpoints: Sequence[Endpoint]) -> App:
    settings = parts.settings

    def readiness() -> dict[str, Any]:
        return status.readiness(app, parts)

    context = AdminContext(
        sites=sites,
        pipeline=parts.pipeline,
        renderers=parts.pool,
        metrics=parts.metrics,
        readiness=readiness,
        image_folder=parts.folder,
        folder_name=settings.folder.name if settings.folder else "",
        admin_token=settings.admin_token.get_secret_value() if settings.admin_token else None,
        is_library_admin=None if parts.library is None else parts.library.admits,
        development=not settings.production,
        dialects=build_dialects(settings),
    )
    deps = AppDeps(
        sites=sites,
        pipeline=parts.pipeline,
        limiter=rate_limiter(settings),
        metrics=parts.metrics,
        pages=pages(context),
        variant_quota=variant_quota(settings),
        endpoints=endpoints,
        client_ip=client_ip(settings),
        access_log=settings.access_log,
        production=settings.production,
    )
    app = App(deps)
    parts.metrics.add_samples(lambda: status.metric_samples(app, parts))
    return app
