"""What a request to an endpoint asks for: its fields read, its picture named, its Plan made.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, assert_never

from cropmark.dialects import grammar
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.params import Parameter, ParsedParams, asked_of
from cropmark.dialects.pixlab import params
from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.dialects.pixlab.steps import Base64Text, decoded_base64, picture_input
from cropmark.model.formats import READABLE, Format
from cropmark.model.problems import BadRequest
from cropmark.model.values import Pixels
from cropmark.plan.plan import Choice, Delivery, KeepMetadata, Limits, Order, Output, Plan, RequestWarning, TriState
from cropmark.plan.source import SourceFilter, SourceRequest, UploadRef
from cropmark.plan.steps import Crop, Dimensions, Fit, Offset, Overflow, Resize

KEY_HEADER: Final = "www-authenticate"


@dataclass(frozen=True, slots=True)
class RenderImage:
    """A picture to be made, and sent as it is (`blob`) or kept and told by its link."""

    order: Order
    blob: bool


@dataclass(frozen=True, slots=True)
class FindFaces:
    """Faces to be found in the picture of an order without steps, and told as boxes or as their number."""

    order: Order
    count: bool


@dataclass(frozen=True, slots=True)
class StoreUpload:
    """An upload to be kept as it came, once it is known to be a picture."""

    order: Order
    comment: str


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """A stored result to be removed, by the link that it was told by."""

    link: str


Request = RenderImage | FindFaces | StoreUpload | DeleteResult


def key_of(ask: ImageRequest) -> str | None:
    """The caller's key: the field, else the header WWW-Authenticate; None where both are missing or empty.

    Raises BadOrder for a query past all bounds.
    """
    return texts_of(ask).get(params.KEY.name) or ask.headers.get(KEY_HEADER, "").strip() or None


def texts_of(ask: ImageRequest) -> Mapping[str, str]:
    """The fields by name, those of the body before those of the query; blank ones are missing ones."""
    found = {**_filled(grammar.values(ask.query)), **_filled(ask.fields)}
    for name, alias in ((params.X.name, params.LEFT.name), (params.Y.name, params.TOP.name)):
        if name in found:
            found.pop(alias, None)
    return found


def _filled(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text.strip()}


def read(endpoint: EndpointName, ask: ImageRequest, limits: Limits) -> Request:
    """What is asked of the endpoint.

    Raises BadOrder for fields that are missing or cannot be used, SourceRefused for an `img` of another scheme.
    """
    asked = asked_of(params.rows_of(endpoint), texts_of(ask))
    match endpoint:
        case EndpointName.CROP | EndpointName.SMARTCROP | EndpointName.CROPGIF:
            return _making(endpoint, _crop(asked), asked, ask, limits)
        case EndpointName.RESIZE | EndpointName.RESIZEGIF:
            return _making(endpoint, _resize(asked), asked, ask, _enlarging(limits))
        case EndpointName.SMARTRESIZE:
            return _making(endpoint, _smart_resize(asked), asked, ask, _enlarging(limits))
        case EndpointName.FACEDETECT:
            plan = Plan(output=Output(first_frame=True), limits=limits)
            return FindFaces(_order(_picture(asked, ask), plan), params.COUNT.of(asked) or False)
        case EndpointName.STORE:
            return StoreUpload(_order(_upload(ask), None), params.COMMENT.of(asked) or "")
        case EndpointName.DELETE:
            return DeleteResult(_link(asked))
        case _:
            assert_never(endpoint)


# --------------------------------------------------------------------------------- the plan


def _only(*formats: Format) -> tuple[SourceFilter, ...]:
    """The kinds for which a choice is skipped that is meant for these formats alone."""
    return (SourceFilter(READABLE - frozenset(formats)),)


STILL: Final = Output(
    choices=(
        Choice(quality=92, skipped_for=_only(Format.JPEG)),  # ImageMagick's default
        Choice(quality=85, lossless=TriState.AS_SOURCE, skipped_for=_only(Format.WEBP)),
        Choice(lossless=TriState.AS_SOURCE),
        Choice(Format.PNG),  # of what is read and not written
    ),
    keeps=frozenset({KeepMetadata.ICC}),
    first_frame=True,
)
MOVING: Final = Output(choices=(Choice(Format.GIF),))

_ALL_FRAMES: Final = (EndpointName.CROPGIF, EndpointName.RESIZEGIF)
_MOST_ENLARGED: Final = 10_000


def _enlarging(limits: Limits) -> Limits:
    # Judgement: no more may come out than may come in, 100 megapixels, whatever the proportions.
    return replace(limits, side=min(limits.side, _MOST_ENLARGED))


def _making(
    endpoint: EndpointName, step: Crop | Resize, asked: ParsedParams, ask: ImageRequest, limits: Limits
) -> RenderImage:
    plan = Plan((step,), MOVING if endpoint in _ALL_FRAMES else STILL, limits=limits)
    order = replace(_order(_picture(asked, ask), plan), warnings=_cut_off(asked))
    return RenderImage(order, params.BLOB.of(asked) or False)


def _order(picture: SourceRequest, plan: Plan | None) -> Order:
    return Order((picture,), plan, Delivery(private=True, untrusted=True))


def _crop(asked: ParsedParams) -> Crop:
    """The box, cut to the picture; where nothing of it lies inside, it is refused."""
    x = _needed(params.X, asked, params.LEFT)
    y = _needed(params.Y, asked, params.TOP)
    width, height = _box(asked)
    return Crop(
        Dimensions(_pixels(width), _pixels(height)),
        Offset(_pixels(x)),
        Offset(_pixels(y)),
        overflow=Overflow.CLIP_OR_REFUSE,
    )


def _resize(asked: ParsedParams) -> Resize:
    """Exactly the box, proportions ignored."""
    width, height = _box(asked)
    return Resize(_pixels(width), _pixels(height), Fit.STRETCH, enlarge=True)


def _smart_resize(asked: ParsedParams) -> Resize:
    """All of the picture inside the box. A missing side takes the other's value, one of 0 is free."""
    width, height = _whole(params.WIDTH, asked), _whole(params.HEIGHT, asked)
    width, height = height if width is None else width, width if height is None else height
    if not width and not height:
        raise _no_size()
    return Resize(_pixels(width) if width else None, _pixels(height) if height else None, Fit.INSIDE, enlarge=True)


def _box(asked: ParsedParams) -> tuple[int, int]:
    """Width and height; one that is missing or 0 takes the other's value."""
    width, height = _whole(params.WIDTH, asked), _whole(params.HEIGHT, asked)
    found = width or height, height or width
    if not found[0] or not found[1]:
        raise _no_size()
    return found[0], found[1]


def _no_size() -> BadRequest:
    return BadRequest("width, height: expected a number above 0 in one of them, got none", fix="write width=100")


def _needed(row: Parameter[Fraction], asked: ParsedParams, alias: Parameter[Fraction]) -> int:
    found = _whole(row, asked)
    if found is None:
        found = _whole(alias, asked)
    if found is None:
        raise BadRequest(
            f"{row.name}: expected a whole number, got none", fix=f"write {row.name}=0", parameter=row.name
        )
    return found


def _whole(row: Parameter[Fraction], asked: ParsedParams) -> int | None:
    """The row's number, its fraction cut off as PHP and ImageMagick do."""
    number = row.of(asked)
    return None if number is None else int(number)


def _pixels(count: int) -> Pixels:
    return Pixels(Fraction(count))


def _cut_off(asked: ParsedParams) -> tuple[RequestWarning, ...]:
    rows = (params.X, params.Y, params.LEFT, params.TOP, params.WIDTH, params.HEIGHT)
    numbers = ((row.name, row.of(asked)) for row in rows)
    return tuple(
        RequestWarning(name, f"{grammar.plain(number)} counts as {int(number)}")
        for name, number in numbers
        if number is not None and number.denominator != 1
    )


# --------------------------------------------------------------------------------- the picture


def _picture(asked: ParsedParams, ask: ImageRequest) -> SourceRequest:
    """The upload that came with the request, else what `img` holds."""
    if ask.upload is not None:
        return _upload(ask)
    text = params.IMG.of(asked)
    if text is None:
        raise BadRequest(
            "img: expected a picture, got none", fix="give a URL, base64, or an upload named file", parameter="img"
        )
    found = picture_input(text)
    if isinstance(found, Base64Text):
        return SourceRequest(UploadRef(_digest(found)), parameter="img")
    return SourceRequest(found, parameter="img")


def _upload(ask: ImageRequest) -> SourceRequest:
    if ask.upload is None:
        raise BadRequest(
            "file: expected an upload, got none", fix="send the picture as the part file", parameter="file"
        )
    return SourceRequest(UploadRef(ask.upload), parameter="file")


def _digest(text: Base64Text) -> str:
    """The name that the bytes go by, for whoever has not decoded them yet."""
    digest = hashlib.sha256()
    for piece in decoded_base64((text.text,)):
        digest.update(piece)
    return digest.hexdigest()


def _link(asked: ParsedParams) -> str:
    link = params.LINK.of(asked)
    if link is None:
        raise BadRequest(
            "link: expected the link of a stored result, got none", fix="write link=https://…", parameter="link"
        )
    return link.strip()
