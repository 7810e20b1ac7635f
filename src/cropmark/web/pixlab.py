"""PixLab's endpoints: what is checked in which order, what is done, and the answer in its JSON.

endpoint, method ─▶ rate ─▶ body, to files ─▶ key ─▶ fields ─▶ picture ─▶ made, kept ─▶ {"status": 200, "link": …}
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, TypeVar, assert_never
from urllib.parse import unquote_to_bytes, urlsplit

import structlog

from cropmark.dialects.answers import EVERY_ORIGIN, warning_headers
from cropmark.dialects.dialect import Answer, Ask
from cropmark.dialects.pixlab import answers, requests, table
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.endpoints import Endpoint, body_of
from cropmark.dialects.pixlab.pictures import Base64Text, decoded_base64, picture_input
from cropmark.dialects.pixlab.requests import FindFaces, ForgetResult, KeepUpload, MakePicture, Request
from cropmark.formats import READABLE, SNIFFED_BYTES, TRAITS, Format, sniffed
from cropmark.geometry.findings import Face
from cropmark.geometry.limits import turned_away
from cropmark.geometry.rounding import length, r
from cropmark.metrics import Metrics
from cropmark.pipeline import Pipeline
from cropmark.plan.plan import Order, Plan, Warned
from cropmark.ports import Intake, Limiter, Opened, Results, Source, Timing, Uploads
from cropmark.problems import (
    BadOrder,
    Breakdown,
    NotFound,
    Overloaded,
    Problem,
    SourceUnusable,
    TooManyRequests,
    UnknownBody,
)
from cropmark.values import Box, Size
from cropmark.web import delivery
from cropmark.web.bodies import Gone, Parts, Taken, reader_of, taken
from cropmark.web.clients import Clients
from cropmark.web.media import Links
from cropmark.web.requests import Receive, Scope, Send, checked_target, request_id

log = structlog.get_logger("cropmark.access")

T = TypeVar("T")

BODY_BYTES: Final = 30 * 2**20
SURE_SCORE: Final = 0.8
"""Of a face that is told of: the dialect has no field for how sure the detector is."""
SILENT: Final = 499
"""The status logged for a client that hung up; nothing is sent."""

Keys = Callable[[str], str | None]
"""Who owns a key, as a name that does not tell the key; None: nobody does."""


def one_key(secret: str) -> Keys:
    """A single key, compared in constant time."""
    owner = hashlib.sha256(b"cropmark pixlab owner\n" + secret.encode()).hexdigest()[:32]

    def owner_of(given: str) -> str | None:
        same = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())
        return owner if same else None

    return owner_of


@dataclass(frozen=True, slots=True)
class Bureau:
    """All that the endpoints need. `source` holds what `uploads` takes in, and knows the web."""

    dialect: PixLab
    pipeline: Pipeline
    source: Source
    uploads: Uploads
    results: Results
    links: Links
    keys: Keys
    limiter: Limiter
    metrics: Metrics
    stopping: Callable[[], bool]
    clients: Clients
    per_minute: int = 0
    """Requests of one client address; 0: as many as it likes. The limiter counts in minutes."""
    logs: bool = True


@dataclass(slots=True)
class _Call:
    """A request while it is being answered."""

    scope: Scope
    receive: Receive
    held: ExitStack
    ask: Ask
    picture: str = ""
    """All that a log may hold of the picture."""
    cache: str = "none"
    timing: Timing = Timing()


class PixLabDoor:
    """The endpoints of one site: below a prefix, or all paths of its hosts."""

    def __init__(self, bureau: Bureau, *, prefix: str = "", hosts: tuple[str, ...] = ()) -> None:
        self._bureau = bureau
        self._prefix = f"{prefix}/"
        self._hosts = hosts
        self._acts = _Acts(bureau)

    def opens(self, host: str, path: str) -> bool:
        """Whether a request is for these endpoints."""
        return path.startswith(self._prefix) and (not self._hosts or host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()
        with ExitStack() as held:
            call = _Call(scope, receive, held, self._ask(scope))
            try:
                answer = await self._answer(call)
            except Gone:
                self._log(call, SILENT, 0, began_s)
                return
            except Problem as problem:
                answer = self._bureau.dialect.refusal(problem, call.ask)
            except Exception:
                log.exception("an endpoint failed", dialect="pixlab")
                answer = self._bureau.dialect.refusal(Breakdown("our fault: the request failed"), call.ask)
        await self._send(call, answer, send)
        self._log(call, answer.status, len(answer.body), began_s)

    def _ask(self, scope: Scope) -> Ask:
        rest = scope["raw_path"].decode("latin-1")[len(self._prefix) :]
        path = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
        key = [value.decode("latin-1") for name, value in scope["headers"] if name == requests.KEY_HEADER.encode()]
        headers = {requests.KEY_HEADER: key[-1]} if key else {}
        return Ask(path, scope["query_string"].decode("utf-8", "surrogateescape"), headers, scope["method"])

    async def _answer(self, call: _Call) -> Answer:
        """The checks in the service's order. Raises Problems and Gone."""
        bureau = self._bureau
        if bureau.stopping():
            raise Overloaded("the server is stopping", fix="try again", retry_after_s=1)
        if call.ask.method == "OPTIONS":
            return answers.preflight()
        endpoint = bureau.dialect.admit(call.ask)
        checked_target(call.scope["raw_path"], call.scope["query_string"])
        await self._within_rate(call.scope)
        body = await self._body(call, endpoint)
        call.ask = replace(call.ask, fields=body.fields)
        owner = self._owner(call.ask)
        if body.problem is not None:
            raise body.problem
        await self._with_picture(call, endpoint, body)
        return await self._acts.done(call, bureau.dialect.read_request(call.ask), owner)

    async def _within_rate(self, scope: Scope) -> None:
        """Count the request. Raises TooManyRequests."""
        client = self._bureau.clients.of(scope)
        quota = await self._bureau.limiter.take(f"pixlab {client}", self._bureau.per_minute)
        if quota.exceeded:
            raise TooManyRequests(
                f"expected at most {quota.limit} requests a minute from one address",
                fix="come back later",
                retry_after_s=quota.retry_after_s,
            )

    async def _body(self, call: _Call, endpoint: Endpoint) -> Taken:
        """What the body holds, with what is wrong with it. Raises Gone."""
        if call.ask.method != "POST":
            return Taken({})
        content_type = _header(call.scope, b"content-type")
        try:
            parts = Parts(lambda: self._intake(call))
            reader = reader_of(body_of(endpoint, content_type), content_type, parts)
        except (UnknownBody, BadOrder) as problem:
            return Taken({}, problem=problem)
        declared = _header(call.scope, b"content-length")
        if declared.isdecimal() and int(declared[:12]) > BODY_BYTES:
            return Taken({}, problem=BadOrder(f"expected a body of at most {BODY_BYTES:,} bytes, got {declared[:12]}"))
        return await taken(call.receive, reader, BODY_BYTES)

    def _intake(self, call: _Call) -> Intake:
        intake = self._bureau.uploads.intake(self._bureau.dialect.settings.source_bytes)
        call.held.callback(intake.discard)
        return intake

    def _owner(self, ask: Ask) -> str:
        """Who asks. Raises Unauthorised."""
        key = self._bureau.dialect.key_of(ask)
        owner = None if key is None else self._bureau.keys(key)
        if owner is None:
            raise self._bureau.dialect.unauthorised(key)
        return owner

    async def _with_picture(self, call: _Call, endpoint: Endpoint, body: Taken) -> None:
        """The ask with the picture that came along: a file, or what base64 stands for. Raises BadOrder."""
        upload, call.picture = body.file, "upload" if body.file else ""
        if upload is None and table.IMG in table.rows_of(endpoint):
            upload, call.picture = body.text, "base64"
            text = requests.texts_of(call.ask).get(table.IMG.name)
            if upload is None and text is not None:
                found = picture_input(text)
                call.picture = "base64" if isinstance(found, Base64Text) else _origin(found.url)
                if isinstance(found, Base64Text):
                    intake = self._intake(call)
                    for piece in decoded_base64((found.text,)):
                        intake.write(piece)
                    upload = intake.held()
        if upload is not None:
            call.ask = replace(call.ask, upload=upload.digest)

    async def _send(self, call: _Call, answer: Answer, send: Send) -> None:
        headers = delivery.raw(
            (
                *((("content-type", answer.media_type),) if answer.body else ()),
                ("content-length", str(len(answer.body))),
                ("x-content-type-options", "nosniff"),
                ("content-security-policy", delivery.INERT),
                ("x-request-id", request_id()),
                *answer.headers,
            )
        )
        if call.cache != "none":
            headers.append((b"server-timing", delivery.server_timing(call.cache, call.timing)))
        body = b"" if call.ask.method == "HEAD" else answer.body
        await delivery.send_whole(send, answer.status, headers, body)

    def _log(self, call: _Call, status: int, sent: int, began_s: float) -> None:
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
            site="pixlab",
            status=status,
            cache=call.cache,
            bytes=sent,
            ms=round((time.perf_counter() - began_s) * 1000, 1),
        )


class _Acts:
    """What each kind of request leads to."""

    def __init__(self, bureau: Bureau) -> None:
        self._bureau = bureau

    async def done(self, call: _Call, request: Request, owner: str) -> Answer:
        """Do it, and tell."""
        match request:
            case MakePicture(order, blob):
                return await self._picture(call, order, owner, blob=blob)
            case FindFaces(order, count):
                return await _unless_gone(call, self._faces(order, count=count))
            case KeepUpload(order, comment):
                return await self._stored(order, owner, comment)
            case ForgetResult(link):
                return await self._forgotten(link, owner)
            case _:
                assert_never(request)

    async def _picture(self, call: _Call, order: Order, owner: str, *, blob: bool) -> Answer:
        body, kind, warnings = await _unless_gone(call, self._made(call, order))
        if not blob:
            return _with_warnings(await self._kept(body, kind, owner), warnings)
        headers = (
            *EVERY_ORIGIN,
            *warning_headers(warnings),
            *answers.blob_headers(secrets.token_urlsafe(12), kind),
            ("Cache-Control", "private, no-store"),
        )
        return Answer(200, body, TRAITS[kind].media_type, headers)

    async def _made(self, call: _Call, order: Order) -> tuple[bytes, Format, tuple[Warned, ...]]:
        """The picture, or the original where that is the answer."""
        delivered = await self._bureau.pipeline.deliver(self._bureau.source, order)
        call.cache, call.timing = delivered.cache, delivered.timing
        try:
            body, kind = delivered.body, delivered.record.facts.format
            if delivered.opened is not None:
                body = await asyncio.to_thread(os.pread, delivered.opened.descriptor, delivered.opened.bytes, 0)
        finally:
            if delivered.opened is not None:
                delivered.opened.close()
        if body is None or kind not in READABLE:
            raise SourceUnusable("the picture is of a format that is not sent", fix="use JPEG, PNG, WebP or GIF")
        return body, kind, (*order.warnings, *delivered.record.warnings)

    async def _faces(self, order: Order, *, count: bool) -> Answer:
        assert order.plan is not None
        opened = await self._bureau.source.open(order.sources[0].where)
        try:
            size = await self._checked(opened, order.plan)
            # Not by the pipeline, which takes trouble for no analysis: here the caller is told which.
            analysed = await self._bureau.pipeline.renderers.analyse(opened, foreign=True)
        finally:
            opened.close()
        if analysed.analysis is None:
            raise Breakdown(f"faces cannot be looked for here: {analysed.reason}", fix="install cropmark[smart]")
        boxes = [_box(face, size) for face in analysed.analysis.faces if face.score >= SURE_SCORE]
        return answers.faces_answer(boxes, count=count)

    async def _checked(self, opened: Opened, plan: Plan) -> Size:
        """The size of an upright picture that may be worked on. Raises SourceUnusable, SourceTooLarge."""
        info = await self._bureau.pipeline.renderers.inspect(opened, foreign=True)
        turned_away(info, plan)
        return info.size

    async def _stored(self, order: Order, owner: str, comment: str) -> Answer:
        opened = await self._bureau.source.open(order.sources[0].where)
        try:
            await self._checked(opened, Plan(limits=self._bureau.dialect.settings.limits))
            kind = sniffed(os.pread(opened.descriptor, SNIFFED_BYTES, 0))
            if kind not in READABLE:
                raise SourceUnusable("the file is no picture of a format that is kept", fix="use JPEG, PNG or WebP")
            return await self._kept(opened, kind, owner, comment)
        finally:
            opened.close()

    async def _kept(self, body: bytes | Opened, kind: Format, owner: str, comment: str = "") -> Answer:
        kept = await self._bureau.results.keep(body, kind, owner, comment)
        link = self._bureau.links.of(kept)
        # The one link is https where the server's public address is, and there is no other address.
        return answers.success(link, link, kept.id)

    async def _forgotten(self, link: str, owner: str) -> Answer:
        media_id = self._bureau.links.id_in(link)
        if media_id is None or not await self._bureau.results.forget(media_id, owner):
            # One text whether it never was, is gone, or belongs to another key.
            raise NotFound("link: there is no stored result of this key at that link", parameter="link")
        return answers.deleted()


def _box(face: Face, size: Size) -> Box:
    """The face in whole pixels of the upright picture."""
    left, width = Fraction(face.left) * size.width, Fraction(face.width) * size.width
    top, height = Fraction(face.top) * size.height, Fraction(face.height) * size.height
    return Box(r(left), r(top), length(width), length(height))


def _with_warnings(answer: Answer, warnings: tuple[Warned, ...]) -> Answer:
    return replace(answer, headers=(*answer.headers, *warning_headers(warnings)))


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


async def _unless_gone(call: _Call, work: Coroutine[Any, Any, T]) -> T:
    """What the work brings; dropped, with Gone, when the client hangs up: the server does not cancel us."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(call.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
