"""The source of a site, which passes each reference on to the adapter for its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
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
            query = f"?{_quoted(ref.query, _IN_QUERY)}" if ref.query else ""
            ref = WebUrl(f"{self._origin}/{_quoted(ref.path)}{query}")
        adapter = self._by_kind.get(type(ref))
        if adapter is None:
            raise SourceForbidden("this site does not accept this kind of source", fix="name an image by its path")
        return adapter, ref


_IN_PATH: Final = "/!$&'()*+,;=:@~"
_IN_QUERY: Final = _IN_PATH + "?%"
"""A query was never decoded, so its percent signs stay."""


def _quoted(text: str, safe: str = _IN_PATH) -> str:
    """The text in its percent-encoded form. A path was decoded once and is encoded once."""
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)
