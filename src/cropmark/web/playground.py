"""Serves /_playground: the page, and the data from which its script builds the controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from cropmark.model.problems import NotFound
from cropmark.web.pages import playground
from cropmark.web.pages.layout import HtmlPage
from cropmark.web.routing import host_name
from cropmark.web.sign_in import rejection
from cropmark.web.site import Site, Sites

if TYPE_CHECKING:
    from cropmark.web.admin_context import AdminContext

MAX_IMAGES: Final = 60
"""Images of one site that the playground lists."""


async def start_page(context: AdminContext, request: Request) -> Response:
    """Respond to `/` with the playground. Raises NotFound in production."""
    if not context.development:
        raise NotFound("page not found", fix="request an image, or read the documentation")
    return await playground_page(context, request)


async def playground_page(context: AdminContext, request: Request) -> Response:
    refused = await rejection(context, request)
    return HtmlPage(playground.page()) if refused is None else refused


async def playground_data(context: AdminContext, request: Request) -> Response:
    refused = await rejection(context, request)
    if refused is not None:
        return refused
    host = host_name(request.headers.get("host", ""))
    sites = list(_open_sites(context.sites, host))
    lists = [None] * len(sites) if context.images is None else await context.images.of(sites, MAX_IMAGES)
    shown = zip(sites, lists, strict=True)
    return context.json(playground.data(shown, _open_sites(context.endpoint_sites, host)))


def _open_sites(sites: Sites, host: str) -> Iterator[Site]:
    """The sites that serve this host and require neither signatures nor presets."""
    first: dict[tuple[str, object], Site] = {}
    for site in sites:  # in order of precedence: another one at the same URLs is never reached
        if (not site.hosts or host in site.hosts) and host not in site.mount.excluded_hosts:
            first.setdefault((site.prefix, site.mount.paths), site)
    return (site for site in first.values() if site.access.keys is None and not site.access.presets_only)
