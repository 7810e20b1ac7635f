"""Builds the endpoints of PixLab's API, and the endpoint that serves their stored results."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from cropmark.config.paths import cache_folder, data_folder
from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.dialects import registry
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.settings import PixLabSettings
from cropmark.library.errors import LibraryUnavailable
from cropmark.library.results import FolderResults, ResultLimits
from cropmark.ports import UploadStore
from cropmark.server.components import Components
from cropmark.server.errors import StartupError
from cropmark.server.policies import client_ip, untrusted_policy
from cropmark.server.sites import with_overrides
from cropmark.sources.untrusted import UntrustedSource
from cropmark.sources.uploads import TemporaryUploads
from cropmark.sources.web import WebSource
from cropmark.web.deps import Endpoint, Shutdown
from cropmark.web.pixlab.actions import PixLabContext
from cropmark.web.pixlab.endpoint import PixLabEndpoint, either_keys, single_key
from cropmark.web.pixlab.results import ResultDownloads, ResultUrls
from cropmark.web.routing import Mount, Router
from cropmark.web.sending import BodySender
from cropmark.web.site import Site, Sites

if TYPE_CHECKING:
    from cropmark.library.bucket_results import BucketResults


def pixlab_sites(settings: Settings) -> list[SiteSettings]:
    """The sites that serve PixLab's API, in the order in which they are matched.

    If `settings.folder` is set, the dialect's default mounts are added to the configured sites.
    """
    sites = [site for site in settings.site if site.dialect == PixLab.name]
    if settings.folder is not None:
        mounts = registry.entry(PixLab.name).mounts
        sites += [
            SiteSettings(prefix=mount.prefix, dialect=PixLab.name, settings=dict(mount.settings)) for mount in mounts
        ]
    return list(Router((_mount(site), site) for site in sites))


def endpoint_sites(settings: Settings, uploads: UploadStore) -> Iterator[Site]:
    """The sites of PixLab's API, for the playground. Their source is `uploads`: each request contains its image."""
    for site in pixlab_sites(settings):
        yield Site(site.display_name, PixLab(_own_settings(settings, site)), uploads, _mount(site))


async def pixlab_endpoints(
    parts: Components, shutdown: Shutdown, sites: Sites, sender: BodySender, stack: AsyncExitStack
) -> list[Endpoint]:
    """PixLab's endpoints, and the endpoint that serves stored results. `stack` will close them. Raises StartupError."""
    served = pixlab_sites(parts.settings)
    if not served:
        return []
    context = await _context(parts, shutdown, stack)
    downloads = ResultDownloads(context.results, context.result_urls, sites, parts.metrics, sender)
    return [downloads, *_endpoints(parts.settings, served, context)]


def _endpoints(settings: Settings, sites: list[SiteSettings], context: PixLabContext) -> Iterator[PixLabEndpoint]:
    for site in sites:
        dialect = PixLab(_own_settings(settings, site))
        yield PixLabEndpoint(replace(context, dialect=dialect), name=site.display_name, mount=_mount(site))


def _own_settings(settings: Settings, site: SiteSettings) -> PixLabSettings:
    own = with_overrides(settings.section(PixLabSettings), site.settings)
    return replace(own, max_source_pixels=min(own.max_source_pixels, settings.max_source_pixels))


def _mount(site: SiteSettings) -> Mount:
    return Mount.configured(site.prefix, site.hosts)


async def _context(parts: Components, shutdown: Shutdown, stack: AsyncExitStack) -> PixLabContext:
    """The dependencies that all PixLab endpoints share. Raises StartupError."""
    settings = parts.settings
    uploads = TemporaryUploads(cache_folder(settings) / "uploads")
    on_fetch = partial(parts.metrics.count_fetch, PixLab.name)
    web = WebSource(untrusted_policy(settings), parts.originals, on_fetch=on_fetch)
    source = UntrustedSource(web, uploads)
    stack.push_async_callback(source.close)
    results = await _results(settings)
    stack.push_async_callback(results.close)
    owner_of_key = single_key(settings.pixlab_key.get_secret_value() if settings.pixlab_key else session_key())
    if parts.library is not None:
        owner_of_key = either_keys(owner_of_key, parts.library.pixlab_owner)
    return PixLabContext(
        dialect=PixLab(settings.section(PixLabSettings)),
        pipeline=parts.pipeline,
        source=source,
        uploads=uploads,
        results=results,
        result_urls=ResultUrls(parts.base_url),
        owner_of_key=owner_of_key,
        limiter=parts.limiter,
        metrics=parts.metrics,
        shutdown=shutdown,
        client_ip=client_ip(settings),
        requests_per_minute=settings.pixlab_requests_per_minute,
        access_log=settings.access_log != "off",
        development=not settings.production,
    )


async def _results(settings: Settings) -> FolderResults | BucketResults:
    """The store of results: a bucket if configured, else a folder. Raises StartupError."""
    limits = ResultLimits(settings.pixlab_result_ttl_s, settings.pixlab_result_bytes)
    if not settings.pixlab_store:
        return await FolderResults.start(data_folder(settings) / "results", limits)
    from cropmark.library.bucket_results import BucketResults  # noqa: PLC0415 - obstore is loaded for a bucket only

    try:
        return await BucketResults.start(settings.pixlab_store, limits, role=settings.allow_instance_credentials)
    except LibraryUnavailable as error:
        raise StartupError(error.what, error.fix) from error


@cache
def session_key() -> str:
    """The random API key of this process, used if no key is configured. A reload does not change it."""
    return generate_key()


def generate_key() -> str:
    """A new API key: 32 random bytes, URL-safe."""
    return secrets.token_urlsafe(32)
