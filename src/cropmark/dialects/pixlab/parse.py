"""Parses a request to an endpoint into one of the PixLabRequest types.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, assert_never

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.params import ParsedParams, parse_params
from cropmark.dialects.pixlab import params
from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.dialects.pixlab.image_field import Base64Text, decode_base64, read_image
from cropmark.dialects.pixlab.output import READS, output
from cropmark.dialects.pixlab.query import parse_fields
from cropmark.dialects.pixlab.steps import (
    crop_step,
    exact_step,
    proportional_step,
    resize_step,
    scale_step,
    smart_resize_step,
    truncation_warnings,
)
from cropmark.model.problems import BadRequest
from cropmark.plan.plan import Delivery, Limits, Order, Output, Plan
from cropmark.plan.source import SourceRequest, UploadRef, WebUrl
from cropmark.plan.steps import Crop, Resize

_MAX_RESIZE_SIDE: Final = 10_000
_WEBFIT: Final = (320, 240)
"""Width and height "set respectively to 320 and 240". Source: https://pixlab.io/endpoints/webfit"""


@dataclass(frozen=True, slots=True)
class RenderImage:
    """A request to render an image.

    If `blob`, the response is the image. Otherwise the image is stored, and the response has its link.
    """

    order: Order
    blob: bool


@dataclass(frozen=True, slots=True)
class FindFaces:
    """A request to find the faces in an image: their boxes, or only their number if `count`."""

    order: Order
    count: bool


@dataclass(frozen=True, slots=True)
class StoreUpload:
    """A request to store an upload unchanged, after a check that it is an image."""

    order: Order
    comment: str


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """A request to delete the stored result with this link."""

    link: str


PixLabRequest = RenderImage | FindFaces | StoreUpload | DeleteResult


def parse_request(endpoint: EndpointName, request: ImageRequest, limits: Limits) -> PixLabRequest:
    """Parse a request to this endpoint.

    Raises BadRequest for fields that are missing or unusable, SourceForbidden for an `img` with a URL that is neither
    http nor https.
    """
    parsed = parse_params(params.parameters_of(endpoint), parse_fields(request))
    match endpoint:
        case EndpointName.CROP | EndpointName.SMARTCROP | EndpointName.CROPGIF:
            return _render_request(endpoint, crop_step(parsed), parsed, request, limits)
        case EndpointName.RESIZE | EndpointName.RESIZEGIF | EndpointName.THUMBNAIL:
            return _render_request(endpoint, resize_step(parsed), parsed, request, _resize_limits(limits))
        case EndpointName.SMARTRESIZE:
            return _render_request(endpoint, smart_resize_step(parsed), parsed, request, _resize_limits(limits))
        case EndpointName.SCALE:
            return _render_request(endpoint, scale_step(parsed), parsed, request, _resize_limits(limits))
        case EndpointName.MINIFY:
            return _render_request(endpoint, proportional_step(Fraction(1, 2)), parsed, request, limits)
        case EndpointName.MAGNIFY:
            return _render_request(endpoint, proportional_step(Fraction(2)), parsed, request, _resize_limits(limits))
        case EndpointName.WEBFIT:
            return _render_request(endpoint, exact_step(*_WEBFIT), parsed, request, limits)
        case EndpointName.MERGE:
            return _merge_request(parsed, limits)
        case EndpointName.FACEDETECT:
            plan = Plan(output=Output(first_frame=True), reads=READS, limits=limits)
            return FindFaces(_order((_image_source(parsed, request),), plan), params.COUNT.of(parsed) or False)
        case EndpointName.STORE:
            return StoreUpload(_order((_upload_source(request),), None), params.COMMENT.of(parsed) or "")
        case EndpointName.DELETE:
            return DeleteResult(_link(parsed))
        case _:
            assert_never(endpoint)


def _resize_limits(limits: Limits) -> Limits:
    # Judgement: the result may have as many pixels as a source, 100 megapixels, in any proportions.
    return replace(limits, side=min(limits.side, _MAX_RESIZE_SIDE))


def _render_request(
    endpoint: EndpointName, step: Crop | Resize, parsed: ParsedParams, request: ImageRequest, limits: Limits
) -> RenderImage:
    plan = Plan((step,), output(endpoint), reads=READS, limits=limits)
    order = replace(_order((_image_source(parsed, request),), plan), warnings=truncation_warnings(parsed))
    return RenderImage(order, params.BLOB.of(parsed) or False)


def _merge_request(parsed: ParsedParams, limits: Limits) -> RenderImage:
    """The request to draw the images of `cord` on the image `src`.

    An image that `cord` names twice becomes one source.
    """
    base, images = params.SRC.of(parsed), params.CORD.of(parsed)
    if base is None:
        raise _missing(params.SRC.name, "a URL", 'write "src": "https://…"')
    if images is None:
        raise _missing(params.CORD.name, "an array of images", 'write "cord": [{"img": "https://…", "x": 0, "y": 0}]')
    named: dict[WebUrl, SourceRequest] = {}
    for image in images:
        named.setdefault(image.url, SourceRequest(image.url, parameter=f"{image.place}.img"))
    sources = (SourceRequest(base, parameter=params.SRC.name), *named.values())
    numbers = {url: number for number, url in enumerate(named, start=1)}
    steps = tuple(image.step(numbers[image.url]) for image in images)
    order = _order(sources, Plan(steps, output(EndpointName.MERGE), reads=READS, limits=limits))
    warnings = tuple(warning for image in images for warning in image.warnings)
    return RenderImage(replace(order, warnings=warnings), params.BLOB.of(parsed) or False)


def _missing(name: str, expected: str, fix: str) -> BadRequest:
    return BadRequest(f"{name}: expected {expected}, got none", fix=fix, parameter=name)


def _order(sources: tuple[SourceRequest, ...], plan: Plan | None) -> Order:
    return Order(sources, plan, Delivery(private=True, untrusted=True))


# --------------------------------------------------------------------------------- the source


def _image_source(parsed: ParsedParams, request: ImageRequest) -> SourceRequest:
    """The source of the image: the upload in the request, else the image in the field `img`."""
    if request.upload is not None:
        return _upload_source(request)
    text = params.IMG.of(parsed)
    if text is None:
        raise BadRequest(
            "img: expected an image, got none", fix="send a URL, base64, or an upload named file", parameter="img"
        )
    found = read_image(text)
    if isinstance(found, Base64Text):
        return SourceRequest(UploadRef(_digest(found)), parameter="img")
    return SourceRequest(found, parameter="img")


def _upload_source(request: ImageRequest) -> SourceRequest:
    if request.upload is None:
        raise BadRequest(
            "file: expected an upload, got none",
            fix="send the image as the part named file of a multipart body",
            parameter="file",
        )
    return SourceRequest(UploadRef(request.upload), parameter="file")


def _digest(text: Base64Text) -> str:
    """The SHA-256 of the decoded image in hex, which identifies the upload."""
    digest = hashlib.sha256()
    for piece in decode_base64((text.text,)):
        digest.update(piece)
    return digest.hexdigest()


def _link(parsed: ParsedParams) -> str:
    link = params.LINK.of(parsed)
    if link is None:
        raise _missing(params.LINK.name, "the link of a stored result", "write link=https://…")
    return link.strip()
