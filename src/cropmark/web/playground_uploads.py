"""Serves the playground's requests with an image in the body. The image is deleted at the end of the request.

The query of such a request is `url=` and a URL of this server. The image in the body replaces the image at that URL; if
it is the URL of an endpoint, the image is the endpoint's input.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from cropmark.explanation import Explanation, draw_analysis, explain_request, with_sources
from cropmark.model.problems import BadRequest, NotFound, SourceTooLarge
from cropmark.pipeline import info_order
from cropmark.plan.plan import Order
from cropmark.plan.source import SourceRef, UploadRef
from cropmark.ports import OpenSource, Source, SourceVersion
from cropmark.runtime.reads import read_source
from cropmark.web.body_reader import page_body
from cropmark.web.explain_pages import ExplainedRequest, explained_url, explanation_json
from cropmark.web.pages.layout import PAGE_HEADERS
from cropmark.web.response import server_timing
from cropmark.web.sign_in import check_same_origin, rejection

if TYPE_CHECKING:
    from cropmark.web.admin_context import AdminContext

MAX_UPLOAD_BYTES: Final = 50 * 2**20


@dataclass(frozen=True, slots=True)
class _Sent:
    """A playground request with its upload. The Order in `told` refers to the upload, and `source` opens it."""

    asked: ExplainedRequest
    told: Explanation
    source: Source

    @property
    def order(self) -> Order:
        """The Order of the request.

        Raises the Problem of the request, and BadRequest if its response is not an image, such as a redirect.
        """
        if self.told.problem is not None:
            raise self.told.problem
        if self.told.order is None:
            raise BadRequest("this URL returns no image", fix="use another query")
        return self.told.order


async def uploaded_rendition(context: AdminContext, request: Request) -> Response:
    """Respond to POST /_playground/render?url=/fastly/photo.jpg?width=100 with the rendition."""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        return await _delivered(context, sent.source, sent.order)


async def uploaded_explanation(context: AdminContext, request: Request) -> Response:
    """Respond to POST /_playground/explain?url=… with the explanation as JSON."""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        told = await with_sources(sent.told, sent.source, context.renderers, context.pipeline)
        return context.json(await explanation_json(context, sent.asked, told))


async def uploaded_analysis(context: AdminContext, request: Request) -> Response:
    """Respond to POST /_playground/analysis?url=… with a PNG of the image, its faces, its saliency and the crop."""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        png = await draw_analysis(sent.told, sent.source, context.renderers, context.pipeline)
    return Response(png, media_type="image/png", headers=PAGE_HEADERS)


async def uploaded_info(context: AdminContext, request: Request) -> Response:
    """Respond to POST /_playground/info?url=… with the facts about the image, as /_info does."""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        return await _delivered(context, sent.source, info_order(sent.order))


async def _refused(context: AdminContext, request: Request) -> Response | None:
    """The response that rejects the request; None if the client may use the playground.

    Raises like rejection(), and Forbidden if the page of another website made the request.
    """
    refused = await rejection(context, request)
    if refused is None:
        check_same_origin(request)
    return refused


@asynccontextmanager
async def _sent(context: AdminContext, request: Request) -> AsyncIterator[_Sent]:
    """Store the image in the body, and yield the request. The image is deleted at the end of the block."""
    if context.uploads is None:
        raise NotFound("this server accepts no uploads of the playground", fix="choose an image of the folder")
    asked = explained_url(context, request, request.scope["query_string"], endpoints=True)
    upload = context.uploads.new_writer(MAX_UPLOAD_BYTES)
    too_large = SourceTooLarge(f"expected an image of at most {MAX_UPLOAD_BYTES:,} bytes", fix="send a smaller one")
    try:
        async for piece in page_body(request.receive, MAX_UPLOAD_BYTES, too_large):
            upload.write(piece)
        ref = upload.finish()
        asked = replace(asked, request=replace(asked.request, upload=ref.digest))
        told = explain_request(
            asked.site.dialect, asked.request, lambda order: _with_upload(asked.site.adapted(order), ref)
        )
        yield _Sent(asked, told, _WithUpload(context.uploads, asked.site.source))
    finally:
        upload.discard()


def _with_upload(order: Order, ref: UploadRef) -> Order:
    first = replace(order.sources[0], ref=ref)
    delivery = replace(order.delivery, private=True, untrusted=True)
    return replace(order, sources=(first, *order.sources[1:]), delivery=delivery)


async def _delivered(context: AdminContext, source: Source, order: Order) -> Response:
    delivered = await context.pipeline.deliver(source, order)
    body = delivered.body
    if delivered.source is not None:
        body = await asyncio.to_thread(_content, delivered.source)
    timing = server_timing(delivered.cache_status, delivered.timing).decode()
    headers = {**PAGE_HEADERS, "server-timing": timing}
    return Response(body, media_type=delivered.record.media_type, headers=headers)


class _WithUpload:
    """A source that opens uploads from `uploads`, and all other images from `others`, the source of the site."""

    def __init__(self, uploads: Source, others: Source) -> None:
        self._uploads, self._others = uploads, others

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        return self._of(ref).stat(ref)

    async def open(self, ref: SourceRef) -> OpenSource:
        return await self._of(ref).open(ref)

    def identity(self, ref: SourceRef) -> str:
        return self._of(ref).identity(ref)

    def purge(self, prefix: str) -> None:
        """Do nothing: the upload ends with its request."""

    async def close(self) -> None:
        """Do nothing: the sources are closed by their owners."""

    def _of(self, ref: SourceRef) -> Source:
        return self._uploads if isinstance(ref, UploadRef) else self._others


def _content(source: OpenSource) -> bytes:
    try:
        return read_source(source)
    finally:
        source.close()
