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
from cropmark.dialects.dialect import Ask
from cropmark.dialects.params import Asked, Row, asked_of
from cropmark.dialects.pixlab import params
from cropmark.dialects.pixlab.endpoints import Endpoint
from cropmark.dialects.pixlab.steps import Base64Text, decoded_base64, picture_input
from cropmark.model.formats import READABLE, Format
from cropmark.model.problems import BadOrder
from cropmark.model.values import Pixels
from cropmark.plan.plan import Choice, Delivery, Keep, Limits, Order, Output, Plan, Tell, Warned
from cropmark.plan.source import Kind, Upload, Wanted
from cropmark.plan.steps import Area, At, Crop, Fit, Overflow, Resize

KEY_HEADER: Final = "www-authenticate"


@dataclass(frozen=True, slots=True)
class MakePicture:
    """A picture to be made, and sent as it is (`blob`) or kept and told by its link."""

    order: Order
    blob: bool


@dataclass(frozen=True, slots=True)
class FindFaces:
    """Faces to be found in the picture of an order without steps, and told as boxes or as their number."""

    order: Order
    count: bool


@dataclass(frozen=True, slots=True)
class KeepUpload:
    """An upload to be kept as it came, once it is known to be a picture."""

    order: Order
    comment: str


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """A stored result to be removed, by the link that it was told by."""

    link: str


Request = MakePicture | FindFaces | KeepUpload | ForgetResult


def key_of(ask: Ask) -> str | None:
    """The caller's key: the field, else the header WWW-Authenticate; None where both are missing or empty.

    Raises BadOrder for a query past all bounds.
    """
    return texts_of(ask).get(params.KEY.name) or ask.headers.get(KEY_HEADER, "").strip() or None


def texts_of(ask: Ask) -> Mapping[str, str]:
    """The fields by name, those of the body before those of the query; blank ones are missing ones."""
    found = {**_filled(grammar.values(ask.query)), **_filled(ask.fields)}
    for name, alias in ((params.X.name, params.LEFT.name), (params.Y.name, params.TOP.name)):
        if name in found:
            found.pop(alias, None)
    return found


def _filled(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text.strip()}


def read(endpoint: Endpoint, ask: Ask, limits: Limits) -> Request:
    """What is asked of the endpoint.

    Raises BadOrder for fields that are missing or cannot be used, SourceRefused for an `img` of another scheme.
    """
    asked = asked_of(params.rows_of(endpoint), texts_of(ask))
    match endpoint:
        case Endpoint.CROP | Endpoint.SMARTCROP | Endpoint.CROPGIF:
            return _making(endpoint, _crop(asked), asked, ask, limits)
        case Endpoint.RESIZE | Endpoint.RESIZEGIF:
            return _making(endpoint, _resize(asked), asked, ask, _enlarging(limits))
        case Endpoint.SMARTRESIZE:
            return _making(endpoint, _smart_resize(asked), asked, ask, _enlarging(limits))
        case Endpoint.FACEDETECT:
            plan = Plan(output=Output(first_frame=True), limits=limits)
            return FindFaces(_order(_picture(asked, ask), plan), params.COUNT.of(asked) or False)
        case Endpoint.STORE:
            return KeepUpload(_order(_upload(ask), None), params.COMMENT.of(asked) or "")
        case Endpoint.DELETE:
            return ForgetResult(_link(asked))
        case _:
            assert_never(endpoint)


# --------------------------------------------------------------------------------- the plan


def _only(*formats: Format) -> tuple[Kind, ...]:
    """The kinds for which a choice is skipped that is meant for these formats alone."""
    return (Kind(READABLE - frozenset(formats)),)


STILL: Final = Output(
    choices=(
        Choice(quality=92, skipped_for=_only(Format.JPEG)),  # ImageMagick's default
        Choice(quality=85, lossless=Tell.AS_SOURCE, skipped_for=_only(Format.WEBP)),
        Choice(lossless=Tell.AS_SOURCE),
        Choice(Format.PNG),  # of what is read and not written
    ),
    keeps=frozenset({Keep.ICC}),
    first_frame=True,
)
MOVING: Final = Output(choices=(Choice(Format.GIF),))

_ALL_FRAMES: Final = (Endpoint.CROPGIF, Endpoint.RESIZEGIF)
_MOST_ENLARGED: Final = 10_000


def _enlarging(limits: Limits) -> Limits:
    # Judgement: no more may come out than may come in, 100 megapixels, whatever the proportions.
    return replace(limits, side=min(limits.side, _MOST_ENLARGED))


def _making(endpoint: Endpoint, step: Crop | Resize, asked: Asked, ask: Ask, limits: Limits) -> MakePicture:
    plan = Plan((step,), MOVING if endpoint in _ALL_FRAMES else STILL, limits=limits)
    order = replace(_order(_picture(asked, ask), plan), warnings=_cut_off(asked))
    return MakePicture(order, params.BLOB.of(asked) or False)


def _order(picture: Wanted, plan: Plan | None) -> Order:
    return Order((picture,), plan, Delivery(private=True, foreign=True))


def _crop(asked: Asked) -> Crop:
    """The box, cut to the picture; where nothing of it lies inside, it is refused."""
    x = _needed(params.X, asked, params.LEFT)
    y = _needed(params.Y, asked, params.TOP)
    width, height = _box(asked)
    return Crop(Area(_pixels(width), _pixels(height)), At(_pixels(x)), At(_pixels(y)), overflow=Overflow.CLIP_OR_REFUSE)


def _resize(asked: Asked) -> Resize:
    """Exactly the box, proportions ignored."""
    width, height = _box(asked)
    return Resize(_pixels(width), _pixels(height), Fit.STRETCH, enlarge=True)


def _smart_resize(asked: Asked) -> Resize:
    """All of the picture inside the box. A missing side takes the other's value, one of 0 is free."""
    width, height = _whole(params.WIDTH, asked), _whole(params.HEIGHT, asked)
    width, height = height if width is None else width, width if height is None else height
    if not width and not height:
        raise _no_size()
    return Resize(_pixels(width) if width else None, _pixels(height) if height else None, Fit.INSIDE, enlarge=True)


def _box(asked: Asked) -> tuple[int, int]:
    """Width and height; one that is missing or 0 takes the other's value."""
    width, height = _whole(params.WIDTH, asked), _whole(params.HEIGHT, asked)
    found = width or height, height or width
    if not found[0] or not found[1]:
        raise _no_size()
    return found[0], found[1]


def _no_size() -> BadOrder:
    return BadOrder("width, height: expected a number above 0 in one of them, got none", fix="write width=100")


def _needed(row: Row[Fraction], asked: Asked, alias: Row[Fraction]) -> int:
    found = _whole(row, asked)
    if found is None:
        found = _whole(alias, asked)
    if found is None:
        raise BadOrder(f"{row.name}: expected a whole number, got none", fix=f"write {row.name}=0", parameter=row.name)
    return found


def _whole(row: Row[Fraction], asked: Asked) -> int | None:
    """The row's number, its fraction cut off as PHP and ImageMagick do."""
    number = row.of(asked)
    return None if number is None else int(number)


def _pixels(count: int) -> Pixels:
    return Pixels(Fraction(count))


def _cut_off(asked: Asked) -> tuple[Warned, ...]:
    rows = (params.X, params.Y, params.LEFT, params.TOP, params.WIDTH, params.HEIGHT)
    numbers = ((row.name, row.of(asked)) for row in rows)
    return tuple(
        Warned(name, f"{grammar.plain(number)} counts as {int(number)}")
        for name, number in numbers
        if number is not None and number.denominator != 1
    )


# --------------------------------------------------------------------------------- the picture


def _picture(asked: Asked, ask: Ask) -> Wanted:
    """The upload that came with the request, else what `img` holds."""
    if ask.upload is not None:
        return _upload(ask)
    text = params.IMG.of(asked)
    if text is None:
        raise BadOrder(
            "img: expected a picture, got none", fix="give a URL, base64, or an upload named file", parameter="img"
        )
    found = picture_input(text)
    if isinstance(found, Base64Text):
        return Wanted(Upload(_digest(found)), parameter="img")
    return Wanted(found, parameter="img")


def _upload(ask: Ask) -> Wanted:
    if ask.upload is None:
        raise BadOrder("file: expected an upload, got none", fix="send the picture as the part file", parameter="file")
    return Wanted(Upload(ask.upload), parameter="file")


def _digest(text: Base64Text) -> str:
    """The name that the bytes go by, for whoever has not decoded them yet."""
    digest = hashlib.sha256()
    for piece in decoded_base64((text.text,)):
        digest.update(piece)
    return digest.hexdigest()


def _link(asked: Asked) -> str:
    link = params.LINK.of(asked)
    if link is None:
        raise BadOrder(
            "link: expected the link of a stored result, got none", fix="write link=https://…", parameter="link"
        )
    return link.strip()
