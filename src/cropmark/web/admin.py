"""The server's own URLs as a Starlette app: playground, health, metrics, explanations, sign-in and purges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cropmark.model.problems import BadRequest, NotFound, Problem, Unauthorized
from cropmark.model.text import parse_json
from cropmark.security.signing import target
from cropmark.web import sign_in
from cropmark.web.admin_context import AdminContext, AsciiJson
from cropmark.web.body_reader import page_body
from cropmark.web.deps import Pages
from cropmark.web.explain_pages import analysis_drawing, explanation_page
from cropmark.web.pages import problem
from cropmark.web.pages.layout import MEDIA_TYPES, PAGE_HEADERS, HtmlPage, static_file
from cropmark.web.playground import playground_data, playground_page, start_page
from cropmark.web.playground_uploads import (
    uploaded_analysis,
    uploaded_explanation,
    uploaded_info,
    uploaded_rendition,
)
from cropmark.web.purges import SitePurger, read_purge
from cropmark.web.request import (
    CLIENT_CLOSED_REQUEST,
    ClientDisconnected,
    Receive,
    Scope,
    Send,
    check_host,
    parse_headers,
)
from cropmark.web.respond import is_navigation
from cropmark.web.response import problem_response, send_response
from cropmark.web.sending import BodySender
from cropmark.web.sign_in import has_admins, has_metrics_token, has_token

log = structlog.get_logger()

MAX_PURGE_BYTES = 64 * 1024


def pages(context: AdminContext) -> Pages:
    """The app with all pages, for a server that has only one port."""
    return _starlette(context, [*_public_routes(), *_playground_routes(context), *_operator_routes(context)])


def public_pages(context: AdminContext) -> Pages:
    """The app for the public port of a server with a separate admin port: /healthz and static files only.

    The playground is absent, because it needs the images of the public port and the explanations of the admin port.
    """
    return _starlette(context, _public_routes())


def operator_pages(context: AdminContext, sender: BodySender) -> Pages:
    """The app for the admin port: all pages except the playground.

    As on the public port, the Host header is checked and large response bodies are limited.
    """
    pages = _starlette(context, [*_public_routes(), *_operator_routes(context)])

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_host(parse_headers(scope, frozenset()).host)
        except Problem as problem:
            body, headers = problem_response(problem)
            await send_response(send, problem.status, headers, body)
            return
        await pages(scope, receive, sender.bounded(scope, send))

    return respond


def _public_routes() -> list[Route]:
    return [Route("/healthz", _healthz), Route("/_static/{name}", _static_file)]


def _playground_routes(context: AdminContext) -> list[Route]:
    return [
        Route("/", _with_context(start_page, context)),
        Route("/_playground", _with_context(playground_page, context)),
        Route("/_playground/data", _with_context(playground_data, context)),
        Route("/_playground/render", _with_context(uploaded_rendition, context), methods=["POST"]),
        Route("/_playground/explain", _with_context(uploaded_explanation, context), methods=["POST"]),
        Route("/_playground/analysis", _with_context(uploaded_analysis, context), methods=["POST"]),
        Route("/_playground/info", _with_context(uploaded_info, context), methods=["POST"]),
    ]


def _operator_routes(context: AdminContext) -> list[Route]:
    return [
        Route("/readyz", _with_context(_readyz, context)),
        Route("/metrics", _with_context(_metrics, context)),
        Route("/_explain", _with_context(explanation_page, context)),
        Route("/_explain.png", _with_context(analysis_drawing, context)),
        Route("/_sign-in", _with_context(sign_in.page, context), methods=["GET", "POST"]),
        Route("/admin/purge", _with_context(_purge, context), methods=["POST"]),
    ]


def _starlette(context: AdminContext, routes: list[Route]) -> Pages:
    app = Starlette(
        routes=routes,
        exception_handlers={
            404: _not_found,
            405: _method_not_allowed,
            Problem: _problem,
            ClientDisconnected: _disconnected,
            500: _internal_error,
        },
    )
    app.state.development = context.development
    app.state.first_page = "/_playground" if any(route.path == "/_playground" for route in routes) else "/_explain"
    # It would redirect the client to a URL with the host of the client's own Host header.
    app.router.redirect_slashes = False

    async def by_raw_path(scope: Scope, receive: Receive, send: Send) -> None:
        # Proxies block operator paths as the client writes them, so `/%6Detrics` must not be one.
        await app({**scope, "path": scope["raw_path"].decode("latin-1")}, receive, send)

    return by_raw_path


def _with_context(handler: Callable[[AdminContext, Request], Any], context: AdminContext) -> Callable[[Request], Any]:
    async def bound(request: Request) -> Response:
        response: Response = await handler(context, request)
        return response

    return bound


# ---------------------------------------------------------------------------------------------- pages


async def _static_file(request: Request) -> Response:
    name = request.path_params["name"]
    content = static_file(name)
    if content is None:
        raise NotFound("page not found", fix="reload the page")
    return Response(content, media_type=MEDIA_TYPES[name.rsplit(".")[-1]], headers=PAGE_HEADERS)


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=PAGE_HEADERS)


async def _readyz(context: AdminContext, request: Request) -> Response:
    fields = dict(context.readiness())
    if not (context.development or await has_token(context, request)):
        fields = {"ready": fields.get("ready")}
    return AsciiJson(fields, status_code=200 if fields.get("ready") else 503, headers=PAGE_HEADERS)


async def _metrics(context: AdminContext, request: Request) -> Response:
    if not (context.development or has_metrics_token(context, request)):
        await _check_admin_token(context, request)
    text = context.metrics.exposition() if context.exposition is None else await context.exposition()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers=PAGE_HEADERS)


# ---------------------------------------------------------------------------------------------- purging


async def _purge(context: AdminContext, request: Request) -> Response:
    """Purge cache entries by url, source, prefix or tag, or all of them. The response has their number."""
    await _check_admin_token(context, request)
    purge = read_purge(await _json_body(request))
    purges = context.purges or SitePurger(context.sites, context.pipeline)
    result = await purges.purge(purge)
    waiting = {} if result.sent else {"other_servers": "waiting"}
    return AsciiJson({"purged": result.purged, **waiting}, headers=PAGE_HEADERS)


async def _check_admin_token(context: AdminContext, request: Request) -> None:
    """Check the request's admin token.

    Raises Unauthorized for a wrong token, and NotFound if the server has no admin token.
    """
    if not has_admins(context):
        raise NotFound("page not found", fix="set CROPMARK_ADMIN_TOKEN to enable /admin")
    if not await has_token(context, request):
        raise Unauthorized("expected the admin token", fix="send Authorization: Bearer TOKEN")


async def _json_body(request: Request) -> object:
    too_large = BadRequest(f"expected at most {MAX_PURGE_BYTES} bytes", fix="send one purge at a time")
    pieces = [piece async for piece in page_body(request.receive, MAX_PURGE_BYTES, too_large)]
    try:
        return parse_json(b"".join(pieces))
    except ValueError as error:
        raise BadRequest("expected a JSON object", fix='send {"source": "photo.jpg"}') from error


# ---------------------------------------------------------------------------------------------- errors


def _problem_json(status: int, detail: str, fix: str = "") -> Response:
    body = {"type": "about:blank", "status": status, "detail": detail, **({"fix": fix} if fix else {})}
    return AsciiJson(body, status, headers=PAGE_HEADERS, media_type="application/problem+json")


async def _not_found(request: Request, error: Exception) -> Response:
    missing = NotFound("page not found", fix="request an image below a site's prefix, such as /fastly/")
    return await _problem(request, missing)


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    return _problem_json(405, f"{request.method} is not supported here")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    scope = request.scope
    is_page = request.app.state.development or scope["path"].startswith("/_")
    if is_page and is_navigation(scope):
        url = target(scope.get("raw_path", b""), scope["query_string"]).decode("latin-1")
        return HtmlPage(problem.page(error, error.status, dialect=None, url=url), error.status)
    return _problem_json(error.status, error.detail, error.fix)


async def _disconnected(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _internal_error(request: Request, error: Exception) -> Response:
    log.error("a page failed", path=request.scope["path"], exc_info=error)
    return _problem_json(500, "internal server error; see the server log")
