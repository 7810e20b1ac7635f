"""Serves images from untrusted sources: the web and uploads. Their identities reveal only the scheme and host of a URL.

Identities are written to the log, and the path and query of a client's URL may contain credentials.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import assert_never
from urllib.parse import urlsplit

from cropmark.model.problems import SourceNotFound
from cropmark.plan.source import SitePath, SourceRef, UploadRef, WebUrl
from cropmark.ports import OpenSource, Source, SourceVersion


class UntrustedSource:
    """The Source of images that clients name by a URL or upload."""

    def __init__(self, web: Source, uploads: Source) -> None:
        self._web = web
        self._uploads = uploads

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        version = self._adapter(ref).stat(ref)
        return None if version is None else _without_path(version)

    async def open(self, ref: SourceRef) -> OpenSource:
        source = await self._adapter(ref).open(ref)
        return replace(source, version=_without_path(source.version))

    def identity(self, ref: SourceRef) -> str:
        """The identity: `img:https://host#` and a digest of the whole URL, or `upload:` and the digest of an upload."""
        return _shorten_identity(self._adapter(ref).identity(ref))

    def purge(self, prefix: str) -> None:
        """Purge images from the web. `prefix` is a prefix of the web source's identities: `web:https://host/path`."""
        self._web.purge(prefix)

    async def close(self) -> None:
        await self._web.close()
        await self._uploads.close()

    def _adapter(self, ref: SourceRef) -> Source:
        match ref:
            case WebUrl():
                return self._web
            case UploadRef():
                return self._uploads
            case SitePath():
                raise SourceNotFound(
                    "images cannot be named by a path here", fix="name the image by its URL, or upload it"
                )
            case _:
                assert_never(ref)


def _without_path(version: SourceVersion) -> SourceVersion:
    return replace(version, identity=_shorten_identity(version.identity))


def _shorten_identity(identity: str) -> str:
    kind, _, rest = identity.partition(":")
    if kind != "web":
        return identity
    url = urlsplit(rest)
    digest = hashlib.sha256(rest.encode("utf-8", "surrogateescape")).hexdigest()
    return f"img:{url.scheme}://{url.hostname}#{digest}"
