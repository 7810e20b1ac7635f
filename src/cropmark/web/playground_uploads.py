"""Requests of the playground with the image in the body: rendered, explained, analyzed, and deleted at their end.

Their query is `url=` and a URL of this server: the URL of an image, which the body replaces, or of an endpoint.
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
    """A request with the image in its body. The Order in `told` names the upload, which `source` opens."""

    asked: ExplainedRequest
    told: Explanation
    source: Source

    @property
    def order(self) -> Order:
        """The Order. Raises the Problem of the explained request, BadRequest if it has a response of its own."""
        if self.told.problem is not None:
            raise self.told.problem
        if self.told.order is None:
            raise BadRequest("this URL returns no image", fix="use another query")
        return self.told.order


async def uploaded_rendition(context: AdminContext, request: Request) -> Response:
    """The rendition: POST /_playground/render?url=/fastly/photo.jpg?width=100."""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        return await _delivered(context, sent.source, sent.order)


async def uploaded_explanation(context: AdminContext, request: Request) -> Response:
    """The explanation as JSON: POST /_playground/explain?url=…"""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        told = await with_sources(sent.told, sent.source, context.renderers, context.pipeline)
        return context.json(await explanation_json(context, sent.asked, told))


async def uploaded_analysis(context: AdminContext, request: Request) -> Response:
    """The image with its faces, its saliency and the crop as a PNG: POST /_playground/analysis?url=…"""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        png = await draw_analysis(sent.told, sent.source, context.renderers, context.pipeline)
    return Response(png, media_type="image/png", headers=PAGE_HEADERS)


async def uploaded_info(context: AdminContext, request: Request) -> Response:
    """The facts about the image as /_info returns them: POST /_playground/info?url=…"""
    refused = await _refused(context, request)
    if refused is not None:
        return refused
    async with _sent(context, request) as sent:
        return await _delivered(context, sent.source, info_order(sent.order))


async def _refused(context: AdminContext, request: Request) -> Response | None:
    """The response to a client that may not use the page. Raises Forbidden for a request of another site's page."""
    refused = await rejection(context, request)
    if refused is None:
        check_same_origin(request)
    return refused


@asynccontextmanager
async def _sent(context: AdminContext, request: Request) -> AsyncIterator[_Sent]:
    """The request with its image, which is deleted at the end."""
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
    """Opens an uploaded image from `uploads`, and every other image from the site's source, `others`."""

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
        """Do nothing: the sources belong to others."""

    def _of(self, ref: SourceRef) -> Source:
        return self._uploads if isinstance(ref, UploadRef) else self._others


def _content(source: OpenSource) -> bytes:
    try:
        return read_source(source)
    finally:
        source.close()
