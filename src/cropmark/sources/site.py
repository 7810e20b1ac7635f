"""The source of a site: each kind of name goes to the adapter that knows it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from cropmark.model.problems import SourceForbidden
from cropmark.plan.source import SitePath, SourceRef, WebUrl
from cropmark.ports import OpenSource, Source, SourceVersion


class SiteSource:
    """A Source made of others. `origin` is the URL that a site's paths are below, where they lie on the web."""

    def __init__(self, by_kind: Mapping[type[SourceRef], Source], *, origin: str | None = None) -> None:
        self._by_kind = dict(by_kind)
        self._origin = origin.rstrip("/") if origin else None

    def stat(self, where: SourceRef) -> SourceVersion | None:
        adapter, where = self._adapter(where)
        return adapter.stat(where)

    async def open(self, where: SourceRef) -> OpenSource:
        adapter, where = self._adapter(where)
        return await adapter.open(where)

    def identity(self, where: SourceRef) -> str:
        adapter, where = self._adapter(where)
        return adapter.identity(where)

    def purge(self, named: str) -> None:
        for adapter in self._by_kind.values():
            adapter.purge(named)

    async def close(self) -> None:
        for adapter in self._by_kind.values():
            await adapter.close()

    def _adapter(self, where: SourceRef) -> tuple[Source, SourceRef]:
        if self._origin is not None and isinstance(where, SitePath):
            where = WebUrl(f"{self._origin}/{_quoted(where.path)}")
        found = self._by_kind.get(type(where))
        if found is None:
            raise SourceForbidden("this site has no such kind of source", fix="name a picture by its path")
        return found, where


def _quoted(path: str) -> str:
    """The path as it stands in a URL; what was decoded once is encoded once."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/!$&'()*+,;=:@~")
