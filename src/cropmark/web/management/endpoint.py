"""Serves Contentstack's management API: checks key and rate limit, reads the body, responds with JSON.

The response to an upload is sent when the file is stored. Only the file's header has been read by then, because
clients wait for two seconds.
Source: https://www.contentstack.com/docs/developers/apis/content-management-api/assets
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog

from cropmark.dialects.contentstack.responses import (
    FORBIDDEN,
    NOT_FOUND_CODE,
    RATE_LIMITED,
    UNAUTHORIZED,
    StatusTable,
    VendorStatus,
    vendor_status,
)
from cropmark.management.request import InvalidField, Json, ManagementRequest, UnknownStack, UploadedFile
from cropmark.management.routes import PATHS, Route, RouteAccess, WrongMethod, find_route
from cropmark.model.assets import MAIN_BRANCH, MAX_NAME_CHARS, UID, BranchRef, Environment, KeyKind, LibraryKey
from cropmark.model.problems import (
    BadRequest,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    TooManyRequests,
    Unauthorized,
)
from cropmark.model.text import clean_text
from cropmark.ports import LibraryAccess, Limiter, Quota, Renderers
from cropmark.runtime.metrics import Metrics
from cropmark.web import response
from cropmark.web.client_ip import ClientIp
from cropmark.web.cors import RawHeaders
from cropmark.web.deps import Shutdown
from cropmark.web.log_fields import request_fields, request_ids
from cropmark.web.management import body as upload_body
from cropmark.web.management.body import ParsedBody
from cropmark.web.request import (
    CLIENT_CLOSED_REQUEST,
    ClientDisconnected,
    Receive,
    Scope,
    Send,
    checked_target,
)
from cropmark.web.routing import Mount

log = structlog.get_logger("cropmark.access")

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")

# The error numbers are those of the delivery API; most statuses differ.
_STATUSES: Final[StatusTable] = (
    (UnknownStack, VendorStatus(412, 109)),
    (Unauthorized, UNAUTHORIZED),
    (TooManyRequests, RATE_LIMITED),
    (Forbidden, FORBIDDEN),
    (NotFound, VendorStatus(422, NOT_FOUND_CODE)),
    (MethodNotAllowed, VendorStatus(405, 405)),
    (BadRequest, VendorStatus(422, 422)),
)


@dataclass(frozen=True, slots=True)
class ManagementContext:
    """The dependencies and settings of the API. `base_url` is the server's own URL, without a trailing slash."""

    library: LibraryAccess
    renderers: Renderers
    limiter: Limiter
    metrics: Metrics
    base_url: str
    shutdown: Shutdown
    max_upload_bytes: int
    organization: str = "organization"
    requests_per_s: int = 10
    """Largest number of the organization's read requests per second, and also of its write requests; 0: no limit."""
    strict_environments: bool = False
    access_log: bool = True
    client_ip: ClientIp = field(default_factory=ClientIp)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: Json
    headers: tuple[tuple[str, str], ...] = ()


class ManagementEndpoint:
    """Serves the management API below `/v3/` of its mount."""

    def __init__(
        self,
        context: ManagementContext,
        *,
        mount: Mount,
    ) -> None:
        self._context = context
        self._request_id = request_ids(context.client_ip)
        self._prefix = mount.prefix
        self._mount = replace(mount, prefix=f"{mount.prefix}/v3", paths=PATHS)

    def matches(self, host: str, path: str) -> bool:
        return self._mount.rest(host, path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rid, started_s = self._request_id(scope), time.perf_counter()
        async with AsyncExitStack() as cleanup:
            try:
                reply = await self._reply(scope, receive, cleanup)
            except ClientDisconnected:
                self._log(scope, CLIENT_CLOSED_REQUEST, rid, started_s)
                return
            except Problem as problem:
                self._context.metrics.rejected[problem.code] += 1
                reply = _error_reply(problem)
            except Exception:
                log.exception("a management request failed", id=rid)
                reply = _error_reply(InternalError("internal server error; see the server log"))
            body = json.dumps(reply.body).encode("ascii") if reply.body else b""
            described = (_JSON, ("content-length", str(len(body)))) if body else ()
            headers = response.encode_headers((*reply.headers, *_COMMON, *described))
            headers += [(b"x-request-id", rid.encode()), *self._quota(scope)]
            await response.send_response(send, reply.status, headers, b"" if scope["method"] == "HEAD" else body)
        self._log(scope, reply.status, rid, started_s)

    async def _reply(self, scope: Scope, receive: Receive, cleanup: AsyncExitStack) -> _Reply:
        """Check and run the request, and return the reply. Raises Problems and ClientDisconnected."""
        context = self._context
        if context.shutdown.stopping:
            raise Overloaded("the server is stopping", fix="try again", retry_after_s=1)
        path = checked_target(scope["raw_path"], scope["query_string"])
        if scope["method"] == "OPTIONS":
            return _Reply(204, {}, _PREFLIGHT)
        route, names = find_route(scope["method"], path.removeprefix(f"{self._prefix}/v3/"))
        headers = _headers(scope)
        request = await self._management_request(route, names, headers, scope)
        await self._check_rate(route)
        request = await self._with_body(request, route, headers, receive, cleanup)
        run = context.library.write if route.access is RouteAccess.WRITE else context.library.read
        return _Reply(route.status, await run(partial(_run, route, request)))

    async def _management_request(
        self, route: Route, names: Mapping[str, str], headers: Mapping[str, str], scope: Scope
    ) -> ManagementRequest:
        """The parsed request, without its body. Raises UnknownStack, InvalidField, Unauthorized, Forbidden."""
        context = self._context
        api_key = headers.get("api_key", "")
        if not UID.fullmatch(api_key) or await context.library.read(lambda lib: lib.stack(api_key)) is None:
            raise UnknownStack(
                "the api key is not valid", fix="send the stack's api key as api_key", parameter="api_key"
            )
        query = _query(scope["query_string"])
        branch = headers.get("branch") or query.get("branch") or MAIN_BRANCH
        if len(branch) > MAX_NAME_CHARS or "\0" in branch:
            raise InvalidField("branch: expected a name", parameter="branch")
        key, is_reader = await self._key(headers, api_key)
        request = ManagementRequest(
            branch=BranchRef(api_key, branch),
            author=key.name,
            base_url=f"{context.base_url or _requested_base_url(headers)}{self._prefix}",
            path_values=names,
            query=query,
            strict_environments=context.strict_environments,
        )
        if not is_reader:
            return request
        return _as_reader(request, key, route, await context.library.read(lambda lib: lib.environments(api_key)))

    async def _key(self, headers: Mapping[str, str], api_key: str) -> tuple[LibraryKey, bool]:
        """The key that the request sent, and True if that key is a delivery token. Raises Unauthorized."""
        library = self._context.library
        secret = headers.get("authtoken") or headers.get("authorization", "").removeprefix("Bearer ")
        key = await library.key(KeyKind.MANAGEMENT, secret) if secret else None
        is_reader = key is None and bool(headers.get("access_token"))
        if is_reader:
            key = await library.key(KeyKind.DELIVERY, headers["access_token"])
        if key is None or key.scope.stack not in (None, api_key):
            raise Unauthorized("the token is not valid", fix="send a management token of this stack as authorization")
        return key, is_reader

    async def _check_rate(self, route: Route) -> None:
        """Count the request. Raises TooManyRequests above the rate limit."""
        context = self._context
        quota = await context.limiter.hit(self._rate_key(route.method), context.requests_per_s, window_s=1)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} requests a second",
                fix="send the request again after a second",
                retry_after_s=1,
            )

    async def _with_body(
        self,
        request: ManagementRequest,
        route: Route,
        headers: Mapping[str, str],
        receive: Receive,
        cleanup: AsyncExitStack,
    ) -> ManagementRequest:
        """Read the body, and return the request with it. `cleanup` will close an uploaded file."""
        if not route.body:
            return request
        context = self._context
        body: ParsedBody = await upload_body.read_body(receive, headers, context.max_upload_bytes, cleanup)
        body_format = "multipart" if body.is_form else "json"
        if body_format not in route.body:
            raise InvalidField(f"expected a body of {' or '.join(route.body)}", parameter="content-type")
        upload: UploadedFile | None = None
        if body.file is not None:
            upload = await upload_body.inspect_upload(body.file, context.renderers)
        return replace(request, body=body.fields, upload=upload)

    def _rate_key(self, method: str) -> str:
        return f"management {'read' if method in ('GET', 'HEAD') else 'write'} {self._context.organization}"

    def _quota(self, scope: Scope) -> RawHeaders:
        context = self._context
        if not context.requests_per_s:
            return []
        quota: Quota = context.limiter.peek(self._rate_key(scope["method"]), context.requests_per_s, window_s=1)
        return response.quota_headers(quota)

    def _log(self, scope: Scope, status: int, rid: str, started_s: float) -> None:
        self._context.metrics.count_request("management", "management", status, "none", time.perf_counter() - started_s)
        if self._context.access_log:
            path = scope["raw_path"].decode("latin-1")[:512]
            ms = round((time.perf_counter() - started_s) * 1000, 1)
            who = request_fields(scope, self._context.client_ip)
            site = "management"
            log.info("request", method=scope["method"], path=path, site=site, status=status, ms=ms, id=rid, **who)


def _run(route: Route, request: ManagementRequest, library: Any) -> Json:  # a ports.Library, as LiveLibrary hands it
    return route.handler(library, request)


def _query(text: bytes) -> dict[str, str]:
    """The query's parameters by name. If a name is repeated, its last value counts."""
    try:
        pairs = parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise InvalidField("expected at most 100 parameters", parameter="query") from error
    return {name: clean_text(value) for name, value in pairs}


def _headers(scope: Scope) -> dict[str, str]:
    """The request's headers by name in lower case. If a name is repeated, its last value counts."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _requested_base_url(headers: Mapping[str, str]) -> str:
    """The server's base URL, built from the Host header; empty for an invalid one.

    Used if no base URL is configured, and only in the response to the client that sent the header.
    """
    host = headers.get("host", "")
    return f"http://{host}" if re.fullmatch(r"[A-Za-z0-9.\-\[\]:]{1,255}", host) else ""


def _as_reader(
    request: ManagementRequest, key: LibraryKey, route: Route, known: Iterable[Environment]
) -> ManagementRequest:
    """The request, limited to the rights of a delivery token.

    Such a token only reads assets, and only those that are published in one of its environments. Raises Forbidden, and
    InvalidField if the query does not name an environment.
    """
    environment = request.query.get("environment", "")
    if route.access is not RouteAccess.READ:
        raise Forbidden("a delivery token only reads published assets", fix="use a management token")
    if not environment:
        raise InvalidField(
            "environment: missing; a request with a delivery token must name one",
            fix="add environment=…",
            parameter="environment",
        )
    if not key.scope.allows_environment(environment, known):
        raise Forbidden(
            "the delivery token is for another environment", fix="use the token's environment", parameter="environment"
        )
    return replace(request, reader=key)


# ------------------------------------------------------------------------------------------ responses

_JSON: Final = ("content-type", "application/json; charset=utf-8")
_COMMON: Final = (
    ("cache-control", "no-store"),
    *response.API_SECURITY,
    ("access-control-allow-origin", "*"),
)
_PREFLIGHT: Final = (
    ("access-control-allow-methods", ", ".join(_METHODS)),
    ("access-control-allow-headers", "api_key, authtoken, authorization, access_token, branch, content-type"),
    ("access-control-max-age", "86400"),
)


def _error_reply(problem: Problem) -> _Reply:
    """The vendor's error response for a problem."""
    vendor = vendor_status(problem, _STATUSES)
    errors = {}
    if problem.parameter:
        errors[problem.parameter] = [line for line in (problem.detail, problem.fix) if line]
    message = problem.detail
    if vendor.error_code == NOT_FOUND_CODE:
        missing = problem.parameter or "uid"
        message = "Asset was not found." if missing == "uid" else message
        errors = {missing: ["is not valid."]}
    headers = (("retry-after", str(problem.retry_after_s)),) if problem.retry_after_s else ()
    if isinstance(problem, WrongMethod):
        headers = (
            ("allow", ", ".join((*problem.allowed, *(("HEAD",) if "GET" in problem.allowed else ()), "OPTIONS"))),
        )
    members = {"error_message": message[:400], "error_code": vendor.error_code, "errors": errors}
    return _Reply(vendor.status, members, headers)
