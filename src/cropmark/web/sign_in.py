"""Decides which clients have access to the pages: in development all, in production those with a token or a session."""

from __future__ import annotations

import hmac
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cropmark.model.problems import BadRequest, Forbidden, NotFound, Unauthorized
from cropmark.web.body_reader import page_body
from cropmark.web.pages import sign_in
from cropmark.web.pages.layout import PAGE_HEADERS, HtmlPage
from cropmark.web.sessions import PATHS

if TYPE_CHECKING:
    from cropmark.web.admin_context import AdminContext

_MAX_FORM_BYTES: Final = 4096


def accepts_html(request: Request) -> bool:
    """True if the client's Accept header contains text/html. Browsers send that; scripts and curl do not."""
    return "text/html" in request.headers.get("accept", "")


async def has_token(context: AdminContext, request: Request) -> bool:
    """True if the request has an admin token in its Authorization header."""
    given = _bearer(request)
    return given is not None and await is_token(context, given)


def has_metrics_token(context: AdminContext, request: Request) -> bool:
    """True if the request has the metrics token in its Authorization header."""
    given, token = _bearer(request), context.metrics_token
    return given is not None and token is not None and hmac.compare_digest(given.encode(), token.encode())


def _bearer(request: Request) -> str | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" else None


async def is_token(context: AdminContext, given: str) -> bool:
    """True if `given` is the configured admin token, or an admin token of the library."""
    if context.admin_token is not None and hmac.compare_digest(given.encode(), context.admin_token.encode()):
        return True
    return context.is_library_admin is not None and await context.is_library_admin(given)


def has_admins(context: AdminContext) -> bool:
    """True if the server has a configured admin token, or a library, which can have admin tokens."""
    return context.admin_token is not None or context.is_library_admin is not None


async def rejection(context: AdminContext, request: Request) -> Response | None:
    """None if the client may see the page; a redirect to the sign-in page for a browser without access.

    Raises Unauthorized for any other client without access, NotFound if a production server has no admin token, and
    Forbidden if the page of another website made the request.
    """
    if context.development or await has_token(context, request):
        return None
    if not has_admins(context):
        raise NotFound("page not found", fix="set CROPMARK_ADMIN_TOKEN to enable it, or use cropmark explain")
    if context.sessions.has(request, time.time()):
        check_same_origin(request)
        return None
    if request.method == "GET" and accepts_html(request):
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/_sign-in?next={quote(path)}", HTTPStatus.SEE_OTHER, headers=PAGE_HEADERS)
    raise Unauthorized("expected the admin token", fix="send Authorization: Bearer TOKEN, or open /_sign-in")


async def page(context: AdminContext, request: Request) -> Response:
    """Respond to a GET with the sign-in page, and to a POST of its form with a session.

    If the token in the form is wrong, the response is the page again, with an error.
    """
    if not has_admins(context):
        raise NotFound("page not found", fix="set CROPMARK_ADMIN_TOKEN to enable it")
    if request.method == "GET":
        return HtmlPage(sign_in.page(_destination(request, request.query_params.get("next", ""))))
    check_same_origin(request)
    fields = await _form(request)
    destination = _destination(request, fields.get("next", ""))
    if not await is_token(context, fields.get("token", "")):
        return HtmlPage(sign_in.page(destination, failed=True), HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(destination, HTTPStatus.SEE_OTHER, headers=PAGE_HEADERS)
    context.sessions.begin(response, time.time(), secure=context.client_ip.is_https(request.scope))
    return response


def check_same_origin(request: Request) -> None:
    """Raise Forbidden if the page of another website made the request.

    Browsers send Sec-Fetch-Site over HTTPS and to localhost. Over plain HTTP they send only Origin, with a POST.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is not None:
        is_own = origin.partition("://")[2].lower() == request.headers.get("host", "").lower()
        site = "same-origin" if is_own else "cross-site"
    if site not in (None, "same-origin", "none"):
        raise Forbidden("this page may not be requested by the page of another site", fix="open it in a tab of its own")


def _destination(request: Request, given: str) -> str:
    """The path to show after signing in: `given` if it is one of our pages, else the first page."""
    if given.startswith(tuple(f"{path}{end}" for path in PATHS for end in "?/")):
        return given
    first: str = request.app.state.first_page
    return first


async def _form(request: Request) -> dict[str, str]:
    too_large = BadRequest(f"expected a form of at most {_MAX_FORM_BYTES} bytes", fix="open /_sign-in")
    body = b"".join([piece async for piece in page_body(request.receive, _MAX_FORM_BYTES, too_large)])
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
