"""Serves PixLab's endpoints: checks a request in this order, runs it, and sends the response.

endpoint, method ─▶ rate limit ─▶ early key ─▶ body, files to disk ─▶ key ─▶ fields ─▶ image ─▶ render, store ─▶ JSON

The early key is in the query or in a header, and is checked before the body is read. A key may also be in the body.
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
from cropmark.dialects.pixlab import params, query, responses
from cropmark.dialects.pixlab.endpoints import EndpointName, body_kind, body_rejection
from cropmark.dialects.pixlab.image_field import Base64Text, decode_base64, read_image
from cropmark.model.problems import (
    BadRequest,
    InternalError,
    Overloaded,
    Problem,
    TooManyRequests,
    UnsupportedMediaType,
)
from cropmark.plan.source import UploadRef
from cropmark.ports import UploadWriter
from cropmark.web import response
from cropmark.web.log_fields import request_fields, request_ids
from cropmark.web.pixlab.actions import Actions, KeyOwners, PixLabCall, PixLabContext
from cropmark.web.pixlab.body import read_fields, reader_for
from cropmark.web.pixlab.fields import FieldReader, ParsedFields
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

BODY_BYTES: Final = 30 * 2**20


def single_key(secret: str) -> KeyOwners:
    """A function that returns the owner of the only key, `secret`, and None for any other key.

    Keys are compared in constant time.
    """
    owner = hashlib.sha256(b"cropmark pixlab owner\n" + secret.encode()).hexdigest()[:32]

    async def owner_of(given: str) -> str | None:
        same = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())
        return owner if same else None

    return owner_of


def either_keys(first: KeyOwners, second: KeyOwners) -> KeyOwners:
    """A function that returns the owner of a key from `first`, or else from `second`."""

    async def owner_of(given: str) -> str | None:
        return await first(given) or await second(given)

    return owner_of


class PixLabEndpoint:
    """Serves PixLab's endpoints at one mount."""

    def __init__(self, context: PixLabContext, *, name: str = "pixlab", mount: Mount) -> None:
        self._context = context
        self._request_id = request_ids(context.client_ip)
        self._name = name
        self._mount = mount
        self._actions = Actions(context)

    def matches(self, host: str, path: str) -> bool:
        return self._mount.rest(host, path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        with ExitStack() as cleanup:
            call = PixLabCall(scope, receive, cleanup, self._image_request(scope), self._request_id(scope))
            try:
                reply = await self._reply(call)
            except ClientDisconnected:
                self._log(call, CLIENT_CLOSED_REQUEST, 0, started_s)
                return
            except Problem as problem:
                self._context.metrics.rejected[problem.code] += 1
                reply = self._context.dialect.error_response(problem, call.request)
            except Exception:
                log.exception("an endpoint failed", dialect="pixlab")
                reply = self._context.dialect.error_response(
                    InternalError("internal server error; see the server log"), call.request
                )
        await self._send(call, reply, send)
        self._log(call, reply.status, len(reply.body), started_s)

    def _image_request(self, scope: Scope) -> ImageRequest:
        rest = scope["raw_path"].decode("latin-1")[len(self._mount.prefix) + 1 :]
        path = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
        key = [value.decode("latin-1") for name, value in scope["headers"] if name == query.KEY_HEADER.encode()]
        headers = {query.KEY_HEADER: key[-1]} if key else {}
        return ImageRequest(path, scope["query_string"].decode("utf-8", "surrogateescape"), headers, scope["method"])

    async def _reply(self, call: PixLabCall) -> Response:
        """Check the request in the vendor's order, run it, and return the response.

        Raises Problems and ClientDisconnected.
        """
        context = self._context
        if context.shutdown.stopping:
            raise Overloaded("the server is stopping", fix="try again", retry_after_s=1)
        if call.request.method == "OPTIONS":
            return responses.preflight_response()
        endpoint = context.dialect.endpoint(call.request)
        checked_target(call.scope["raw_path"], call.scope["query_string"])
        await self._check_rate(call.scope)
        # Before the body: reading it takes CPU time and disk, also for a client without a valid key (decisions/0191).
        early_key = context.dialect.key_of(call.request)
        owner = None if early_key is None else await self._owner(early_key)
        body = await self._body(call, endpoint)
        call.request = replace(call.request, fields=body.fields)
        key = context.dialect.key_of(call.request)
        if key is None and body.incomplete and body.problem is not None:
            raise body.problem  # the unreadable part may contain the key
        if owner is None or key != early_key:
            owner = await self._owner(key)
        if body.problem is not None:
            raise body.problem
        self._add_image(call, endpoint, body)
        return await self._actions.run(call, context.dialect.parse_request(call.request), owner)

    async def _check_rate(self, scope: Scope) -> None:
        """Count the request. Raises TooManyRequests above the rate limit."""
        client = self._context.client_ip.resolve(scope)
        quota = await self._context.limiter.hit(f"pixlab {client}", self._context.requests_per_minute, window_s=60)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} requests a minute from one address",
                fix="try again later",
                retry_after_s=quota.retry_after_s,
            )

    async def _body(self, call: PixLabCall, endpoint: EndpointName) -> ParsedFields:
        """The fields of the body, and its first error in `problem`. Raises ClientDisconnected."""
        if call.request.method != "POST":
            return ParsedFields({})
        content_type = _header(call.scope, b"content-type")
        fields = FieldReader(lambda: self._new_upload(call))
        try:
            body_format = body_kind(content_type)
            reader = reader_for(body_format, content_type, fields)
        except (UnsupportedMediaType, BadRequest) as problem:
            return ParsedFields({}, problem=problem, incomplete=True)
        if rejection := body_rejection(endpoint, body_format):
            fields.add_problem(rejection)
        declared = _header(call.scope, b"content-length")
        if declared.isdecimal() and int(declared[:12]) > BODY_BYTES:
            too_large = BadRequest(f"expected a body of at most {BODY_BYTES:,} bytes, got {declared[:12]}")
            return ParsedFields({}, problem=too_large, incomplete=True)
        return await read_fields(call.receive, reader, BODY_BYTES)

    def _new_upload(self, call: PixLabCall) -> UploadWriter:
        upload_writer = self._context.uploads.new_writer(self._context.dialect.settings.max_source_bytes)
        call.cleanup.callback(upload_writer.discard)
        return upload_writer

    async def _owner(self, key: str | None) -> str:
        """The owner of the key. Raises Unauthorized for an unknown key, or None."""
        owner = None if key is None else await self._context.owner_of_key(key)
        if owner is None:
            raise self._context.dialect.unauthorized(key)
        return owner

    def _add_image(self, call: PixLabCall, endpoint: EndpointName, body: ParsedFields) -> None:
        """Set the request's `upload` to the image that it contains as a file or as base64 text, if any.

        Also describes the image for the log. Raises BadRequest.
        """
        upload = body.file
        if upload is not None:
            call.logged_image = "upload"
        elif params.IMG in params.parameters_of(endpoint):
            upload = self._image_in_text(call, body)
        elif params.SRC in params.parameters_of(endpoint):
            call.logged_image = _origin(query.parse_fields(call.request).get(params.SRC.name, ""))
        if upload is not None:
            call.request = replace(call.request, upload=upload.digest)

    def _image_in_text(self, call: PixLabCall, body: ParsedFields) -> UploadRef | None:
        """The upload decoded from base64 text in `img`; None if `img` is a URL or absent."""
        call.logged_image = "base64"
        text = query.parse_fields(call.request).get(params.IMG.name)
        if body.text is not None or text is None:
            return body.text
        image = read_image(text)
        if not isinstance(image, Base64Text):
            call.logged_image = _origin(image.url)
            return None
        upload_writer = self._new_upload(call)
        for piece in decode_base64((image.text,)):
            upload_writer.write(piece)
        return upload_writer.finish()

    async def _send(self, call: PixLabCall, reply: Response, send: Send) -> None:
        headers = response.encode_headers(
            (
                *((("content-type", reply.media_type),) if reply.body else ()),
                ("content-length", str(len(reply.body))),
                *response.PUBLIC_SECURITY,
                ("x-request-id", call.id),
                *reply.headers,
            )
        )
        if call.cache != "none":
            headers.append((b"server-timing", response.server_timing(call.cache, call.timing)))
        body = b"" if call.request.method == "HEAD" else reply.body
        await response.send_response(send, reply.status, headers, body)

    def _log(self, call: PixLabCall, status: int, sent: int, started_s: float) -> None:
        metrics = self._context.metrics
        metrics.count_request(self._name, "pixlab", status, call.cache, time.perf_counter() - started_s)
        sent = 0 if call.request.method == "HEAD" else sent
        metrics.response_bytes["pixlab"] += sent
        if not self._context.access_log:
            return
        log.info(
            "request",
            method=call.request.method,
            path=call.scope["raw_path"].decode("latin-1")[:200],  # never the query: it contains the key and the image
            img=call.logged_image,
            site=self._name,
            status=status,
            cache=call.cache,
            bytes=sent,
            ms=round((time.perf_counter() - started_s) * 1000, 1),
            id=call.id,
            **request_fields(call.scope, self._context.client_ip),
        )


def _header(scope: Scope, name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[-1].decode("latin-1") if found else ""


def _origin(url: str) -> str:
    """The scheme and host of a URL. Its other parts are not logged."""
    try:
        address = urlsplit(url)
        return f"{address.scheme}://{address.hostname or ''}"
    except ValueError:
        return "unreadable"
