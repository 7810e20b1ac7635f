"""The pages: start page, health, metrics, explanations and purges, as a Starlette app."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.dialects.registry import DIALECTS
from cropmark.explanation import draw_analysis, explain_with_source
from cropmark.model.problems import BadRequest, NotFound, Problem, Unauthorized
from cropmark.model.text import parse_json
from cropmark.pipeline import Pipeline, url_tag
from cropmark.plan.source import SitePath
from cropmark.ports import Renderers
from cropmark.runtime.metrics import Metrics
from cropmark.security.signing import target, unsigned
from cropmark.translation import translations
from cropmark.web.pages import index
from cropmark.web.request import RequestHeaders, image_request
from cropmark.web.response import PAGE_SECURITY
from cropmark.web.routing import host_name
from cropmark.web.site import Site, Sites

log = structlog.get_logger()

START_PAGE_IMAGES = 60
"""Images on the start page."""
MAX_PURGE_BYTES = 64 * 1024

START_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
PAGE_HEADERS = {
    "server": "cropmark",
    "cache-control": "no-store",
    **dict(PAGE_SECURITY),
}


class AsciiJson(JSONResponse):
    """JSON with all other characters escaped: a path may have bytes that are not UTF-8."""

    def render(self, content: object) -> bytes:
        return json.dumps(content).encode("ascii")


class ImageFolder(Protocol):
    """The images that the start page shows."""

    def images(self, limit: int) -> list[str]: ...


Readiness = Callable[[], Mapping[str, Any]]
"""Returns the body of /readyz; its member `ready` selects the status."""


@dataclass(frozen=True, slots=True)
class AdminContext:
    """The dependencies of the pages."""

    sites: Sites
    pipeline: Pipeline
    renderers: Renderers
    metrics: Metrics
    readiness: Readiness
    image_folder: ImageFolder | None = None
    folder_name: str = ""
    admin_token: str | None = None
    is_library_admin: Callable[[str], Awaitable[bool]] | None = None
    """Returns True if a token is an admin token of the library. None: the server has no library."""
    development: bool = True
    dialects: Sequence[Dialect] = ()
    """The dialects that an explanation translates to."""


def pages(context: AdminContext) -> Starlette:
    """The Starlette app of all pages."""
    routes = [
        Route("/", _with_context(_start_page, context)),
        Route("/healthz", _healthz),
        Route("/readyz", _with_context(_readyz, context)),
        Route("/metrics", _with_context(_metrics, context)),
        Route("/_explain", _with_context(_explain, context)),
        Route("/_explain.png", _with_context(_explain_png, context)),
        Route("/admin/purge", _with_context(_purge, context), methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={404: _not_found, 405: _method_not_allowed, Problem: _problem, 500: _internal_error},
    )
    # It would redirect the client to a URL with the host of the client's own Host header.
    app.router.redirect_slashes = False
    return app


def _is_open(site: Site) -> bool:
    return not site.hosts and site.mount.paths is None and site.access.keys is None


def _with_context(handler: Callable[[AdminContext, Request], Any], context: AdminContext) -> Callable[[Request], Any]:
    async def bound(request: Request) -> Response:
        response: Response = await handler(context, request)
        return response

    return bound


# ---------------------------------------------------------------------------------------------- pages


async def _start_page(context: AdminContext, request: Request) -> Response:
    if context.image_folder is None or not context.development:
        raise NotFound("page not found", fix="request an image, or read the documentation")
    names = await asyncio.to_thread(context.image_folder.images, 10_000)
    page = index.page(
        list(_sites_with_samples(context.sites)), names[:START_PAGE_IMAGES], len(names), context.folder_name
    )
    return HTMLResponse(page, headers={**PAGE_HEADERS, "content-security-policy": START_PAGE_POLICY})


def _sites_with_samples(sites: Iterable[Site]) -> Iterator[Site]:
    """The sites that the start page links to: on every host, with every path, and without signatures."""
    by_dialect = {site.dialect.name: site for site in sites if _is_open(site)}
    return (by_dialect[entry.name] for entry in DIALECTS if entry.samples and entry.name in by_dialect)


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=PAGE_HEADERS)


async def _readyz(context: AdminContext, request: Request) -> Response:
    fields = dict(context.readiness())
    if not (context.development or await _has_token(context, request)):
        fields = {"ready": fields.get("ready")}
    return AsciiJson(fields, status_code=200 if fields.get("ready") else 503, headers=PAGE_HEADERS)


async def _metrics(context: AdminContext, request: Request) -> Response:
    if not context.development:
        await _authorized(context, request)
    return Response(
        context.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8", headers=PAGE_HEADERS
    )


async def _explain(context: AdminContext, request: Request) -> Response:
    """The Order, Recipe and cache key of one of our image URLs, and its translations into other dialects.

    /_explain?url=/fastly/a.jpg?width=100
    """
    site, ask = _explained_url(context, request)
    fields = (await explain_with_source(site.dialect, ask, site.source, context.renderers, context.pipeline)).to_json()
    if "order" in fields:
        others = [other for other in context.dialects if other.name != site.dialect.name]
        found = await asyncio.to_thread(translations, ask, site.dialect, others)
        fields["translations"] = [one.to_json() for one in found]
    return AsciiJson(fields, headers=PAGE_HEADERS)


async def _explain_png(context: AdminContext, request: Request) -> Response:
    """The source with its faces and its saliency drawn on it: /_explain.png?url=/fastly/a.jpg?crop=1:1,smart."""
    site, ask = _explained_url(context, request)
    png = await draw_analysis(site.dialect, ask, site.source, context.renderers, context.pipeline)
    return Response(png, media_type="image/png", headers=PAGE_HEADERS)


def _explained_url(context: AdminContext, request: Request) -> tuple[Site, ImageRequest]:
    """The site and the request of the URL in `url=`, which may be percent-encoded, with or without its slashes."""
    if not context.development:
        raise NotFound("explanations are for development", fix="use cropmark explain")
    name, _, url = request.scope["query_string"].decode("utf-8", "surrogateescape").partition("=")
    whole = "?" not in url and "%3f" in url.lower()
    if whole or url[:3].lower() == "%2f" or url[:7].lower() in ("http%3a", "https%3"):
        url = unquote(url, errors="surrogateescape")
    if name != "url" or not url:
        raise BadRequest("url: expected the URL of an image", fix="write /_explain?url=/fastly/photo.jpg?width=100")
    parts = _split(url)
    found = context.sites.find(host_name(parts.netloc or request.headers.get("host", "")), parts.path)
    if found is None:
        raise NotFound(f"no site serves {parts.path[:80]!r}", fix="write the URL of an image of this server")
    site, rest = found
    # A URL that needs a signature needs it here too: an explanation describes the image, a drawing shows it.
    path, query = (text.encode("utf-8", "surrogateescape") for text in (parts.path, parts.query))
    return site, _image_request(site, rest, site.access.authorize(path, query, time.time()).query, request)


def _split(url: str) -> SplitResult:
    """The parts of a URL. Raises BadRequest."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadRequest(
            f"url: expected a URL, got {url[:80]!r}", fix="write the URL that a browser would request"
        ) from error


def _image_request(site: Site, rest: str, query: bytes, request: Request) -> ImageRequest:
    others = tuple((k, v) for k, v in request.headers.items() if k in site.dialect.request_headers)
    headers = RequestHeaders("", request.headers.get("accept", ""), "", "", others)
    return image_request(site, rest, query, headers, request.scope)


# ---------------------------------------------------------------------------------------------- purging


async def _purge(context: AdminContext, request: Request) -> Response:
    """Remove renditions from the caches by url, source or prefix; returns their number."""
    await _authorized(context, request)
    body = await _json_body(request)
    purged = 0
    match body:
        case {"url": str(url)}:
            purged = await _purge_url(context, url)
        case {"source": str(path)}:
            purged = await _purge_sources(context, path, below=False)
        case {"prefix": str(path)}:
            purged = await _purge_sources(context, path, below=True)
        case _:
            raise BadRequest(
                "expected a JSON object with url, source or prefix",
                fix='send {"source": "photo.jpg"}, {"prefix": "summer/"} or {"url": "/fastly/photo.jpg?width=100"}',
            )
    return AsciiJson({"purged": purged}, headers=PAGE_HEADERS)


async def _purge_url(context: AdminContext, url: str) -> int:
    """Purge a URL with or without its signature: renditions are tagged with the unsigned URL."""
    parts = _split(url)
    path, query = parts.path.encode("utf-8", "replace"), parts.query.encode("utf-8", "replace")
    urls = {target(path, query), target(path, unsigned(query))}
    return sum([await context.pipeline.purge_tag(url_tag(one.decode("latin-1"))) for one in urls])


async def _purge_sources(context: AdminContext, path: str, *, below: bool) -> int:
    """Purge a path, or all paths below it, in the source of every site; a shared source once."""
    total = 0
    for source in {id(site.source): site.source for site in context.sites}.values():
        total += await context.pipeline.purge_source(source, SitePath(path.lstrip("/")), below=below)
    return total


async def _authorized(context: AdminContext, request: Request) -> None:
    """Raises NotFound if no token is configured, Unauthorized for a wrong token."""
    if context.admin_token is None and context.is_library_admin is None:
        raise NotFound("page not found", fix="set CROPMARK_ADMIN_TOKEN to enable /admin")
    if not await _has_token(context, request):
        raise Unauthorized("expected the admin token", fix="send Authorization: Bearer TOKEN")


async def _has_token(context: AdminContext, request: Request) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    if context.admin_token is not None and hmac.compare_digest(given.encode(), context.admin_token.encode()):
        return True
    return context.is_library_admin is not None and await context.is_library_admin(given)


async def _json_body(request: Request) -> object:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_PURGE_BYTES:
            raise BadRequest(f"expected at most {MAX_PURGE_BYTES} bytes", fix="send one purge at a time")
    try:
        return parse_json(body)
    except ValueError as error:
        raise BadRequest("expected a JSON object", fix='send {"source": "photo.jpg"}') from error


# ---------------------------------------------------------------------------------------------- errors


def _problem_json(status: int, detail: str, fix: str = "") -> Response:
    body = {"type": "about:blank", "status": status, "detail": detail, **({"fix": fix} if fix else {})}
    return AsciiJson(body, status, headers=PAGE_HEADERS, media_type="application/problem+json")


async def _not_found(request: Request, error: Exception) -> Response:
    return _problem_json(404, "page not found", "request an image below a site's prefix, such as /fastly/")


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    return _problem_json(405, f"{request.method} is not supported here")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _problem_json(error.status, error.detail, error.fix)


async def _internal_error(request: Request, error: Exception) -> Response:
    log.error("a page failed", path=request.scope["path"], exc_info=error)
    return _problem_json(500, "internal server error; see the server log")
