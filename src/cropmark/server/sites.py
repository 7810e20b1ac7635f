"""The configuration's sites become objects: a dialect with its settings over a source, at a host or a prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from cropmark.config.loader import Settings, SiteSettings
from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.model.problems import BadRequest
from cropmark.plan.source import SitePath, WebUrl
from cropmark.ports import Source
from cropmark.server import library as library_setup
from cropmark.server.policies import allowed, entrance_of, sharing_of
from cropmark.sources.files import FolderSource
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import HostRule, Policy
from cropmark.sources.site import SiteSource
from cropmark.sources.web import WebSource
from cropmark.web.site import CacheLifetimes, MissRate, Site

if TYPE_CHECKING:
    from cropmark.library.service import LibraryService

T = TypeVar("T")

FOLDER_DIALECTS: dict[str, type[Fastly] | type[Contentstack] | type[Kontent]] = {
    "fastly": Fastly,
    "contentstack": Contentstack,
    "kontent": Kontent,
}
"""The dialects that are spoken over a folder, by the prefix that they are mounted at."""


class StartupError(Exception):
    """Why the server cannot start, in one line with the mend."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what} | {mend}")
        self.what = what
        self.fix = mend


def dialect_of(name: str, settings: Settings, differing: Mapping[str, Any] | None = None) -> Dialect:
    """A dialect with the server's settings of it, and those that differ for one site.

    Raises BadOrder for one that is not spoken over a folder.
    """
    if name not in FOLDER_DIALECTS:
        raise BadRequest(
            f"there is no dialect {name[:40]!r} over files", fix=f"write one of {', '.join(FOLDER_DIALECTS)}"
        )
    return FOLDER_DIALECTS[name](with_overrides(getattr(settings, name), differing))


def dialects_of(settings: Settings) -> tuple[Dialect, ...]:
    """Every dialect with the server's settings of it, wherever it is spoken."""
    return (*(dialect_of(name, settings) for name in FOLDER_DIALECTS), PixLab(settings.pixlab))


def with_overrides(own: T, differing: Mapping[str, Any] | None) -> T:
    """A dialect's settings with those that differ for one site."""
    return TypeAdapter(type(own)).validate_python({**_fields(own), **differing}) if differing else own


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def sites_of(
    settings: Settings, folder: FolderSource | None, originals: OriginalCache, library: LibraryService | None
) -> Iterable[Site]:
    if folder is not None:
        source = SiteSource({SitePath: folder})
        for name in FOLDER_DIALECTS:
            yield _site(settings, name, name, source, prefix=f"/{name}")
    if library is not None:
        for at in library_setup.addresses(settings):
            site = _site(settings, at.name, at.dialect, library.source, prefix=at.prefix, differing=at.differing)
            yield replace(site, paths=at.paths)
    for number, one in enumerate(settings.site, 1):
        if one.dialect != "pixlab":
            yield _configured_site(settings, one, f"site-{number}", originals, library)


def _configured_site(
    settings: Settings, one: SiteSettings, fallback: str, originals: OriginalCache, library: LibraryService | None
) -> Site:
    name = one.name or (one.hosts[0] if one.hosts else one.prefix.strip("/")) or fallback
    differing: Mapping[str, Any] = one.settings
    if one.source == library_setup.LIBRARY_SOURCE:
        if library is None:
            raise StartupError(f"site {name}: there is no library", "make one: cropmark assets add PATH")
        source: Source = library.source
        differing = {**library_setup.IN_LIBRARY.get(one.dialect, {}), **one.settings}
    else:
        source = _configured_source(settings, one.source, name, originals)
    site = _site(settings, name, one.dialect, source, prefix=one.prefix.rstrip("/"), differing=differing)
    age = settings.max_age_s if one.max_age_s is None else one.max_age_s
    return replace(
        site,
        hosts=tuple(h.lower() for h in one.hosts),
        lifetimes=replace(site.lifetimes, max_age_s=age),
        access=entrance_of(settings, one),
        cors=sharing_of(settings, one),
    )


def _configured_source(settings: Settings, text: str, name: str, originals: OriginalCache) -> Source:
    """A folder, or an origin on the web."""
    if text.startswith(("http://", "https://")):
        try:
            origin = HostRule.read(text)
        except ValueError as error:
            raise StartupError(
                f"site {name}: its source is no URL of an origin", "see cropmark config check"
            ) from error
        policy = Policy(allow=allowed(settings), hosts=(origin,))
        return SiteSource({WebUrl: WebSource(policy, originals)}, origin=text)
    path = Path(text).expanduser()
    if not path.is_dir():
        raise StartupError(f"site {name}: {text} is not a folder", "name a folder, or the origin's https:// URL")
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
    freshness = CacheLifetimes(settings.max_age_s, settings.versioned_max_age_s)
    rate = MissRate()
    if isinstance(spoken, Contentstack):
        rate = MissRate(spoken.settings.organization, spoken.settings.rate_limit)
    entrance, sharing = entrance_of(settings), sharing_of(settings)
    return Site(name, spoken, source, prefix, lifetimes=freshness, miss_rate=rate, access=entrance, cors=sharing)
