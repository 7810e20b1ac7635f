"""Builds a server from its settings: creates its parts, sites, pages and endpoints, and combines them in one app."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from cropmark.config.paths import cache_folder
from cropmark.config.production import errors, warnings
from cropmark.config.settings import Settings
from cropmark.fleet.siblings import Handler
from cropmark.library.errors import LibraryUnavailable
from cropmark.pipeline import Pipeline
from cropmark.plan.source import SitePath
from cropmark.renderers.pool import Pool
from cropmark.server import status
from cropmark.server.components import Components, open_components
from cropmark.server.errors import StartupError
from cropmark.server.fleet import open_purges
from cropmark.server.images import SiteImages
from cropmark.server.kept import Kept
from cropmark.server.management import management_endpoints
from cropmark.server.pixlab import endpoint_sites, pixlab_endpoints, pixlab_sites, session_key
from cropmark.server.policies import body_sender, client_ip, variant_quota
from cropmark.server.sites import build_dialects, build_sites
from cropmark.sources.files import FolderSource
from cropmark.sources.uploads import TemporaryUploads
from cropmark.web.admin import operator_pages, pages, public_pages
from cropmark.web.admin_context import AdminContext, Purges, Readiness
from cropmark.web.app import App
from cropmark.web.deps import AppDeps, Endpoint, Pages, Shutdown
from cropmark.web.sending import BodySender, CutConnection
from cropmark.web.sessions import Sessions
from cropmark.web.site import Sites

log = structlog.get_logger("cropmark.server")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready for requests, with the values that `cropmark serve` prints."""

    app: App
    pool: Pool
    pipeline: Pipeline
    sites: Sites
    folder: FolderSource | None
    cache_dir: Path
    answers: Mapping[str, Handler]
    """The functions that answer messages of other fronts of this host, by the kind of a message."""
    operator_pages: Pages
    """The app that serves monitoring and administration at `admin_port`."""
    pixlab: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Prefix and hosts of each site that serves PixLab's API."""
    new_pixlab_key: str | None = field(default=None, repr=False)
    """The random API key of this process, if PixLab's API is served and no key is configured."""


@asynccontextmanager
async def open_server(
    settings: Settings, listening: str = "", cut: CutConnection = lambda _: None, kept: Kept | None = None
) -> AsyncIterator[Server]:
    """Build and start a server, and stop all its parts at the end of the context. Raises StartupError.

    `listening` is the base URL of links to the server, unless `public_url` is configured. `cut` ends a client's
    connection. `kept` has the parts that a server takes over from the server that it replaces.
    """
    _check_safe_to_start(settings)
    async with AsyncExitStack() as stack:
        parts = await open_components(settings, listening, stack, kept or Kept())
        sites = Sites(build_sites(settings, parts.folder, parts.originals, parts.library, parts.metrics))
        for site in sites:
            stack.push_async_callback(site.source.close)
        shutdown = Shutdown()
        sender = body_sender(settings, cut)
        uploads = TemporaryUploads(cache_folder(settings) / "uploads")
        stack.push_async_callback(uploads.close)
        purges = await open_purges(parts, sites, stack)
        context = _admin_context(parts, sites, purges, partial(status.readiness, shutdown, parts), uploads)
        endpoints = [
            *management_endpoints(parts, shutdown),
            *await pixlab_endpoints(parts, shutdown, sites, sender, stack),
        ]
        app = _app(parts, sites, endpoints, sender, context, shutdown)
        for owner, read in status.samples(app, parts, sender):
            stack.callback(parts.metrics.read_from(owner, read))
        await _start_library(parts)
        pixlab = pixlab_sites(settings)
        yield Server(
            app=app,
            pool=parts.pool,
            pipeline=parts.pipeline,
            sites=sites,
            folder=parts.folder,
            cache_dir=cache_folder(settings),
            answers=parts.answers,
            operator_pages=operator_pages(context, sender),
            pixlab=tuple((site.prefix, site.hosts) for site in pixlab),
            new_pixlab_key=session_key() if pixlab and not settings.pixlab_key else None,
        )


async def _start_library(parts: Components) -> None:
    """Start polling the library for changes, if the server has a library. Raises StartupError."""
    library = parts.library
    if library is None:
        return
    try:
        await library.start(lambda name: parts.pipeline.purge_source(library.source, SitePath(name), below=True))
    except LibraryUnavailable as error:
        raise StartupError(error.what, error.fix) from error


def _check_safe_to_start(settings: Settings) -> None:
    """Log a warning for each weak setting. Raises StartupError for an unsafe one."""
    if "VIPS_UNLIMITED" in os.environ:
        raise StartupError("VIPS_UNLIMITED is set: libvips would not check image sizes", "unset VIPS_UNLIMITED")
    for issue in errors(settings):
        raise StartupError(f"{issue.location}: {issue.message}", issue.fix)
    for warning in warnings(settings):
        log.warning(warning)


def _admin_context(
    parts: Components, sites: Sites, purges: Purges, readiness: Readiness, uploads: TemporaryUploads
) -> AdminContext:
    settings = parts.settings
    return AdminContext(
        sites=sites,
        pipeline=parts.pipeline,
        renderers=parts.pool,
        metrics=parts.metrics,
        exposition=None if parts.host_metrics is None else parts.host_metrics.total,
        readiness=readiness,
        images=SiteImages(parts.library),
        endpoint_sites=Sites(endpoint_sites(settings, uploads)),
        admin_token=settings.admin_token.get_secret_value() if settings.admin_token else None,
        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else None,
        is_library_admin=None if parts.library is None else parts.library.admits,
        purges=purges,
        development=not settings.production,
        sessions=Sessions(settings.admin_token.get_secret_value() if settings.admin_token else None),
        dialects=build_dialects(settings),
        uploads=uploads,
        client_ip=client_ip(settings),
    )


def _app(
    parts: Components,
    sites: Sites,
    endpoints: Sequence[Endpoint],
    sender: BodySender,
    context: AdminContext,
    shutdown: Shutdown,
) -> App:
    settings = parts.settings
    deps = AppDeps(
        sites=sites,
        pipeline=parts.pipeline,
        limiter=parts.limiter,
        metrics=parts.metrics,
        pages=pages(context) if settings.admin_port is None else public_pages(context),
        variant_quota=variant_quota(settings, parts.limiter),
        shutdown=shutdown,
        endpoints=endpoints,
        client_ip=client_ip(settings),
        sender=sender,
        access_log=settings.access_log,
        info=not settings.production if settings.info is None else settings.info,
        trace_from_anyone=settings.trace_from_anyone,
        production=settings.production,
    )
    return App(deps)
