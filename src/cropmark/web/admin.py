"""All that is no picture: the start page, health, metrics, explanations, purges. Starlette serves it."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.explanation import drawn, explained_with
from cropmark.model.problems import BadRequest, NotFound, Problem, Unauthorized
from cropmark.pipeline import Pipeline, tag_of, url_tag
from cropmark.plan.source import SitePath
from cropmark.ports import Renderers
from cropmark.runtime.metrics import Metrics
from cropmark.security.signing import target, unsigned
from cropmark.translation import translations
from cropmark.web.pages import index
from cropmark.web.request import RequestHeaders, ask_of, host_name
from cropmark.web.site import Site, Sites

log = structlog.get_logger()

SHOWN = 60
"""Pictures on the start page."""
MAX_BODY = 64 * 1024

PAGE_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SAFE = {
    "server": "cropmark",
    "content-security-policy": "default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class ImageFolder(Protocol):
    """What the start page asks of a folder."""

    def pictures(self, limit: int) -> list[str]: ...


Readiness = Callable[[], Mapping[str, Any]]
"""What /readyz tells; `ready` decides its status."""


@dataclass(frozen=True, slots=True)
class AdminContext:
    """All that the pages need."""

    sites: Sites
    pipeline: Pipeline
    renderers: Renderers
    metrics: Metrics
    readiness: Readiness
    pictures: ImageFolder | None = None
    folder: str = ""
    admin_token: str | None = None
    admits: Callable[[str], Awaitable[bool]] | None = None
    """Whether a token is one of the library's for administrators; None: there is no library."""
    development: bool = True
    dialects: Sequence[Dialect] = ()
    """Those that an explanation translates to."""
    more: Sequence[Route] = field(default=())
    """Routes of other rooms of the web, such as PixLab's."""


def pages(desk: AdminContext) -> Starlette:
    """The Starlette app of all pages."""
    routes = [
        Route("/", _bound(_start_page, desk)),
        Route("/healthz", _healthz),
        Route("/readyz", _bound(_readyz, desk)),
        Route("/metrics", _bound(_metrics, desk)),
        Route("/_explain", _bound(_explain, desk)),
        Route("/_explain.png", _bound(_drawing, desk)),
        Route("/admin/purge", _bound(_purge, desk), methods=["POST"]),
        *desk.more,
    ]
    app = Starlette(routes=routes, exception_handlers={404: _missing, 405: _method, Problem: _problem, 500: _broken})
    # It would send whoever asks to an address made of their own Host header.
    app.router.redirect_slashes = False
    return app


def _bound(handler: Callable[[AdminContext, Request], Any], desk: AdminContext) -> Callable[[Request], Any]:
    async def bound(request: Request) -> Response:
        response: Response = await handler(desk, request)
        return response

    return bound


# ---------------------------------------------------------------------------------------------- pages


async def _start_page(desk: AdminContext, request: Request) -> Response:
    if desk.pictures is None or not desk.development:
        raise NotFound("there is no page here", fix="ask for a picture, or read the documentation")
    names = await asyncio.to_thread(desk.pictures.pictures, 10_000)
    known = list(index.VARIANTS)
    sites = [s for s in desk.sites if not s.hosts and s.paths is None and s.dialect.name in known]
    sites = [s for s in sites if s.access.keys is None]  # the page signs nothing: whoever sees it could then
    sites.sort(key=lambda site: known.index(site.dialect.name))
    page = index.page(sites, names[:SHOWN], len(names), desk.folder)
    return HTMLResponse(page, headers={**SAFE, "content-security-policy": PAGE_POLICY})


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=SAFE)


async def _readyz(desk: AdminContext, request: Request) -> Response:
    told = dict(desk.readiness())
    if not (desk.development or await _has_token(desk, request)):
        told = {"ready": told.get("ready")}
    return JSONResponse(told, status_code=200 if told.get("ready") else 503, headers=SAFE)


async def _metrics(desk: AdminContext, request: Request) -> Response:
    if not desk.development:
        await _authorized(desk, request)
    return Response(desk.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8", headers=SAFE)


async def _explain(desk: AdminContext, request: Request) -> Response:
    """The Order, Recipe and key of one of our own picture URLs, and the same in other dialects' words.

    /_explain?url=/fastly/a.jpg?width=100
    """
    site, ask = _explained_url(desk, request)
    told = (await explained_with(site.dialect, ask, site.source, desk.renderers, desk.pipeline)).plain()
    if "order" in told:
        others = [other for other in desk.dialects if other.name != site.dialect.name]
        found = await asyncio.to_thread(translations, ask, site.dialect, others)
        told["in_other_words"] = [one.plain() for one in found]
    return JSONResponse(told, headers=SAFE)


async def _drawing(desk: AdminContext, request: Request) -> Response:
    """The source with what content-aware cropping sees in it: /_explain.png?url=/fastly/a.jpg?crop=1:1,smart."""
    site, ask = _explained_url(desk, request)
    png = await drawn(site.dialect, ask, site.source, desk.renderers, desk.pipeline)
    return Response(png, media_type="image/png", headers=SAFE)


def _explained_url(desk: AdminContext, request: Request) -> tuple[Site, ImageRequest]:
    """What `url=` asks for: everything behind it as it stands, or percent-encoded, its slashes too or not."""
    if not desk.development:
        raise NotFound("explanations are for development", fix="use cropmark explain")
    name, _, url = request.scope["query_string"].decode("utf-8", "surrogateescape").partition("=")
    whole = "?" not in url and "%3f" in url.lower()
    if whole or url[:3].lower() == "%2f" or url[:7].lower() in ("http%3a", "https%3"):
        url = unquote(url, errors="surrogateescape")
    if name != "url" or not url:
        raise BadRequest("url: expected a picture's URL", fix="write /_explain?url=/fastly/photo.jpg?width=100")
    parts = _split(url)
    found = desk.sites.find(host_name(parts.netloc or request.headers.get("host", "")), parts.path)
    if found is None:
        raise NotFound(f"no site serves {parts.path[:80]!r}", fix="write the URL of a picture of this server")
    site, rest = found
    # What asks for a signature asks for it here too: an explanation tells of the picture, a drawing shows it.
    path, query = (text.encode("utf-8", "surrogateescape") for text in (parts.path, parts.query))
    return site, _ask(site, rest, site.access.authorize(path, query, time.time()).query, request)


def _split(url: str) -> SplitResult:
    """Raises BadOrder where it is no URL."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadRequest(f"url: expected a URL, got {url[:80]!r}", fix="write it as it is asked for") from error


def _ask(site: Site, rest: str, query: bytes, request: Request) -> ImageRequest:
    others = tuple((k, v) for k, v in request.headers.items() if k in site.dialect.headers)
    heard = RequestHeaders("", request.headers.get("accept", ""), "", "", others)
    return ask_of(site, rest, query, heard, "GET")


# ---------------------------------------------------------------------------------------------- purging


async def _purge(desk: AdminContext, request: Request) -> Response:
    """Forget renditions: {"url": …}, {"source": …} or {"prefix": …}; answers how many there were."""
    await _authorized(desk, request)
    asked = await _json_body(request)
    purged = 0
    match asked:
        case {"url": str(url)}:
            purged = await _purge_url(desk, url)
        case {"source": str(path)}:
            purged = await _purge_sources(desk, path, below=False)
        case {"prefix": str(path)}:
            purged = await _purge_sources(desk, path, below=True)
        case {"tag": str(tag)}:
            purged = await desk.pipeline.purge_tag(tag_of("tag", tag))
        case _:
            raise BadRequest(
                "expected a JSON object with url, source, prefix or tag",
                fix='send {"source": "photo.jpg"}, {"prefix": "summer/"} or {"url": "/fastly/photo.jpg?width=100"}',
            )
    return JSONResponse({"purged": purged}, headers=SAFE)


async def _purge_url(desk: AdminContext, url: str) -> int:
    """The URL as it was asked for, signed or not: a signed one is kept under the URL that was signed."""
    parts = _split(url)
    path, query = parts.path.encode("utf-8", "replace"), parts.query.encode("utf-8", "replace")
    urls = {target(path, query), target(path, unsigned(query))}
    return sum([await desk.pipeline.purge_tag(url_tag(one.decode("latin-1"))) for one in urls])


async def _purge_sources(desk: AdminContext, path: str, *, below: bool) -> int:
    """Sources of every site by their path; one that several sites share is purged once."""
    total = 0
    for source in {id(site.source): site.source for site in desk.sites}.values():
        total += await desk.pipeline.purge_source(source, SitePath(path.lstrip("/")), below=below)
    return total


async def _authorized(desk: AdminContext, request: Request) -> None:
    """Raises NotFound without a token set, Unauthorized for a wrong one."""
    if desk.admin_token is None and desk.admits is None:
        raise NotFound("there is no such page", fix="set CROPMARK_ADMIN_TOKEN to open /admin")
    if not await _has_token(desk, request):
        raise Unauthorized("expected the admin token", fix="send Authorization: Bearer TOKEN")


async def _has_token(desk: AdminContext, request: Request) -> bool:
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if desk.admin_token is not None and hmac.compare_digest(given.encode(), desk.admin_token.encode()):
        return True
    return desk.admits is not None and await desk.admits(given)


async def _json_body(request: Request) -> object:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise BadRequest(f"expected at most {MAX_BODY} bytes", fix="send one purge at a time")
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadRequest("expected a JSON object", fix='send {"source": "photo.jpg"}') from error


# ---------------------------------------------------------------------------------------------- trouble


def _told(status: int, detail: str, fix: str = "") -> Response:
    body = {"type": "about:blank", "status": status, "detail": detail, **({"fix": fix} if fix else {})}
    return JSONResponse(body, status, headers=SAFE, media_type="application/problem+json")


async def _missing(request: Request, error: Exception) -> Response:
    return _told(404, "there is nothing at this address", "pictures are under the sites' prefixes, such as /fastly/")


async def _method(request: Request, error: Exception) -> Response:
    return _told(405, f"{request.method} is not answered here")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _told(error.status, error.detail, error.fix)


async def _broken(request: Request, error: Exception) -> Response:
    log.error("a page failed", path=request.scope["path"], exc_info=error)
    return _told(500, "our fault: the log knows more")
