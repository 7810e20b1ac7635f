"""Purges cache entries of this server by URL, source path, path prefix or tag, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cropmark.model.problems import BadRequest
from cropmark.pipeline import Pipeline, PurgeTarget, cache_tag, source_targets, url_tag
from cropmark.plan.source import SitePath
from cropmark.ports import Purge, PurgeKind, PurgeResult, Source
from cropmark.runtime.purge_log import Position
from cropmark.security.signing import target, unsigned
from cropmark.web.explain_pages import split_url
from cropmark.web.site import Sites

PurgeOriginals = Callable[[str], None]
"""Removes the cached originals that their origin marked with this key."""

_FIX = (
    'send {"source": "photo.jpg"}, {"prefix": "summer/"}, {"url": "/fastly/photo.jpg?width=100"}, {"tag": "shop"} or '
    '{"all": true}'
)


class SitePurger:
    """Purges the cache entries of this server's sites."""

    def __init__(self, sites: Sites, pipeline: Pipeline, purge_originals: PurgeOriginals = lambda _: None) -> None:
        self._sites = sites
        self._pipeline = pipeline
        self._purge_originals = purge_originals

    async def purge(self, purge: Purge) -> PurgeResult:
        """Purge the cache entries of this server. Other servers do not get the purge."""
        return PurgeResult(await self.apply(purge))

    async def apply(self, purge: Purge, at: Position | None = None, *, own_only: bool = False) -> int:
        """Purge the cache entries of this server that `purge` covers, and return their number.

        `at` is the position of the purge in the stream of all servers' purges. With `own_only`, the shared cache is not
        purged, because the server that sent the purge does it.

        If some entries fail, all others are purged first; then the first Problem is raised.
        """
        if purge.kind is PurgeKind.TAG:
            self._purge_originals(purge.value)
        purge_entries = self._pipeline.purge_own if own_only else self._pipeline.purge
        return await purge_entries(self.targets(purge), soft=purge.soft, at=at)

    async def forget(self, purge: Purge) -> None:
        """Do the first half of a purge on a host with several fronts. Raises Problems.

        Drops the purged entries in memory and finishes pending writes. After all fronts have done this, all fronts call
        apply().
        """
        if purge.kind is PurgeKind.TAG:
            self._purge_originals(purge.value)
        await self._pipeline.forget(self.targets(purge), soft=purge.soft)

    async def drop_own(self) -> None:
        """Drop all entries of this server's own caches, because it may have missed purges."""
        await self._pipeline.purge_own(self.targets(Purge(PurgeKind.ALL)))

    def tags(self, purge: Purge) -> list[str]:
        """The tag prefixes of the cache entries that `purge` covers. Raises like targets()."""
        return [each.tag for each in self.targets(purge)]

    def targets(self, purge: Purge) -> list[PurgeTarget]:
        """The cache entries that `purge` covers. Raises BadRequest for an invalid URL, and SourceProblems."""
        match purge.kind:
            case PurgeKind.URL:
                return [PurgeTarget(tag) for tag in _url_tags(purge.value)]
            case PurgeKind.SOURCE | PurgeKind.PREFIX:
                ref, below = SitePath(purge.value.lstrip("/")), purge.kind is PurgeKind.PREFIX
                return [each for source in self._sources() for each in source_targets(source, ref, below=below)]
            case PurgeKind.TAG:
                # The name of a site is a tag of all its images, also of those that it shares with other sites.
                named = {id(site.source): site.source for site in self._sites if site.name == purge.value}
                of_site = [each for one in named.values() for each in source_targets(one, SitePath(""), below=True)]
                return [PurgeTarget(cache_tag("tag", purge.value)), *of_site]
            case PurgeKind.ALL:
                return [*(PurgeTarget("source:", source) for source in self._sources()), PurgeTarget("")]

    def _sources(self) -> list[Source]:
        """The sources of all sites. A source that several sites share is returned once."""
        return list({id(site.source): site.source for site in self._sites}.values())


def read_purge(body: object) -> Purge:
    """The purge that a JSON object requests. Raises BadRequest."""
    match body:
        case {"all": True, **rest}:
            purge = Purge(PurgeKind.ALL)
        case {"url": str(value), **rest}:
            purge = Purge(PurgeKind.URL, value)
        case {"source": str(value), **rest}:
            purge = Purge(PurgeKind.SOURCE, value)
        case {"prefix": str(value), **rest}:
            purge = Purge(PurgeKind.PREFIX, value)
        case {"tag": str(value), **rest} if value:
            purge = Purge(PurgeKind.TAG, value)
        case _:
            raise BadRequest("expected a JSON object with url, source, prefix, tag or all", fix=_FIX)
    return _with_softness(purge, rest)


def _with_softness(purge: Purge, rest: Mapping[Any, object]) -> Purge:
    soft = rest.get("soft", False)
    if not isinstance(soft, bool) or rest.keys() - {"soft"}:
        raise BadRequest("expected one of url, source, prefix, tag and all, and soft as true or false", fix=_FIX)
    return Purge(purge.kind, purge.value, soft)


def _url_tags(url: str) -> list[str]:
    """The cache tags of the URL as given, and of the URL without its signature.

    Renditions are tagged with the URL without the signature.
    """
    parts = split_url(url)
    path, query = parts.path.encode("utf-8", "replace"), parts.query.encode("utf-8", "replace")
    urls = dict.fromkeys((target(path, query), target(path, unsigned(query))))
    return [url_tag(one.decode("latin-1")) for one in urls]
