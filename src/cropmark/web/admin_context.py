"""The dependencies that all pages share, and the types of their data."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response

from cropmark.dialects.dialect import Dialect
from cropmark.pipeline import Pipeline
from cropmark.ports import Purge, PurgeResult, Renderers, UploadStore
from cropmark.runtime.metrics import Metrics
from cropmark.web.client_ip import ClientIp
from cropmark.web.pages.layout import PAGE_HEADERS
from cropmark.web.sessions import Sessions
from cropmark.web.site import Site, Sites


class AsciiJson(JSONResponse):
    """A JSON response in ASCII.

    Other characters are escaped, because a path may contain bytes that are not UTF-8.
    """

    def render(self, content: object) -> bytes:
        return json.dumps(content).encode("ascii")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image that the playground offers: its path below the site's prefix, and the name to display."""

    path: str
    name: str
    query: tuple[tuple[str, str], ...] = ()
    """The parameters without which the site does not find the image, such as `environment`."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """The first images of a site, and the number of all its images.

    `place` describes their location, such as `the folder photos` or `the library`.
    """

    images: tuple[ListedImage, ...]
    total: int
    place: str


class ImageLists(Protocol):
    """Lists the images of sites for the playground."""

    async def of(self, sites: Sequence[Site], limit: int) -> list[ImageList | None]:
        """One list of at most `limit` images per site; None if the source of a site cannot be listed."""
        ...


class Purges(Protocol):
    """Purges the caches of this server, and of all servers that share purges with it."""

    async def purge(self, purge: Purge) -> PurgeResult: ...


Readiness = Callable[[], Mapping[str, Any]]
"""Returns the body of /readyz; the response has status 200 if its member `ready` is true, else 503."""


@dataclass(frozen=True, slots=True)
class AdminContext:
    """The dependencies of the pages."""

    sites: Sites
    pipeline: Pipeline
    renderers: Renderers
    metrics: Metrics
    readiness: Readiness
    images: ImageLists | None = None
    """Lists the images of sites for the playground. None: the playground has no lists."""
    endpoint_sites: Sites = field(default_factory=lambda: Sites([]))
    """The mounts of dialects with endpoints. The playground renders their requests with the image in the body."""
    admin_token: str | None = None
    exposition: Callable[[], Awaitable[bytes]] | None = None
    """Returns the metrics of all fronts in Prometheus' text format. None: those of this front."""
    metrics_token: str | None = None
    """The token that gives access to /metrics only."""
    is_library_admin: Callable[[str], Awaitable[bool]] | None = None
    """Returns True if a token is an admin token of the library. None: the server has no library."""
    purges: Purges | None = None
    """Carries out the purges that clients request. None: a purge covers the caches of this server only."""
    development: bool = True
    dialects: Sequence[Dialect] = ()
    """The dialects to which an explanation translates a URL."""
    uploads: UploadStore | None = None
    """Holds each image that the playground sends until the request that sent it ends."""
    sessions: Sessions = field(default_factory=lambda: Sessions(None))
    client_ip: ClientIp = field(default_factory=ClientIp)

    @staticmethod
    def json(fields: object) -> Response:
        """A JSON response with `fields` as its body."""
        return AsciiJson(fields, headers=PAGE_HEADERS)
