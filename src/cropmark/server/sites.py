"""Builds sites from settings. A site has a dialect with its settings, a source, and a mount."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from pydantic import TypeAdapter

from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.config.source_spec import BucketSpec, FolderSpec, LibrarySpec, OriginSpec
from cropmark.dialects import registry
from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect
from cropmark.model.formats import Colors
from cropmark.model.problems import BadRequest
from cropmark.plan.source import SitePath, WebUrl
from cropmark.ports import Source
from cropmark.runtime.metrics import Metrics
from cropmark.server.errors import StartupError
from cropmark.server.library import LIBRARY_OVERRIDES, library_mounts
from cropmark.server.origins import bucket_source, origin_policy
from cropmark.server.policies import access_policy, cors_policy
from cropmark.sources.files import FolderSource
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.remote import OnFetch
from cropmark.sources.site import SiteSource
from cropmark.sources.web import WebSource
from cropmark.web.routing import Mount
from cropmark.web.site import CacheLifetimes, Fallback, MissRate, Site

if TYPE_CHECKING:
    from cropmark.library.service import LibraryService

T = TypeVar("T")


def build_dialect(name: str, settings: Settings, overrides: Mapping[str, Any] | None = None) -> Dialect:
    """The dialect `name` with its section of the server's settings, in which `overrides` replaces values.

    Raises BadRequest for an unknown dialect, and for PixLab's, which has endpoints and no URLs of images.
    """
    known = {dialect.name: dialect for dialect in registry.folder_entries()}
    if name not in known:
        raise BadRequest(f"{name[:40]!r} is not a dialect that serves files", fix=f"write one of {', '.join(known)}")
    return known[name].build(with_overrides(getattr(settings, name), overrides))


def build_dialects(settings: Settings) -> tuple[Dialect, ...]:
    """All dialects, each with its section of the server's settings."""
    return tuple(dialect.build(getattr(settings, dialect.name)) for dialect in registry.DIALECTS)


def with_overrides(section: T, overrides: Mapping[str, Any] | None) -> T:
    """The settings of a dialect, with values replaced by the `overrides` of a site or mount."""
    if not overrides:
        return section
    values = {f.name: getattr(section, f.name) for f in fields(section)}  # type: ignore[arg-type]  # a settings class
    return TypeAdapter(type(section)).validate_python({**values, **overrides})


def build_sites(
    settings: Settings,
    folder: FolderSource | None,
    originals: OriginalCache,
    library: LibraryService | None,
    metrics: Metrics,
) -> Iterator[Site]:
    """All sites of the server: the default sites of the folder and of the library, then the configured sites.

    Raises StartupError.
    """
    if folder is not None:
        source = SiteSource({SitePath: folder})
        for entry in registry.folder_entries():
            for default in entry.mounts:
                dialect = build_dialect(entry.name, settings, default.settings)
                yield _site(settings, default.prefix.strip("/"), dialect, source, Mount(default.prefix))
    if library is not None:
        for at in library_mounts(settings):
            dialect = build_dialect(at.dialect, settings, at.overrides)
            yield _site(settings, at.name, dialect, library.source, at.mount)
    for one in settings.site:
        if not one.is_endpoint:
            yield _configured_site(settings, one, originals, library, partial(metrics.count_fetch, one.display_name))


def _configured_site(
    settings: Settings,
    one: SiteSettings,
    originals: OriginalCache,
    library: LibraryService | None,
    on_fetch: OnFetch,
) -> Site:
    in_library = isinstance(one.source, LibrarySpec)
    overrides = {**(LIBRARY_OVERRIDES.get(one.dialect, {}) if in_library else {}), **one.settings}
    source = build_source(settings, one, originals, library, on_fetch)
    mount = Mount.configured(one.prefix, one.hosts)
    site = _site(settings, one.display_name, build_dialect(one.dialect, settings, overrides), source, mount)
    colors, gain_maps = result_colors(settings, one)
    return replace(
        site,
        lifetimes=_lifetimes(settings, one),
        key_header=_key_header(one.key_header or settings.key_header),
        access=access_policy(settings, one),
        cors=cors_policy(settings, one),
        colors=colors,
        gain_maps=gain_maps,
        reads_svg=(one.svg or settings.svg) == "rasterize",
        fallback=Fallback(one.fallback, one.fallback_status) if one.fallback else None,
    )


def build_source(
    settings: Settings,
    one: SiteSettings,
    originals: OriginalCache,
    library: LibraryService | None,
    on_fetch: OnFetch,
) -> Source:
    """The source of a configured site. Raises StartupError if its folder or the library does not exist."""
    name = one.display_name
    match one.source:
        case LibrarySpec():
            if library is None:
                raise StartupError(f"site {name}: the library does not exist", "create one: cropmark assets add PATH")
            return library.source
        case OriginSpec() as origin:
            policy = origin_policy(settings, one, origin)
            return SiteSource({WebUrl: WebSource(policy, originals, on_fetch=on_fetch)}, origin=origin.url)
        case BucketSpec() as bucket:
            return SiteSource({SitePath: bucket_source(settings, one, bucket, originals, on_fetch)})
        case FolderSpec(path):
            if not path.is_dir():
                fix = "name a folder, the origin's https:// URL, or a bucket: s3://bucket/prefix"
                raise StartupError(f"site {name}: {path} is not a folder", fix)
            return SiteSource({SitePath: FolderSource(path, name=name)})
        case None:
            raise AssertionError("a site without endpoints has a source")  # SiteSettings checks it
        case _:
            assert_never(one.source)


def _site(settings: Settings, name: str, dialect: Dialect, source: Source, mount: Mount) -> Site:
    """A site with the server's default policies and cache lifetimes."""
    rate = MissRate()
    if isinstance(dialect, Contentstack):
        rate = MissRate(dialect.settings.organization, dialect.settings.rate_limit)
    colors, gain_maps = result_colors(settings)
    return Site(
        name,
        dialect,
        source,
        mount,
        lifetimes=_lifetimes(settings),
        key_header=_key_header(settings.key_header),
        miss_rate=rate,
        access=access_policy(settings),
        cors=cors_policy(settings),
        colors=colors,
        gain_maps=gain_maps,
        reads_svg=settings.svg == "rasterize",
    )


def result_colors(settings: Settings, site: SiteSettings | None = None) -> tuple[Colors, bool]:
    """The color setting for results, and True if gain maps are preserved. A site's settings override the server's."""
    colors, hdr = (site.colors, site.hdr) if site is not None else (None, None)
    return Colors(colors or settings.colors), (hdr or settings.hdr) == "keep"


def _lifetimes(settings: Settings, site: SiteSettings | None = None) -> CacheLifetimes:
    """The cache lifetimes for responses. A site's settings override the server's."""
    own: tuple[int | None, int | None, int | None] = (None, None, None)
    if site is not None:
        own = site.max_age_s, site.s_maxage_s, site.stale_while_revalidate_s
    return CacheLifetimes(
        settings.max_age_s if own[0] is None else own[0],
        settings.versioned_max_age_s,
        settings.s_maxage_s if own[1] is None else own[1],
        settings.stale_while_revalidate_s if own[2] is None else own[2],
    )


def _key_header(setting: str) -> str:
    return "" if setting == "off" else setting
