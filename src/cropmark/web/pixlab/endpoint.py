"""PixLab's endpoints: what is checked in which order, what is done, and the answer in its JSON.

endpoint, method ─▶ rate ─▶ body, to files ─▶ key ─▶ fields ─▶ picture ─▶ made, kept ─▶ {"status": 200, "link": …}
"""

from __future__ import annotations

import hashlib
import hmac
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import structlog

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.dialects.pixlab import params, parse, responses
from cropmark.dialects.pixlab.endpoints import EndpointName, unfit_body
from cropmark.dialects.pixlab.query import body_kind
from cropmark.dialects.pixlab.steps import Base64Text, decoded_base64, picture_input
from cropmark.model.problems import (
    BadRequest,
    InternalError,
    Overloaded,
    Problem,
    TooManyRequests,
    UnsupportedMediaType,
)
from cropmark.ports import UploadWriter
from cropmark.web import response
from cropmark.web.pixlab.actions import Actions, Keys, PixLabCall, PixLabContext
from cropmark.web.pixlab.body import Gone, reader_of, taken
from cropmark.web.pixlab.fields import FieldReader, ParsedFields
from cropmark.web.request import Receive, Scope, Send, checked_target, request_id

log = structlog.get_logger("cropmark.access")

BODY_BYTES: Final = 30 * 2**20
SILENT: Final = 499
"""The status logged for a client that hung up; nothing is sent."""


def one_key(secret: str) -> Keys:
    """A single key, compared in constant time."""
    owner = hashlib.sha256(b"cropmark pixlab owner\n" + secret.encode()).hexdigest()[:32]

    async def owner_of(given: str) -> str | None:
        same = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())
        return owner if same else None

    return owner_of


def either(first: Keys, second: Keys) -> Keys:
    """The keys of both."""

    async def owner_of(given: str) -> str | None:
        return await first(given) or await second(given)

    return owner_of


class PixLabEndpoint:
    """The endpoints of one site: below a prefix, or all paths of its hosts."""

    def __init__(
        self, bureau: PixLabContext, *, name: str = "pixlab", prefix: str = "", hosts: tuple[str, ...] = ()
    ) -> None:
        self._bureau = bureau
        self._name = name
        self._prefix = f"{prefix}/"
        self._hosts = hosts
        self._acts = Actions(bureau)

    def matches(self, host: str, path: str) -> bool:
        """Whether a request is for these endpoints."""
        return path.startswith(self._prefix) and (not self._hosts or host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()
        with ExitStack() as held:
            call = PixLabCall(scope, receive, held, self._ask(scope))
            try:
                answer = await self._answer(call)
            except Gone:
                self._log(call, SILENT, 0, began_s)
                return
            except Problem as problem:
                answer = self._bureau.dialect.error_response(problem, call.ask)
            except Exception:
                log.exception("an endpoint failed", dialect="pixlab")
                answer = self._bureau.dialect.error_response(InternalError("our fault: the request failed"), call.ask)
        await self._send(call, answer, send)
        self._log(call, answer.status, len(answer.body), began_s)

    def _ask(self, scope: Scope) -> ImageRequest:
        rest = scope["raw_path"].decode("latin-1")[len(self._prefix) :]
        path = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
        key = [value.decode("latin-1") for name, value in scope["headers"] if name == parse.KEY_HEADER.encode()]
        headers = {parse.KEY_HEADER: key[-1]} if key else {}
        return ImageRequest(path, scope["query_string"].decode("utf-8", "surrogateescape"), headers, scope["method"])

    async def _answer(self, call: PixLabCall) -> Response:
        """The checks in the service's order. Raises Problems and Gone."""
        bureau = self._bureau
        if bureau.stopping():
            raise Overloaded("the server is stopping", fix="try again", retry_after_s=1)
        if call.ask.method == "OPTIONS":
            return responses.preflight()
        endpoint = bureau.dialect.admit(call.ask)
        checked_target(call.scope["raw_path"], call.scope["query_string"])
        await self._within_rate(call.scope)
        body = await self._body(call, endpoint)
        call.ask = replace(call.ask, fields=body.fields)
        owner = await self._owner(call.ask, body)
        if body.problem is not None:
            raise body.problem
        await self._with_picture(call, endpoint, body)
        return await self._acts.run(call, bureau.dialect.read_request(call.ask), owner)

    async def _within_rate(self, scope: Scope) -> None:
        """Count the request. Raises TooManyRequests."""
        client = self._bureau.clients.resolve(scope)
        quota = await self._bureau.limiter.hit(f"pixlab {client}", self._bureau.per_minute)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} requests a minute from one address",
                fix="come back later",
                retry_after_s=quota.retry_after_s,
            )

    async def _body(self, call: PixLabCall, endpoint: EndpointName) -> ParsedFields:
        """What the body holds, with what is wrong with it. Raises Gone."""
        if call.ask.method != "POST":
            return ParsedFields({})
        content_type = _header(call.scope, b"content-type")
        parts = FieldReader(lambda: self._intake(call))
        try:
            kind = body_kind(content_type)
            reader = reader_of(kind, content_type, parts)
        except (UnsupportedMediaType, BadRequest) as problem:
            return ParsedFields({}, problem=problem, unread=True)
        if unfit := unfit_body(endpoint, kind):
            parts.note(unfit)
        declared = _header(call.scope, b"content-length")
        if declared.isdecimal() and int(declared[:12]) > BODY_BYTES:
            too_large = BadRequest(f"expected a body of at most {BODY_BYTES:,} bytes, got {declared[:12]}")
            return ParsedFields({}, problem=too_large, unread=True)
        return await taken(call.receive, reader, BODY_BYTES)

    def _intake(self, call: PixLabCall) -> UploadWriter:
        intake = self._bureau.uploads.new_writer(self._bureau.dialect.settings.source_bytes)
        call.held.callback(intake.discard)
        return intake

    async def _owner(self, ask: ImageRequest, body: ParsedFields) -> str:
        """Who asks. Raises Unauthorized, and what is wrong with a body that may hold the key but cannot be read."""
        key = self._bureau.dialect.key_of(ask)
        if key is None and body.unread and body.problem is not None:
            raise body.problem
        owner = None if key is None else await self._bureau.keys(key)
        if owner is None:
            raise self._bureau.dialect.unauthorized(key)
        return owner

    async def _with_picture(self, call: PixLabCall, endpoint: EndpointName, body: ParsedFields) -> None:
        """The ask with the picture that came along: a file, or what base64 stands for. Raises BadOrder."""
        upload, call.picture = body.file, "upload" if body.file else ""
        if upload is None and params.IMG in params.rows_of(endpoint):
            upload, call.picture = body.text, "base64"
            text = parse.texts_of(call.ask).get(params.IMG.name)
            if upload is None and text is not None:
                found = picture_input(text)
                call.picture = "base64" if isinstance(found, Base64Text) else _origin(found.url)
                if isinstance(found, Base64Text):
                    intake = self._intake(call)
                    for piece in decoded_base64((found.text,)):
                        intake.write(piece)
                    upload = intake.finish()
        if upload is not None:
            call.ask = replace(call.ask, upload=upload.digest)

    async def _send(self, call: PixLabCall, answer: Response, send: Send) -> None:
        headers = response.raw(
            (
                *((("content-type", answer.media_type),) if answer.body else ()),
                ("content-length", str(len(answer.body))),
                ("x-content-type-options", "nosniff"),
                ("cross-origin-resource-policy", "cross-origin"),
                ("content-security-policy", response.INERT),
                ("x-request-id", request_id()),
                *answer.headers,
            )
        )
        if call.cache != "none":
            headers.append((b"server-timing", response.server_timing(call.cache, call.timing)))
        body = b"" if call.ask.method == "HEAD" else answer.body
        await response.send_whole(send, answer.status, headers, body)

    def _log(self, call: PixLabCall, status: int, sent: int, began_s: float) -> None:
        metrics = self._bureau.metrics
        metrics.requests.labels("pixlab", str(status), call.cache).inc()
        metrics.bytes_out.labels("pixlab").inc(sent)
        if not self._bureau.logs:
            return
        log.info(
            "request",
            method=call.ask.method,
            path=call.scope["raw_path"].decode("latin-1")[:200],  # never the query: it holds key and picture
            img=call.picture,
            site=self._name,
            status=status,
            cache=call.cache,
            bytes=sent,
            ms=round((time.perf_counter() - began_s) * 1000, 1),
        )


def _header(scope: Scope, name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[-1].decode("latin-1") if found else ""


def _origin(url: str) -> str:
    """Scheme and host of an address, all that is logged of it."""
    try:
        address = urlsplit(url)
        return f"{address.scheme}://{address.hostname or ''}"
    except ValueError:
        return "unreadable"
