"""What PixLab's endpoints do once a request is known to be in order: crop, find faces, store, forget.

Keys and fields have been checked by then, and the picture's bytes are held or may be fetched.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, TypeVar, assert_never

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.dialects.pixlab import responses
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.parse import DeleteResult, FindFaces, RenderImage, Request, StoreUpload
from cropmark.dialects.responses import EVERY_ORIGIN, warning_headers
from cropmark.geometry.findings import Face
from cropmark.geometry.limits import check_source
from cropmark.geometry.rounding import length, round_half_up
from cropmark.model.formats import READABLE, SNIFFED_BYTES, TRAITS, Format, sniffed
from cropmark.model.problems import InternalError, NotFound, SourceUnusable
from cropmark.model.values import Box, Size
from cropmark.pipeline import Pipeline
from cropmark.plan.plan import Order, Plan, RequestWarning
from cropmark.ports import Limiter, OpenSource, ResultStore, Source, Timing, UploadStore
from cropmark.runtime.metrics import Metrics
from cropmark.web.client_ip import ClientIp
from cropmark.web.pixlab.body import Gone
from cropmark.web.pixlab.results import ResultUrls
from cropmark.web.request import Receive, Scope, hung_up

T = TypeVar("T")

SURE_SCORE: Final = 0.8
"""Of a face that is told of: the dialect has no field for how sure the detector is."""

Keys = Callable[[str], Awaitable[str | None]]
"""Who owns a key, as a name that does not tell the key; None: nobody does."""


@dataclass(frozen=True, slots=True)
class PixLabContext:
    """All that the endpoints need. `source` holds what `uploads` takes in, and knows the web."""

    dialect: PixLab
    pipeline: Pipeline
    source: Source
    uploads: UploadStore
    results: ResultStore
    links: ResultUrls
    keys: Keys
    limiter: Limiter
    metrics: Metrics
    stopping: Callable[[], bool]
    clients: ClientIp
    per_minute: int = 0
    """Requests of one client address; 0: as many as it likes. The limiter counts in minutes."""
    logs: bool = True


@dataclass(slots=True)
class PixLabCall:
    """A request while it is being answered."""

    scope: Scope
    receive: Receive
    held: ExitStack
    ask: ImageRequest
    picture: str = ""
    """All that a log may hold of the picture."""
    cache: str = "none"
    timing: Timing = Timing()


class Actions:
    """What each kind of request leads to."""

    def __init__(self, bureau: PixLabContext) -> None:
        self._bureau = bureau

    async def run(self, call: PixLabCall, request: Request, owner: str) -> Response:
        """Do it, and tell."""
        match request:
            case RenderImage(order, blob):
                return await self._picture(call, order, owner, blob=blob)
            case FindFaces(order, count):
                return await _unless_gone(call, self._faces(call, order, count=count))
            case StoreUpload(order, comment):
                return await self._stored(call, order, owner, comment)
            case DeleteResult(link):
                return await self._forgotten(link, owner)
            case _:
                assert_never(request)

    async def _picture(self, call: PixLabCall, order: Order, owner: str, *, blob: bool) -> Response:
        body, kind, warnings = await _unless_gone(call, self._made(call, order))
        if not blob:
            return _with_warnings(await self._kept(body, kind, owner), warnings)
        headers = (
            *EVERY_ORIGIN,
            *warning_headers(warnings),
            *responses.blob_headers(secrets.token_urlsafe(12), kind),
            ("Cache-Control", "private, no-store"),
        )
        return Response(200, body, TRAITS[kind].media_type, headers)

    def _client(self, call: PixLabCall) -> str:
        return self._bureau.clients.resolve(call.scope)

    async def _made(self, call: PixLabCall, order: Order) -> tuple[bytes, Format, tuple[RequestWarning, ...]]:
        """The picture, or the original where that is the answer."""
        delivered = await self._bureau.pipeline.deliver(self._bureau.source, order, client=self._client(call))
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

    async def _faces(self, call: PixLabCall, order: Order, *, count: bool) -> Response:
        assert order.plan is not None
        opened = await self._bureau.source.open(order.sources[0].ref)
        try:
            size = await self._checked(call, opened, order.plan)
            # Not by the pipeline, which takes trouble for no analysis: here the caller is told which.
            analyzed = await self._bureau.pipeline.renderers.analyze(opened, foreign=True, client=self._client(call))
        finally:
            opened.close()
        if analyzed.analysis is None:
            mend = "install cropmark[smart], with smart = true"
            raise InternalError(f"faces cannot be looked for here: {analyzed.reason}", fix=mend)
        boxes = [_box(face, size) for face in analyzed.analysis.faces if face.score >= SURE_SCORE]
        return responses.faces_answer(boxes, count=count)

    async def _checked(self, call: PixLabCall, opened: OpenSource, plan: Plan) -> Size:
        """The size of an upright picture that may be worked on. Raises SourceUnusable, SourceTooLarge."""
        info = await self._bureau.pipeline.renderers.inspect(opened, foreign=True, client=self._client(call))
        check_source(info, plan)
        return info.size

    async def _stored(self, call: PixLabCall, order: Order, owner: str, comment: str) -> Response:
        opened = await self._bureau.source.open(order.sources[0].ref)
        try:
            await self._checked(call, opened, Plan(limits=self._bureau.dialect.settings.limits))
            kind = sniffed(os.pread(opened.descriptor, SNIFFED_BYTES, 0))
            if kind not in READABLE:
                raise SourceUnusable("the file is no picture of a format that is kept", fix="use JPEG, PNG or WebP")
            return await self._kept(opened, kind, owner, comment)
        finally:
            opened.close()

    async def _kept(self, body: bytes | OpenSource, kind: Format, owner: str, comment: str = "") -> Response:
        kept = await self._bureau.results.put(body, kind, owner, comment)
        link = self._bureau.links.of(kept)
        # The one link is https where the server's public address is, and there is no other address.
        return responses.success(link, link, kept.id)

    async def _forgotten(self, link: str, owner: str) -> Response:
        media_id = self._bureau.links.id_in(link)
        if media_id is None or not await self._bureau.results.delete(media_id, owner):
            # One text whether it never was, is gone, or belongs to another key.
            raise NotFound("link: there is no stored result of this key at that link", parameter="link")
        return responses.deleted()


def _box(face: Face, size: Size) -> Box:
    """The face in whole pixels of the upright picture."""
    left, width = Fraction(face.left) * size.width, Fraction(face.width) * size.width
    top, height = Fraction(face.top) * size.height, Fraction(face.height) * size.height
    return Box(round_half_up(left), round_half_up(top), length(width), length(height))


def _with_warnings(answer: Response, warnings: tuple[RequestWarning, ...]) -> Response:
    return replace(answer, headers=(*answer.headers, *warning_headers(warnings)))


async def _unless_gone(call: PixLabCall, work: Coroutine[Any, Any, T]) -> T:
    """What the work brings; dropped, with Gone, when the client hangs up: the server does not cancel us."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(hung_up(call.receive))
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
