"""The vendor's management API over HTTP: who asks, how often, what the body is, and every answer as JSON.

An upload is answered when it is kept. A renderer reads its header and no more: clients wait for two seconds.
Source: https://www.contentstack.com/docs/developers/apis/content-management-api/assets
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import structlog

from cropmark.management.request import Json, ManagementRequest, UnknownStack, Unprocessable, UploadedFile
from cropmark.management.routes import ROUTES, Route, RouteAccess
from cropmark.model.assets import MAIN, MAX_NAME_CHARS, UID, BranchRef, Environment, KeyKind, LibraryKey
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
from cropmark.ports import LibraryAccess, Limiter, Quota, Renderers
from cropmark.runtime.metrics import Metrics
from cropmark.web import response
from cropmark.web.management import body as upload_body
from cropmark.web.management.body import Gone, ParsedBody
from cropmark.web.request import Receive, Scope, Send, checked_target, request_id

log = structlog.get_logger("cropmark.access")

SILENT: Final = 499
"""The status logged for a client that hung up; nothing is sent."""
_METHODS: Final = ("GET", "POST", "PUT", "DELETE")

# The first row that fits is taken. 105, 109, 145 and 162 are recollected from the original; no page that was found has
# them. They stand in dialects/contentstack/responses.py too, for delivery, whose statuses are others.
_TOLD: Final[tuple[tuple[type[Problem], int, int], ...]] = (
    (UnknownStack, 412, 109),
    (Unauthorized, 401, 105),
    (TooManyRequests, 429, 429),
    (Forbidden, 403, 162),
    (NotFound, 422, 145),
    (MethodNotAllowed, 405, 405),
    (BadRequest, 422, 422),
)


class UnknownRoute(Problem):
    """An address that is none of the API."""

    status, code = 404, "no_such_call"


class WrongMethod(MethodNotAllowed):
    """A call that there is, by another method."""

    def __init__(self, method: str, known: list[str]) -> None:
        super().__init__(f"{method[:20]} is not answered here", fix=f"send one of {', '.join(known)}")
        self.known = known


@dataclass(frozen=True, slots=True)
class ManagementContext:
    """What all calls need. `base` is the server's own address, without a slash at its end."""

    library: LibraryAccess
    renderers: Renderers
    limiter: Limiter
    metrics: Metrics
    base: str
    stopping: Callable[[], bool]
    upload_bytes: int
    organization: str = "organization"
    per_s: int = 10
    """Reads, and writes, of the organization in a second; 0: as many as it likes."""
    strict_environments: bool = False
    logs: bool = True


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: Json
    headers: tuple[tuple[str, str], ...] = ()


class ManagementEndpoint:
    """The API below `{prefix}/v3/`, for hosts of which the server is asked by no site of another kind."""

    def __init__(
        self,
        counter: ManagementContext,
        *,
        prefix: str = "",
        hosts: tuple[str, ...] = (),
        not_hosts: tuple[str, ...] = (),
    ) -> None:
        self._counter = counter
        self._prefix = prefix
        self._hosts = hosts
        self._not_hosts = not_hosts
        self._paths = re.compile(rf"{re.escape(prefix)}/v3/({'|'.join(map(_pattern, _paths()))})/?")

    def matches(self, host: str, path: str) -> bool:
        """Whether a request is for the API; an asset's own address, of two segments and more, is not."""
        if host in self._not_hosts or (self._hosts and host not in self._hosts):
            return False
        found = self._paths.fullmatch(path)
        return found is not None and _ASSET.fullmatch(found[1]) is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rid, started = request_id(), time.perf_counter()
        async with AsyncExitStack() as held:
            try:
                reply = await self._answer(scope, receive, held)
            except Gone:
                self._log(scope, SILENT, rid, started)
                return
            except Problem as problem:
                reply = _refusal(problem)
            except Exception:
                log.exception("a management call failed", id=rid)
                reply = _refusal(InternalError("the call failed"))
            body = json.dumps(reply.body).encode("ascii") if reply.body else b""
            described = (_JSON, ("content-length", str(len(body)))) if body else ()
            headers = response.raw((*reply.headers, *_COMMON, *described))
            headers += [(b"x-request-id", rid.encode()), *self._quota(scope)]
            await response.send_whole(send, reply.status, headers, b"" if scope["method"] == "HEAD" else body)
        self._log(scope, reply.status, rid, started)

    async def _answer(self, scope: Scope, receive: Receive, held: AsyncExitStack) -> _Reply:
        """The checks, then the call. Raises Problems and Gone."""
        counter = self._counter
        if counter.stopping():
            raise Overloaded("the server is stopping", fix="try again", retry_after_s=1)
        path = checked_target(scope["raw_path"], scope["query_string"])
        if scope["method"] == "OPTIONS":
            return _Reply(204, {}, _PREFLIGHT)
        route, names = _route(scope["method"], path.removeprefix(f"{self._prefix}/v3/"))
        headers = _headers(scope)
        call = await self._call(route, names, headers, scope)
        await self._within_rate(route)
        call = await self._with_body(call, route, headers, receive, held)
        run = counter.library.write if route.access is RouteAccess.WRITE else counter.library.read
        return _Reply(route.status, await run(partial(_carried_out, route, call)))

    async def _call(
        self, route: Route, names: Mapping[str, str], headers: Mapping[str, str], scope: Scope
    ) -> ManagementRequest:
        """Who asks for what, without the body. Raises UnknownStack, Unauthorized, Refused."""
        counter = self._counter
        api_key = headers.get("api_key", "")
        if not UID.fullmatch(api_key) or await counter.library.read(lambda lib: lib.stack(api_key)) is None:
            raise UnknownStack("the api key is not valid", fix="send the stack's own as api_key", parameter="api_key")
        query = _query(scope["query_string"])
        branch = headers.get("branch") or query.get("branch") or MAIN
        if len(branch) > MAX_NAME_CHARS or "\0" in branch:
            raise Unprocessable("branch: expected a name", parameter="branch")
        key, is_reader = await self._key(headers, api_key)
        call = ManagementRequest(
            place=BranchRef(api_key, branch),
            by=key.name,
            base=f"{counter.base or _own_base(headers)}{self._prefix}",
            names=names,
            query=query,
            strict=counter.strict_environments,
        )
        if not is_reader:
            return call
        return _as_reader(call, key, route, await counter.library.read(lambda lib: lib.environments(api_key)))

    async def _key(self, headers: Mapping[str, str], api_key: str) -> tuple[LibraryKey, bool]:
        """The key of who asks, and whether it is one that reads what is published. Raises Unauthorized."""
        library = self._counter.library
        secret = headers.get("authtoken") or headers.get("authorization", "").removeprefix("Bearer ")
        key = await library.key(KeyKind.MANAGEMENT, secret) if secret else None
        is_reader = key is None and bool(headers.get("access_token"))
        if is_reader:
            key = await library.key(KeyKind.DELIVERY, headers["access_token"])
        if key is None or key.scope.stack not in (None, api_key):
            raise Unauthorized("the token is not valid", fix="send a management token of this stack as authorization")
        return key, is_reader

    async def _within_rate(self, route: Route) -> None:
        """Count the call. Raises TooManyRequests."""
        counter = self._counter
        quota = await counter.limiter.hit(self._rate_key(route.method), counter.per_s)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} calls a second", fix="come back in a second", retry_after_s=1
            )

    async def _with_body(
        self, call: ManagementRequest, route: Route, headers: Mapping[str, str], receive: Receive, held: AsyncExitStack
    ) -> ManagementRequest:
        """The call with what its body says; a file is kept open until it is answered."""
        if not route.body:
            return call
        counter = self._counter
        body: ParsedBody = await upload_body.read(receive, headers, counter.upload_bytes, held)
        kind = "multipart" if body.is_form else "json"
        if kind not in route.body:
            raise Unprocessable(f"expected a body of {' or '.join(route.body)}", parameter="content-type")
        sent: UploadedFile | None = None
        if body.file is not None:
            sent = await upload_body.inspected(body.file, counter.renderers)
        return replace(call, body=body.fields, sent=sent)

    def _rate_key(self, method: str) -> str:
        return f"management {'read' if method in ('GET', 'HEAD') else 'write'} {self._counter.organization}"

    def _quota(self, scope: Scope) -> response.RawHeaders:
        counter = self._counter
        if not counter.per_s:
            return []
        quota: Quota = counter.limiter.peek(self._rate_key(scope["method"]), counter.per_s)
        return response.quota_headers(quota)

    def _log(self, scope: Scope, status: int, rid: str, started: float) -> None:
        self._counter.metrics.requests.labels("management", str(status), "none").inc()
        if self._counter.logs:
            path = scope["raw_path"].decode("latin-1")[:512]
            ms = round((time.perf_counter() - started) * 1000, 1)
            log.info("request", method=scope["method"], path=path, site="management", status=status, ms=ms, id=rid)


def _carried_out(
    route: Route, call: ManagementRequest, library: Any
) -> Json:  # a ports.Library, as LiveLibrary hands it
    return route.handler(library, call)


# ------------------------------------------------------------------------------------------ addresses

_ASSET: Final = re.compile(rf"assets/{UID.pattern}/{UID.pattern}")


def _paths() -> list[str]:
    return list(dict.fromkeys(route.path for route in ROUTES))


def _pattern(path: str) -> str:
    """A path of the table as a regular expression with a group a name."""
    return re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(path))


def _route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The first of the table that fits, and the names in the path. Raises NotAllowed, NoSuchCall."""
    wanted = "GET" if method == "HEAD" else method
    segments = path.rstrip("/").split("/")
    known = []
    for route in ROUTES:
        names = _names(route.path.split("/"), segments)
        if names is None:
            continue
        if route.method == wanted:
            return route, names
        known.append(route.method)
    if not known:
        raise UnknownRoute("there is no such call", fix="see docs/openapi-management.json")
    raise WrongMethod(method, known)


def _names(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """The names of a path by its template; None where it is none of that."""
    if len(template) != len(segments):
        return None
    names = {}
    for wanted, found in zip(template, segments, strict=True):
        if wanted.startswith("{"):
            names[wanted.strip("{}")] = unquote(found, errors="replace").replace("\0", "")
        elif wanted != found:
            return None
    return names


def _query(text: bytes) -> dict[str, str]:
    """The query's parameters; of a repeated one the last."""
    try:
        pairs = parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Unprocessable("expected at most 100 parameters", parameter="query") from error
    return {name: value.replace("\0", "") for name, value in pairs}


def _headers(scope: Scope) -> dict[str, str]:
    """The request's headers by their names in lower case; of a repeated one the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _own_base(headers: Mapping[str, str]) -> str:
    """Where the client reached us, if the configuration does not say: it is told to nobody else."""
    host = headers.get("host", "")
    return f"http://{host}" if re.fullmatch(r"[A-Za-z0-9.\-\[\]:]{1,255}", host) else ""


def _as_reader(
    call: ManagementRequest, key: LibraryKey, route: Route, known: Iterable[Environment]
) -> ManagementRequest:
    """A reader's call: of what is published in an environment that the token is for."""
    environment = call.query.get("environment", "")
    if route.access is not RouteAccess.READ:
        raise Forbidden("a delivery token reads what is published, and nothing else", fix="use a management token")
    if not environment:
        raise Unprocessable("environment: readers name one", fix="add environment=…", parameter="environment")
    if not key.scope.opens(environment, known):
        raise Forbidden("the delivery token is for another environment", fix="use its own", parameter="environment")
    return replace(call, reader=key)


# ------------------------------------------------------------------------------------------ answers

_JSON: Final = ("content-type", "application/json; charset=utf-8")
_COMMON: Final = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", response.INERT),
    ("access-control-allow-origin", "*"),
)
_PREFLIGHT: Final = (
    ("access-control-allow-methods", ", ".join(_METHODS)),
    ("access-control-allow-headers", "api_key, authtoken, authorization, access_token, branch, content-type"),
    ("access-control-max-age", "86400"),
)


def _refusal(problem: Problem) -> _Reply:
    """A problem as the vendor's APIs tell it."""
    status, number = next(
        ((status, number) for kind, status, number in _TOLD if isinstance(problem, kind)),
        (problem.status, problem.status),
    )
    errors = {}
    if problem.parameter:
        errors[problem.parameter] = [line for line in (problem.detail, problem.fix) if line]
    message = problem.detail
    if number == 145:
        missing = problem.parameter or "uid"
        message = "Asset was not found." if missing == "uid" else message
        errors = {missing: ["is not valid."]}
    headers = (("retry-after", str(problem.retry_after_s)),) if problem.retry_after_s else ()
    if isinstance(problem, WrongMethod):
        headers = (("allow", ", ".join((*problem.known, *(("HEAD",) if "GET" in problem.known else ()), "OPTIONS"))),)
    return _Reply(status, {"error_message": message[:400], "error_code": number, "errors": errors}, headers)
