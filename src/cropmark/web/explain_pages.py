"""Serves /_explain, an explanation of an image URL, and /_explain.png, a drawing of the faces and saliency found."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import Response

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.dialect import Response as DialectResponse
from cropmark.explanation import Explanation, draw_analysis, explain_request, frame_order, with_sources
from cropmark.model.problems import BadRequest, NotFound, Problem
from cropmark.pipeline import Delivered, RequestContext, url_tag
from cropmark.security.signing import target
from cropmark.translation import Translation, translations
from cropmark.web.pages import explain
from cropmark.web.pages.layout import PAGE_HEADERS, HtmlPage
from cropmark.web.request import RequestHeaders, canonical_accept, image_request
from cropmark.web.routing import host_name
from cropmark.web.sign_in import accepts_html, rejection
from cropmark.web.site import Site

if TYPE_CHECKING:
    from cropmark.web.admin_context import AdminContext

_AS_JSON = b"format=json&"
_STEP: Final = re.compile(rb"step=([0-9]{1,3})&")
_KEPT: Final = "".join(chr(code) for code in range(0x21, 0x7F) if code != ord("\\"))
"""The characters of a URL that are not percent-encoded. Browsers read a backslash as a slash."""


@dataclass(frozen=True, slots=True)
class ExplainedRequest:
    """The URL to explain, its site, and the request that the site's dialect reads."""

    url: str
    """The URL in ASCII."""
    link: str
    """Path and query of the URL on this server."""
    site: Site
    request: ImageRequest
    target: bytes
    """Path and query of the URL, without its signature."""


async def explanation_page(context: AdminContext, request: Request) -> Response:
    """Respond to /_explain?url=/fastly/a.jpg?width=100 with a page for browsers, and with JSON for other clients.

    A query that begins with `format=json&` always gets JSON.
    """
    refused = await rejection(context, request)
    if refused is not None:
        return refused
    query = request.scope["query_string"]
    asked = explained_url(context, request, query.removeprefix(_AS_JSON))
    told = await with_sources(_told(asked), asked.site.source, context.renderers, context.pipeline)
    if accepts_html(request) and not query.startswith(_AS_JSON):
        delivered = await _delivered(context, asked, told)
        others = await _translated(context, asked, told)
        return HtmlPage(
            explain.page(explain.ExplainedUrl(asked.url, asked.link, asked.request, told, delivered, others))
        )
    return context.json(await explanation_json(context, asked, told))


async def explanation_json(context: AdminContext, asked: ExplainedRequest, told: Explanation) -> dict[str, Any]:
    """The explanation as a JSON object, with the translations of the request to other dialects."""
    fields = told.to_json()
    if told.order is not None:
        fields["translations"] = [one.to_json() for one in await _translated(context, asked, told)]
    return fields


async def analysis_drawing(context: AdminContext, request: Request) -> Response:
    """Respond to /_explain.png?url=/fastly/a.jpg?crop=1:1,smart with a PNG of the source, its faces and its saliency.

    A query that begins with `step=2&` gets a small WebP of the frame after the second step instead.
    """
    refused = await rejection(context, request)
    if refused is not None:
        return refused
    query = request.scope["query_string"]
    step = _STEP.match(query)
    asked = explained_url(context, request, query[step.end() if step else 0 :])
    if step:
        return await _frame_picture(context, asked, int(step[1]))
    png = await draw_analysis(_told(asked), asked.site.source, context.renderers, context.pipeline)
    return Response(png, media_type="image/png", headers=PAGE_HEADERS)


def _told(asked: ExplainedRequest) -> Explanation:
    return explain_request(asked.site.dialect, asked.request, asked.site.adapted)


async def _frame_picture(context: AdminContext, asked: ExplainedRequest, count: int) -> Response:
    order = asked.site.dialect.order(asked.request)
    if isinstance(order, DialectResponse):
        raise BadRequest(
            f"this URL returns a response with status {order.status}, not an image", fix="use another query"
        )
    drawn = frame_order(asked.site.adapted(order), count)
    delivered = await context.pipeline.deliver(asked.site.source, drawn)
    return Response(delivered.body, media_type=delivered.record.media_type, headers=PAGE_HEADERS)


async def _translated(context: AdminContext, asked: ExplainedRequest, told: Explanation) -> tuple[Translation, ...]:
    if told.order is None:
        return ()
    dialect = asked.site.dialect
    others = [other for other in context.dialects if other.name != dialect.name]
    return await asyncio.to_thread(translations, asked.request, dialect, others)


async def _delivered(context: AdminContext, asked: ExplainedRequest, told: Explanation) -> Delivered | None:
    """The result of the explained request, without its body; None if the request fails."""
    if told.order is None or told.problem is not None:
        return None
    context_of_request = RequestContext(tags=(url_tag(asked.target.decode("latin-1")),), streams=True)
    try:
        delivered = await context.pipeline.deliver(asked.site.source, told.order, context_of_request)
    except Problem:
        return None
    delivered.close()
    return replace(delivered, source=None, stored=None, body=None)


def explained_url(
    context: AdminContext, request: Request, query: bytes, *, endpoints: bool = False
) -> ExplainedRequest:
    """The URL after `url=` in `query`, the site that serves the URL, and the request for the site's dialect.

    The URL may be percent-encoded as a whole. With `endpoints`, the URL of an endpoint is accepted too. Raises
    BadRequest, NotFound, and the errors of AccessPolicy.authorize().
    """
    name, _, given = query.partition(b"=")
    whole = b"?" not in given and b"%3f" in given.lower()
    if whole or given[:3].lower() == b"%2f" or given[:7].lower() in (b"http%3a", b"https%3"):
        given = unquote_to_bytes(given)
    url = quote(given, safe=_KEPT)
    if name != b"url" or not url:
        raise BadRequest("url: expected the URL of an image", fix="write /_explain?url=/fastly/photo.jpg?width=100")
    parts = split_url(url)
    if parts.scheme not in ("", "http", "https"):
        raise BadRequest(
            f"url: expected a path, or a URL of http or https, got {url[:80]!r}",
            fix="write the path and query, such as /fastly/photo.jpg?width=100",
        )
    host = host_name(parts.netloc or request.headers.get("host", ""))
    found = context.endpoint_sites.find(host, parts.path) if endpoints else None
    found = found or context.sites.find(host, parts.path)
    if found is None:
        raise NotFound(f"no site serves {parts.path[:80]!r}", fix="write the URL of an image of this server")
    site, rest = found
    # A URL that needs a signature needs it here too: an explanation describes the image, a drawing shows it.
    path, raw = parts.path.encode("ascii"), parts.query.encode("ascii")
    verified = site.access.authorize(path, raw, time.time()).query
    asked = site_request(site, rest, verified, request)
    return ExplainedRequest(url, _link(parts), site, asked, target(path, verified))


def _link(parts: SplitResult) -> str:
    """The URL's path and query, as a link on this server.

    `/.` is put before a path that begins with two slashes, because a browser would read a host name there.
    """
    return urlunsplit(("", "", "/." * parts.path.startswith("//") + parts.path, parts.query, ""))


def split_url(url: str) -> SplitResult:
    """The parts of a URL. Raises BadRequest for an invalid URL."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadRequest(
            f"url: expected a URL, got {url[:80]!r}", fix="write the URL that a browser would request"
        ) from error


def site_request(site: Site, rest: str, query: bytes, request: Request) -> ImageRequest:
    """A GET request for the site's dialect, with the path and query given, and the headers of `request`."""
    others = tuple((k, v) for k, v in request.headers.items() if k in site.dialect.request_headers)
    accept = canonical_accept(request.headers.get("accept", "")[:4096])
    described = image_request(site, rest, query, RequestHeaders("", accept, "", "", others), request.scope)
    return replace(described, method="GET")  # also if this request is a POST with the image in its body
