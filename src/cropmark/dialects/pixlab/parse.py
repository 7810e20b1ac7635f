"""A request to an endpoint becomes a typed request: its fields are read, its source is named, its Order is made.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final, assert_never

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.params import ParsedParams, parse_params
from cropmark.dialects.pixlab import params
from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.dialects.pixlab.image_field import Base64Text, decode_base64, read_image
from cropmark.dialects.pixlab.output import output
from cropmark.dialects.pixlab.query import parse_fields
from cropmark.dialects.pixlab.steps import crop_step, resize_step, smart_resize_step, truncation_warnings
from cropmark.model.problems import BadRequest
from cropmark.plan.plan import Delivery, Limits, Order, Output, Plan
from cropmark.plan.source import SourceRequest, UploadRef
from cropmark.plan.steps import Crop, Resize

_MAX_RESIZE_SIDE: Final = 10_000


@dataclass(frozen=True, slots=True)
class RenderImage:
    """Render an image, then send it (`blob`) or store it and return its link."""

    order: Order
    blob: bool


@dataclass(frozen=True, slots=True)
class FindFaces:
    """Find the faces in the source of an order without steps; return their boxes, or their number if `count`."""

    order: Order
    count: bool


@dataclass(frozen=True, slots=True)
class StoreUpload:
    """Store an upload unchanged, after a check that it is an image."""

    order: Order
    comment: str


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """Delete a stored result by its link."""

    link: str


PixLabRequest = RenderImage | FindFaces | StoreUpload | DeleteResult


def parse_request(endpoint: EndpointName, request: ImageRequest, limits: Limits) -> PixLabRequest:
    """The typed request to an endpoint.

    Raises BadRequest for fields that are missing or unusable, SourceForbidden for an `img` with another URL scheme.
    """
    parsed = parse_params(params.parameters_of(endpoint), parse_fields(request))
    match endpoint:
        case EndpointName.CROP | EndpointName.SMARTCROP | EndpointName.CROPGIF:
            return _render_request(endpoint, crop_step(parsed), parsed, request, limits)
        case EndpointName.RESIZE | EndpointName.RESIZEGIF:
            return _render_request(endpoint, resize_step(parsed), parsed, request, _resize_limits(limits))
        case EndpointName.SMARTRESIZE:
            return _render_request(endpoint, smart_resize_step(parsed), parsed, request, _resize_limits(limits))
        case EndpointName.FACEDETECT:
            plan = Plan(output=Output(first_frame=True), limits=limits)
            return FindFaces(_order(_image_source(parsed, request), plan), params.COUNT.of(parsed) or False)
        case EndpointName.STORE:
            return StoreUpload(_order(_upload_source(request), None), params.COMMENT.of(parsed) or "")
        case EndpointName.DELETE:
            return DeleteResult(_link(parsed))
        case _:
            assert_never(endpoint)


def _resize_limits(limits: Limits) -> Limits:
    # Judgement: the output has the pixel limit of the input, 100 megapixels, in any proportions.
    return replace(limits, side=min(limits.side, _MAX_RESIZE_SIDE))


def _render_request(
    endpoint: EndpointName, step: Crop | Resize, parsed: ParsedParams, request: ImageRequest, limits: Limits
) -> RenderImage:
    plan = Plan((step,), output(endpoint), limits=limits)
    order = replace(_order(_image_source(parsed, request), plan), warnings=truncation_warnings(parsed))
    return RenderImage(order, params.BLOB.of(parsed) or False)


def _order(source: SourceRequest, plan: Plan | None) -> Order:
    return Order((source,), plan, Delivery(private=True, untrusted=True))


# --------------------------------------------------------------------------------- the source


def _image_source(parsed: ParsedParams, request: ImageRequest) -> SourceRequest:
    """The upload sent with the request, else the source that `img` names."""
    if request.upload is not None:
        return _upload_source(request)
    text = params.IMG.of(parsed)
    if text is None:
        raise BadRequest(
            "img: expected an image, got none", fix="give a URL, base64, or an upload named file", parameter="img"
        )
    found = read_image(text)
    if isinstance(found, Base64Text):
        return SourceRequest(UploadRef(_digest(found)), parameter="img")
    return SourceRequest(found, parameter="img")


def _upload_source(request: ImageRequest) -> SourceRequest:
    if request.upload is None:
        raise BadRequest("file: expected an upload, got none", fix="send the image as the part file", parameter="file")
    return SourceRequest(UploadRef(request.upload), parameter="file")


def _digest(text: Base64Text) -> str:
    """The SHA-256 of the decoded bytes, which names the upload."""
    digest = hashlib.sha256()
    for piece in decode_base64((text.text,)):
        digest.update(piece)
    return digest.hexdigest()


def _link(parsed: ParsedParams) -> str:
    link = params.LINK.of(parsed)
    if link is None:
        raise BadRequest(
            "link: expected the link of a stored result, got none", fix="write link=https://…", parameter="link"
        )
    return link.strip()
