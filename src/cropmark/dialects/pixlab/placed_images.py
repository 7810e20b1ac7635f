"""Parses `cord`, a field of the endpoint merge: the images to draw on another image, and their positions.

Source: https://pixlab.io/cmd?id=merge
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from cropmark.dialects import grammar
from cropmark.dialects.pixlab.image_field import read_web_url
from cropmark.dialects.pixlab.json_body import JsonNumber, parse_exact
from cropmark.dialects.responses import one_line
from cropmark.model.problems import BadRequest
from cropmark.model.values import Pixels
from cropmark.plan.plan import RequestWarning
from cropmark.plan.source import WebUrl
from cropmark.plan.steps import Middle, Offset, Overlay

MAX_IMAGES: Final = 63
"""Largest number of images in `cord`: a render takes 64 sources, of which the first is `src`."""
_EXAMPLE: Final = '{"img": "https://…", "x": 30, "y": 320}'
_MEMBERS: Final = ("img", "x", "y", "center", "center_y")
_MAX_NAME: Final = 20
"""Longest name of an unknown member in a warning."""


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image of `cord` with its position.

    x is the position of its left edge, or of its middle with `center`. y is the position of its top edge, or of its
    middle with `center_y`. `place` names the image in messages, such as `cord[0]`.
    """

    place: str
    url: WebUrl
    x: Fraction
    y: Fraction
    center: bool
    center_y: bool
    unknown: str = ""
    """The name of the first member that is unknown; empty if all members are known."""

    def step(self, source: int) -> Overlay:
        """The Step that draws the image in its own size.

        `source` is the index of the image in the sources of the Order.
        """
        return Overlay(
            source,
            x=_placement(self.x, centered=self.center),
            y=_placement(self.y, centered=self.center_y),
            required=True,
            parameter=self.place,
        )

    @property
    def warnings(self) -> tuple[RequestWarning, ...]:
        """A warning for each coordinate with a fraction, which is cut off, and for an unknown member."""
        unknown = [RequestWarning(self.place, f"{self.unknown} has no effect")] if self.unknown else []
        return (
            *unknown,
            *(
                RequestWarning(f"{self.place}.{name}", f"{grammar.format_number(number)} counts as {int(number)}")
                for name, number in (("x", self.x), ("y", self.y))
                if number.denominator != 1
            ),
        )


def _placement(number: Fraction, *, centered: bool) -> Offset | Middle:
    distance = Pixels(Fraction(int(number)))
    return Middle(distance) if centered else Offset(distance)


def read_placed_images(parameter: str, text: str) -> tuple[PlacedImage, ...]:
    """The images of `cord`, a JSON array of objects, in the order in which they are drawn.

    Raises BadRequest for any other text, for a member that is missing or has a wrong type, and for more than MAX_IMAGES
    images. Raises SourceForbidden for a URL that is neither http nor https.
    """
    try:
        found = parse_exact(text)
    except (ValueError, RecursionError):
        found = text
    if not isinstance(found, list) or not found:
        raise _unexpected(parameter, "an array of objects", found, f"write [{_EXAMPLE}]")
    if len(found) > MAX_IMAGES:
        detail = f"{parameter}: expected at most {MAX_IMAGES} images, got {len(found)}"
        raise BadRequest(detail, fix="merge the others with the result, in a second request", parameter=parameter)
    return tuple(_placed_image(f"{parameter}[{at}]", member) for at, member in enumerate(found))


def _placed_image(place: str, value: object) -> PlacedImage:
    if not isinstance(value, dict):
        raise _unexpected(place, "an object", value, f"write {_EXAMPLE}")
    unknown = next((name for name in value if name not in _MEMBERS), "")
    return PlacedImage(
        place,
        _url(f"{place}.img", value.get("img")),
        _number(f"{place}.x", value.get("x")),
        _number(f"{place}.y", value.get("y")),
        _boolean(f"{place}.center", value.get("center")),
        _boolean(f"{place}.center_y", value.get("center_y")),
        one_line(unknown, _MAX_NAME),
    )


def _url(place: str, value: object) -> WebUrl:
    if not isinstance(value, str) or isinstance(value, JsonNumber) or not value.strip():
        raise _unexpected(place, "a URL of http or https", value, 'write "img": "https://…"')
    return read_web_url(place, value)


def _number(place: str, value: object) -> Fraction:
    number = grammar.parse_decimal(value.decimal_text(), signed=True) if isinstance(value, JsonNumber) else None
    if number is None:
        raise _unexpected(place, "a whole number", value, f'write "{place.rpartition(".")[2]}": 100')
    return number


def _boolean(place: str, value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _unexpected(place, "true or false", value, f'write "{place.rpartition(".")[2]}": true')
    return bool(value)


def _unexpected(place: str, expected: str, value: object, fix: str) -> BadRequest:
    return BadRequest(f"{place}: expected {expected}, got {_kind(value)}", fix=fix, parameter=place)


def _kind(value: object) -> str:
    """The value as text for a message: a number or boolean as it is, any other value as its type.

    Texts of callers must not get into logs.
    """
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case JsonNumber():
            return one_line(value, _MAX_NAME)
        case str():
            return "a text" if value.strip() else "an empty text"
        case list():
            return "an array" if value else "an empty array"
        case _:
            return "an object"
