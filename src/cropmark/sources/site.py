"""The source of a site, which passes each reference on to the adapter for its type."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from cropmark.model.problems import SourceForbidden
from cropmark.plan.source import SitePath, SourceRef, WebUrl
from cropmark.ports import OpenSource, Source, SourceVersion


class SiteSource:
    """A Source that combines others. With `origin`, a site's paths are read below this URL."""

    def __init__(self, by_kind: Mapping[type[SourceRef], Source], *, origin: str | None = None) -> None:
        self._by_kind = dict(by_kind)
        self._origin = origin.rstrip("/") if origin else None

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        adapter, ref = self._adapter(ref)
        return adapter.stat(ref)

    async def open(self, ref: SourceRef) -> OpenSource:
        adapter, ref = self._adapter(ref)
        return await adapter.open(ref)

    def identity(self, ref: SourceRef) -> str:
        adapter, ref = self._adapter(ref)
        return adapter.identity(ref)

    def purge(self, prefix: str) -> None:
        for adapter in self._by_kind.values():
            adapter.purge(prefix)

    async def close(self) -> None:
        for adapter in self._by_kind.values():
            await adapter.close()

    def _adapter(self, ref: SourceRef) -> tuple[Source, SourceRef]:
        if self._origin is not None and isinstance(ref, SitePath):
            ref = WebUrl(f"{self._origin}/{_quoted(ref.path)}")
        adapter = self._by_kind.get(type(ref))
        if adapter is None:
            raise SourceForbidden("this site does not accept this kind of source", fix="name an image by its path")
        return adapter, ref


def _quoted(path: str) -> str:
    """The path in its percent-encoded form. It was decoded once and is encoded once."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/!$&'()*+,;=:@~")
