"""The source of a site. Passes each reference to the Source that reads references of its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from cropmark.model.problems import SourceForbidden
from cropmark.plan.source import SitePath, SourceRef, WebUrl
from cropmark.ports import OpenSource, Source, SourceVersion


class SiteSource:
    """A Source that combines several Sources, one for each type of reference.

    With `origin`, a path is fetched from the web, below this URL.
    """

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

    def reader_of(self, kind: type[SourceRef]) -> Source | None:
        """The Source that reads this type of reference, or None."""
        return self._by_kind.get(kind)

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
"""The characters of a query that are not encoded. `%` is one of them, since a query was never decoded."""


def _quoted(text: str, safe: str = _IN_PATH) -> str:
    """The text in percent-encoded form. A site's path was decoded once, so it is encoded again for the URL."""
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)
