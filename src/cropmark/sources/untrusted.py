"""Strangers' pictures, from the web or uploaded, under names that tell no more of an address than scheme and host.

Stamps end up in logs. Of an address that a caller named, path and query are the caller's own business.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import assert_never
from urllib.parse import urlsplit

from cropmark.model.problems import SourceNotFound
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.ports import OpenSource, Source, SourceVersion


class UntrustedSource:
    """A Source of WebUrls and Uploads."""

    def __init__(self, web: Source, uploads: Source) -> None:
        self._web = web
        self._uploads = uploads

    def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion | None:
        stamp = self._adapter(where).stat(where)
        return None if stamp is None else _discreet(stamp)

    async def open(self, where: SitePath | WebUrl | UploadRef) -> OpenSource:
        opened = await self._adapter(where).open(where)
        return replace(opened, stamp=_discreet(opened.stamp))

    def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
        """`img:https://host#…` with a digest of the whole address, or the upload's own."""
        return _shortened(self._adapter(where).identity(where))

    def purge(self, identity_prefix: str) -> None:
        """By the names of the web source, `web:https://host/path`."""
        self._web.purge(identity_prefix)

    async def close(self) -> None:
        await self._web.close()
        await self._uploads.close()

    def _adapter(self, where: SitePath | WebUrl | UploadRef) -> Source:
        match where:
            case WebUrl():
                return self._web
            case UploadRef():
                return self._uploads
            case SitePath():
                raise SourceNotFound("there are no pictures by path here", fix="name one by its URL, or send it")
            case _:
                assert_never(where)


def _discreet(stamp: SourceVersion) -> SourceVersion:
    return replace(stamp, identity=_shortened(stamp.identity))


def _shortened(identity: str) -> str:
    kind, _, rest = identity.partition(":")
    if kind != "web":
        return identity
    address = urlsplit(rest)
    digest = hashlib.sha256(rest.encode("utf-8", "surrogateescape")).hexdigest()
    return f"img:{address.scheme}://{address.hostname}#{digest}"
