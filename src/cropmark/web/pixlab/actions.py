"""Runs checked PixLab requests: renders an image, finds faces, stores an upload, or deletes a stored result.

The caller has checked the key and the fields, and has stored an image from the request's body as an upload.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, assert_never

from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.dialects.pixlab import responses
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.parse import DeleteResult, FindFaces, PixLabRequest, RenderImage, StoreUpload
from cropmark.dialects.responses import ALLOW_ANY_ORIGIN, warning_headers
from cropmark.geometry.findings import Face
from cropmark.geometry.limits import check_source
from cropmark.geometry.rounding import round_half_up, round_side
from cropmark.model.formats import READABLE, TRAITS, Format
from cropmark.model.problems import InternalError, NotFound, SourceUnusable
from cropmark.model.values import Box, Size
from cropmark.pipeline import Pipeline, RequestContext
from cropmark.plan.plan import Order, Plan, RequestWarning
from cropmark.ports import Limiter, OpenSource, ResultStore, Source, Timing, UploadStore
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.reads import read_source, source_format
from cropmark.web.client_ip import ClientIp
from cropmark.web.deps import Shutdown
from cropmark.web.pixlab.results import ResultUrls
from cropmark.web.request import Receive, Scope, unless_disconnected

MIN_FACE_SCORE: Final = 0.8
"""Lowest detector score of a face that is returned; the dialect has no field for the score."""

KeyOwners = Callable[[str], Awaitable[str | None]]
"""Returns the owner of a key, as an id that does not contain the key; None for an unknown key."""


@dataclass(frozen=True, slots=True)
class PixLabContext:
    """The dependencies and settings of PixLab's endpoints. `source` opens uploads and web URLs."""

    dialect: PixLab
    pipeline: Pipeline
    source: Source
    uploads: UploadStore
    results: ResultStore
    result_urls: ResultUrls
    owner_of_key: KeyOwners
    limiter: Limiter
    metrics: Metrics
    shutdown: Shutdown
    client_ip: ClientIp
    requests_per_minute: int = 0
    """Requests of one client address in a minute; 0: no limit."""
    access_log: bool = True
    development: bool = True
    """True: responses warn of misspelt fields."""


@dataclass(slots=True)
class PixLabCall:
    """A PixLab request in progress, with the values for its log line."""

    scope: Scope
    receive: Receive
    cleanup: ExitStack
    request: ImageRequest
    id: str = ""
    """The id of the response and of its line in the log."""
    logged_image: str = ""
    """Description of the image for the log, without its URL path, its query or its bytes."""
    cache: str = "none"
    timing: Timing = Timing()


class Actions:
    """Runs each type of PixLab request."""

    def __init__(self, context: PixLabContext) -> None:
        self._context = context

    async def run(self, call: PixLabCall, request: PixLabRequest, owner: str) -> Response:
        """Run the request and return its response. Raises Problems and ClientDisconnected.

        `owner` is the owner of the API key: stored results belong to it.
        """
        match request:
            case RenderImage(order, blob):
                return await self._render(call, order, owner, blob=blob)
            case FindFaces(order, count):
                return await unless_disconnected(call.receive, self._find_faces(call, order, count=count))
            case StoreUpload(order, comment):
                return await self._store_upload(call, order, owner, comment)
            case DeleteResult(link):
                return await self._delete(link, owner)
            case _:
                assert_never(request)

    async def _render(self, call: PixLabCall, order: Order, owner: str, *, blob: bool) -> Response:
        body, format_, warnings = await unless_disconnected(call.receive, self._rendered(call, order))
        if not blob:
            return _with_warnings(await self._store(body, format_, owner), warnings)
        headers = (
            *ALLOW_ANY_ORIGIN,
            *warning_headers(warnings),
            *responses.blob_headers(secrets.token_urlsafe(12), format_),
            ("Cache-Control", "private, no-store"),
        )
        return Response(200, body, TRAITS[format_].media_type, headers)

    def _client(self, call: PixLabCall) -> str:
        return self._context.client_ip.resolve(call.scope)

    async def _rendered(self, call: PixLabCall, order: Order) -> tuple[bytes, Format, tuple[RequestWarning, ...]]:
        """The bytes of the result, its format, and the warnings.

        The bytes are those of the rendered image, or of the original if the pipeline returns that unchanged.
        """
        context = RequestContext(client=self._client(call))
        delivered = await self._context.pipeline.deliver(self._context.source, order, context)
        call.cache, call.timing = delivered.cache_status, delivered.timing
        try:
            body, format_ = delivered.body, delivered.record.facts.format
            if delivered.source is not None:
                body = await asyncio.to_thread(read_source, delivered.source)
        finally:
            if delivered.source is not None:
                delivered.source.close()
        if body is None or format_ not in READABLE:
            raise SourceUnusable(
                "the image has a format that this endpoint does not send", fix="use JPEG, PNG, WebP or GIF"
            )
        guesses = hints(self._context.dialect.name, call.request) if self._context.development else ()
        return body, format_, (*order.warnings, *delivered.record.warnings, *guesses)

    async def _find_faces(self, call: PixLabCall, order: Order, *, count: bool) -> Response:
        assert order.plan is not None
        opened = await self._context.source.open(order.sources[0].ref)
        try:
            size = await self._checked_size(call, opened, order.plan)
            # Not through the pipeline, which treats a failed analysis as no analysis: the caller gets the reason.
            renderers = self._context.pipeline.renderers
            analyzed = await renderers.analyze(opened, order.plan, untrusted=True, client=self._client(call))
        finally:
            opened.close()
        if analyzed.analysis is None:
            fix = "install cropmark[smart], with smart_crop = true"
            raise InternalError(f"face detection is not available: {analyzed.reason}", fix=fix)
        boxes = [_box(face, size) for face in analyzed.analysis.faces if face.score >= MIN_FACE_SCORE]
        return responses.faces_response(boxes, count=count)

    async def _checked_size(self, call: PixLabCall, opened: OpenSource, plan: Plan) -> Size:
        """The size of the upright image, within the limits of `plan`. Raises SourceUnusable, SourceTooLarge."""
        info = await self._context.pipeline.renderers.inspect(opened, untrusted=True, client=self._client(call))
        check_source(info, plan)
        return info.size

    async def _store_upload(self, call: PixLabCall, order: Order, owner: str, comment: str) -> Response:
        opened = await self._context.source.open(order.sources[0].ref)
        try:
            await self._checked_size(call, opened, Plan(limits=self._context.dialect.settings.limits))
            format_ = source_format(opened)
            if format_ not in READABLE:
                raise SourceUnusable("expected an image in a format that can be stored", fix="use JPEG, PNG or WebP")
            return await self._store(opened, format_, owner, comment)
        finally:
            opened.close()

    async def _store(self, body: bytes | OpenSource, format_: Format, owner: str, comment: str = "") -> Response:
        kept = await self._context.results.put(body, format_, owner, comment)
        link = self._context.result_urls.url(kept)
        # Both links are the same: the server has one public URL, with https or without.
        return responses.stored_response(link, link, kept.id)

    async def _delete(self, link: str, owner: str) -> Response:
        media_id = self._context.result_urls.id_from(link)
        if media_id is None or not await self._context.results.delete(media_id, owner):
            # The same text for an unknown id, a deleted result and another key's result.
            raise NotFound("link: no stored result of this API key has that link", parameter="link")
        return responses.deleted_response()


def _box(face: Face, size: Size) -> Box:
    """The box of a face, in whole pixels of the upright image."""
    left, width = Fraction(face.left) * size.width, Fraction(face.width) * size.width
    top, height = Fraction(face.top) * size.height, Fraction(face.height) * size.height
    return Box(round_half_up(left), round_half_up(top), round_side(width), round_side(height))


def _with_warnings(reply: Response, warnings: tuple[RequestWarning, ...]) -> Response:
    return replace(reply, headers=(*reply.headers, *warning_headers(warnings)))
