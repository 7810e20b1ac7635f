"""The configuration becomes objects: the only place that knows every adapter by name."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from pydantic import TypeAdapter

from cropmark import libraries
from cropmark.analysis import models
from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiers import Tiers
from cropmark.config import Settings, SiteSettings
from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.guards import allowed, budget_of, clients_of, entrance_of, foreign_policy, sharing_of
from cropmark.libraries import data_folder
from cropmark.library.database import LibraryUnusable
from cropmark.library.live import Live
from cropmark.library.results import DiskResults
from cropmark.limits import MemoryLimiter, limiter
from cropmark.metrics import Metrics
from cropmark.pipeline import Pipeline
from cropmark.plan.source import SitePath, WebUrl
from cropmark.ports import Source
from cropmark.production import refusals
from cropmark.renderers.pool import Pool
from cropmark.renderers.tasks import Isolation, Sandbox
from cropmark.sources.files import FolderSource
from cropmark.sources.foreign import ForeignSource
from cropmark.sources.originals import Originals
from cropmark.sources.policy import HostRule, Policy
from cropmark.sources.site import SiteSource
from cropmark.sources.uploads import Uploads
from cropmark.sources.web import WebSource
from cropmark.web.admin import Desk, pages
from cropmark.web.app import App, Door
from cropmark.web.management import Counter, ManagementDoor
from cropmark.web.media import Links, Media
from cropmark.web.pixlab import PixLabDoor, either, one_key
from cropmark.web.pixlab_acts import Bureau
from cropmark.web.site import Freshness, Rate, Site, Sites

T = TypeVar("T")

PREFIXES: dict[str, type[Fastly] | type[Contentstack] | type[Kontent]] = {
    "fastly": Fastly,
    "contentstack": Contentstack,
    "kontent": Kontent,
}
"""The dialects that are spoken over a folder, by the prefix that they are mounted at."""


class CannotStart(Exception):
    """Why the server cannot start, in one line with the mend."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what} | {mend}")
        self.what = what
        self.mend = mend


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


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder(settings: Settings) -> Path:
    """Where renditions are kept on disk."""
    return settings.cache_dir or Path(platformdirs.user_cache_dir("cropmark", appauthor=False))


def pool_of(settings: Settings) -> Pool:
    """The renderers, not started yet."""
    return Pool(
        settings.renderers or cores(),
        deadline_s=settings.render_deadline_s,
        analysis_deadline_s=settings.analysis_deadline_s,
        queue_limit=settings.queue,
        sandbox=Sandbox(settings.sandbox),
        isolation=Isolation(settings.isolation),
        floor=settings.old_libraries == "refuse",
        models=models_of(settings),
    )


def models_of(settings: Settings) -> Callable[[], models.Models] | None:
    """What reads the networks for content-aware cropping; None where it is off or not installed."""
    return cache(models.load) if settings.smart and models.available() is None else None


def dialect_of(name: str, settings: Settings, differing: Mapping[str, Any] | None = None) -> Dialect:
    """A dialect with the server's settings of it, and those that differ for one site."""
    return PREFIXES[name](_with_differences(getattr(settings, name), differing))


def dialects_of(settings: Settings) -> tuple[Dialect, ...]:
    """Every dialect with the server's settings of it, wherever it is spoken."""
    return (*(dialect_of(name, settings) for name in PREFIXES), PixLab(settings.pixlab))


def _with_differences(own: T, differing: Mapping[str, Any] | None) -> T:
    """A dialect's settings with those that differ for one site."""
    return TypeAdapter(type(own)).validate_python({**_fields(own), **differing}) if differing else own


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


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
        tiers = Tiers([MemoryCache(settings.memory_cache), disk])
        stack.push_async_callback(tiers.close)
        pool = pool_of(settings)
        await _started(pool)
        stack.push_async_callback(pool.close)
        pipeline = Pipeline(cache=tiers, renderers=pool, metrics=metrics)
        stack.push_async_callback(pipeline.close)
        originals = _originals(settings)
        library = await _library(settings, stack)
        sites = Sites(_sites(settings, folder, originals, library))
        for site in sites:
            stack.push_async_callback(site.source.close)
        doors: list[Door] = []
        app = _app(settings, sites, pipeline, pool, tiers, metrics, folder, doors, library)
        if library is not None:
            await library.start(lambda named: pipeline.purge_source(library.source, SitePath(named), below=True))
            doors += _management_doors(settings, listening, library, app, pool, metrics)
        new_key = None
        if _pixlab_places(settings):
            bureau = await _bureau(settings, listening, pipeline, originals, metrics, lambda: app.stopping, stack)
            if library is not None:
                bureau = replace(bureau, keys=either(bureau.keys, library.pixlab_owner))
            doors += [Media(bureau.results, bureau.links, sites, metrics), *_pixlab_doors(settings, bureau)]
            new_key = None if settings.pixlab_key else _key_of_this_start()
        pixlab = tuple((prefix, hosts) for prefix, hosts, _ in _pixlab_places(settings))
        yield Server(app, pool, pipeline, sites, folder, cache_folder(settings), pixlab, new_key)


def _refuse_to_start(settings: Settings) -> None:
    """Raises CannotStart for what a server must not be started with."""
    if "VIPS_UNLIMITED" in os.environ:
        raise CannotStart("VIPS_UNLIMITED is set: libvips would check no sizes", "unset VIPS_UNLIMITED")
    for mistake in refusals(settings):
        raise CannotStart(f"{mistake.where}: {mistake.what}", mistake.mend)


async def _started(pool: Pool) -> None:
    try:
        await pool.start()
    except Exception as error:
        raise CannotStart(f"no renderer can be started: {error}", "run cropmark doctor") from error


def _folder(settings: Settings) -> FolderSource | None:
    if settings.folder is None:
        return None
    if not settings.folder.is_dir():
        raise CannotStart(f"{settings.folder} is not a folder", "name a folder of pictures: cropmark serve FOLDER")
    return FolderSource(settings.folder)


async def _disk(settings: Settings) -> DiskCache:
    folder = cache_folder(settings)
    try:
        return await DiskCache.opened(folder, settings.disk_cache)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotStart(f"the cache folder {folder} cannot be written: {why}", "name another with --cache") from error


async def _library(settings: Settings, stack: AsyncExitStack) -> Live | None:
    """The library, where there is one; closed with the stack."""
    if not libraries.is_there(settings):
        return None
    try:
        library = Live(await asyncio.to_thread(libraries.opened, settings))
    except LibraryUnusable as error:
        raise CannotStart(error.what, error.mend) from error
    stack.push_async_callback(library.close)
    return library


def _originals(settings: Settings) -> Originals:
    """Where pictures from the web are kept, apart from renditions: either may be emptied alone."""
    folder = cache_folder(settings) / "originals"
    try:
        return Originals(folder, settings.originals_cache)
    except OSError as error:
        raise CannotStart(
            f"{folder} cannot be written: {error.strerror}", "name another folder with --cache"
        ) from error


def _sites(
    settings: Settings, folder: FolderSource | None, originals: Originals, library: Live | None
) -> Iterable[Site]:
    if folder is not None:
        source = SiteSource({SitePath: folder})
        for name in PREFIXES:
            yield _site(settings, name, name, source, prefix=f"/{name}")
    if library is not None:
        for at in libraries.addresses(settings):
            site = _site(settings, at.name, at.dialect, library.source, prefix=at.prefix, differing=at.differing)
            yield replace(site, paths=at.paths)
    for number, one in enumerate(settings.site, 1):
        if one.dialect != "pixlab":
            yield _configured_site(settings, one, f"site-{number}", originals, library)


def _configured_site(
    settings: Settings, one: SiteSettings, fallback: str, originals: Originals, library: Live | None
) -> Site:
    name = one.name or (one.hosts[0] if one.hosts else one.prefix.strip("/")) or fallback
    differing: Mapping[str, Any] = one.settings
    if one.source == libraries.WORD:
        if library is None:
            raise CannotStart(f"site {name}: there is no library", "make one: cropmark assets add PATH")
        source: Source = library.source
        differing = {**libraries.IN_LIBRARY.get(one.dialect, {}), **one.settings}
    else:
        source = _configured_source(settings, one.source, name, originals)
    site = _site(settings, name, one.dialect, source, prefix=one.prefix.rstrip("/"), differing=differing)
    age = settings.max_age_s if one.max_age_s is None else one.max_age_s
    return replace(
        site,
        hosts=tuple(h.lower() for h in one.hosts),
        freshness=replace(site.freshness, max_age_s=age),
        entrance=entrance_of(settings, one),
        sharing=sharing_of(settings, one),
    )


def _configured_source(settings: Settings, text: str, name: str, originals: Originals) -> Source:
    """A folder, or an origin on the web."""
    if text.startswith(("http://", "https://")):
        try:
            origin = HostRule.read(text)
        except ValueError as error:
            raise CannotStart(f"site {name}: its source is no URL of an origin", "see cropmark config check") from error
        policy = Policy(allow=allowed(settings), hosts=(origin,))
        return SiteSource({WebUrl: WebSource(policy, originals)}, origin=text)
    path = Path(text).expanduser()
    if not path.is_dir():
        raise CannotStart(f"site {name}: {text} is not a folder", "name a folder, or the origin's https:// URL")
    return SiteSource({SitePath: FolderSource(path, name=name)})


def _site(
    settings: Settings,
    name: str,
    dialect: str,
    source: Source,
    *,
    prefix: str,
    differing: Mapping[str, Any] | None = None,
) -> Site:
    spoken = dialect_of(dialect, settings, differing)
    freshness = Freshness(settings.max_age_s, settings.versioned_max_age_s)
    rate = Rate()
    if isinstance(spoken, Contentstack):
        rate = Rate(spoken.settings.organization, spoken.settings.rate_limit)
    entrance, sharing = entrance_of(settings), sharing_of(settings)
    return Site(name, spoken, source, prefix, freshness=freshness, rate=rate, entrance=entrance, sharing=sharing)


def _app(
    settings: Settings,
    sites: Sites,
    pipeline: Pipeline,
    pool: Pool,
    tiers: Tiers,
    metrics: Metrics,
    folder: FolderSource | None,
    doors: Sequence[Door],
    library: Live | None,
) -> App:
    def readiness() -> dict[str, Any]:
        return _readiness(app, pool, settings)

    desk = Desk(
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
        limiter=limiter(settings.redis_url.get_secret_value() if settings.redis_url else ""),
        metrics=metrics,
        pages=pages(desk),
        doors=doors,
        access_log=settings.access_log,
        clients=clients_of(settings),
        budget=budget_of(settings),
        production=settings.production,
    )
    metrics.read_from(lambda: _rows(pool, tiers, app))
    return app


def _pixlab_places(settings: Settings) -> list[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
    """Where PixLab is spoken: prefix, hosts, and the dialect's settings that differ there."""
    places: list[tuple[str, tuple[str, ...], Mapping[str, Any]]] = [
        (one.prefix.rstrip("/"), tuple(host.lower() for host in one.hosts), one.settings)
        for one in settings.site
        if one.dialect == "pixlab"
    ]
    if settings.folder is not None:
        places.append(("/pixlab", (), {}))
    return sorted(places, key=lambda place: (not place[1], -len(place[0])))


def _pixlab_doors(settings: Settings, bureau: Bureau) -> Iterable[PixLabDoor]:
    for prefix, hosts, differing in _pixlab_places(settings):
        own = _with_differences(settings.pixlab, differing)
        own = replace(own, source_pixels=min(own.source_pixels, settings.max_source_pixels))
        yield PixLabDoor(replace(bureau, dialect=PixLab(own)), prefix=prefix, hosts=hosts)


def _management_doors(
    settings: Settings, listening: str, library: Live, app: App, pool: Pool, metrics: Metrics
) -> Iterable[ManagementDoor]:
    counter = Counter(
        library=library,
        renderers=pool,
        limiter=limiter(settings.redis_url.get_secret_value() if settings.redis_url else ""),
        metrics=metrics,
        base=(settings.public_url or listening).rstrip("/"),
        stopping=lambda: app.stopping,
        upload_bytes=settings.library_limit,
        organization=settings.contentstack.organization,
        per_s=settings.management_rate,
        strict_environments=settings.strict_environments,
        logs=settings.access_log != "off",
    )
    for prefix, hosts, not_hosts in libraries.management_places(settings):
        yield ManagementDoor(counter, prefix=prefix, hosts=hosts, not_hosts=not_hosts)


async def _bureau(
    settings: Settings,
    listening: str,
    pipeline: Pipeline,
    originals: Originals,
    metrics: Metrics,
    stopping: Callable[[], bool],
    stack: AsyncExitStack,
) -> Bureau:
    """What PixLab's endpoints share; closed with the stack."""
    uploads = Uploads(cache_folder(settings) / "uploads")
    source = ForeignSource(WebSource(foreign_policy(settings), originals), uploads)
    stack.push_async_callback(source.close)
    results = await DiskResults.opened(
        data_folder(settings) / "results", lifetime_s=settings.pixlab_keep_s, limit_bytes=settings.pixlab_results
    )
    stack.push_async_callback(results.close)
    key = settings.pixlab_key.get_secret_value() if settings.pixlab_key else _key_of_this_start()
    return Bureau(
        dialect=PixLab(settings.pixlab),
        pipeline=pipeline,
        source=source,
        uploads=uploads,
        results=results,
        links=Links((settings.public_url or listening).rstrip("/")),
        keys=one_key(key),
        limiter=MemoryLimiter(window_s=60),
        metrics=metrics,
        stopping=stopping,
        clients=clients_of(settings),
        per_minute=settings.pixlab_per_minute,
        logs=settings.access_log != "off",
    )


@cache
def _key_of_this_start() -> str:
    """One a process: a reload must not lock out who was told the key at the start."""
    return new_key()


def _readiness(app: App, pool: Pool, settings: Settings) -> dict[str, Any]:
    state = pool.state()
    smart = models.available() if settings.smart else "switched off"
    return {
        "ready": state.ready and not app.stopping,
        "stopping": app.stopping,
        "renderers": {"alive": state.alive, "running": state.running, "queued": state.queued},
        "sandbox": {"mode": settings.sandbox, "whole": state.sandboxed, "missing": list(state.missing)},
        "libraries": list(state.libraries),
        "smart": smart or "on",
    }


Row = tuple[str, str, dict[str, str], float]


def _rows(pool: Pool, tiers: Tiers, app: App) -> Iterable[Row]:
    """What is counted elsewhere, read when Prometheus asks."""
    state = pool.state()
    yield "cropmark_renderers", "Renderer processes alive.", {}, state.alive
    yield "cropmark_renders_running", "Tasks being carried out.", {}, state.running
    yield "cropmark_queue", "Tasks waiting for a renderer.", {}, state.queued
    yield "cropmark_queue_seconds", "Estimated work that waits, on one core.", {}, state.queued_ms / 1000
    yield "cropmark_queue_refused_total", "Tasks refused because the queue was full.", {}, state.refused
    yield "cropmark_queue_dropped_total", "Tasks that nobody waited for any more.", {}, state.dropped
    for cause, count in state.restarts.items():
        yield "cropmark_renderer_restarts_total", "Renderers replaced.", {"cause": cause.value}, count
    for tier in tiers.stats():
        label = {"tier": tier.name}
        yield "cropmark_cache_entries", "Entries kept.", label, tier.entries
        yield "cropmark_cache_bytes", "Bytes kept.", label, tier.bytes
        yield "cropmark_cache_hits_total", "Lookups that found something.", label, tier.hits
        yield "cropmark_cache_misses_total", "Lookups that found nothing.", label, tier.misses
        yield "cropmark_cache_evictions_total", "Entries removed to make room.", label, tier.evictions
        yield "cropmark_cache_errors_total", "Troubles with storage.", label, tier.errors
    yield "cropmark_requests_in_hand", "Requests being answered now.", {}, app.in_hand


def new_key() -> str:
    """A key to show once: 32 random bytes, URL-safe."""
    return secrets.token_urlsafe(32)
