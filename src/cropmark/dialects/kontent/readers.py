"""The readers of Kontent.ai's parameters. A reader turns text into a typed value, or raises BadValue.

Source: https://kontent.ai/learn/docs/apis/image-transformation-api
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final, TypeVar

from cropmark.dialects import grammar
from cropmark.model.formats import Format
from cropmark.model.problems import BadValue
from cropmark.model.values import Color, Length, Pixels, Share
from cropmark.plan.plan import EncodingChoice, TriState
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import Dimensions, Offset

T = TypeVar("T")


class FitWord(Enum):
    """The values of `fit`, which decides how the image fits the box of w and h."""

    CLIP = "clip"
    SCALE = "scale"
    CROP = "crop"


class CropWord(Enum):
    """The values of `crop`, which decides where fit=crop is centered."""

    FOCAL_POINT = "focalpoint"
    SMART = "smart"


@dataclass(frozen=True, slots=True)
class Rect:
    """The value of `rect`: the region to which the image is cropped before all other Steps."""

    x: Offset
    y: Offset
    area: Dimensions


_FROM_GIF = SourceFilter(frozenset({Format.GIF}))
_FROM_WEBP = SourceFilter(frozenset({Format.WEBP}))

WEBP: Final = EncodingChoice(Format.WEBP, skipped_for=(_FROM_GIF,))
"""The choice of WebP. It does not apply to a GIF, which never becomes WebP."""

# fmt: off
ENCODINGS: Final[Mapping[str, tuple[EncodingChoice, ...]]] = {
    # A GIF stays animated as a GIF, an animated WebP only as WebP.
    "gif":  (EncodingChoice(Format.GIF, skipped_for=(_FROM_WEBP,)), EncodingChoice(Format.GIF, first_frame=True)),
    "png":  (EncodingChoice(Format.PNG),),
    "png8": (EncodingChoice(Format.PNG, palette=True),),
    "jpg":  (EncodingChoice(Format.JPEG),),
    "jpeg": (EncodingChoice(Format.JPEG),),   # what unpic writes for its format: "jpg"
    "pjpg": (EncodingChoice(Format.JPEG, progressive=TriState.YES),),
    "webp": (WEBP,),
}
# fmt: on
FITS: Final = {word.value: word for word in FitWord}
CROPS: Final = {word.value: word for word in CropWord}
LOSSLESS: Final = {"1": TriState.YES, "true": TriState.YES, "0": TriState.NO, "false": TriState.NO}


def read_side(parameter: str, text: str) -> Length:
    """The length of w or h, above 0: `300` is in pixels, `0.1` is a tenth of the side."""
    return _length(read_above_zero(parameter, text))


def read_rect(parameter: str, text: str) -> Rect:
    """Read ``x,y,width,height``. A number between 0 and 1 is a fraction of the side, any other is in pixels.

    `1,1,0.7,0.7` has its corner at (1, 1), and 70 % of the width and of the height.
    """
    numbers = [number for part in text.split(",", 4) if (number := _decimal(part)) is not None and number >= 0]
    if text.count(",") != 3 or len(numbers) != 4 or 0 in numbers[2:]:
        raise BadValue(parameter, text, expected="x,y,width,height of numbers, width and height above 0")
    x, y, width, height = map(_length, numbers)
    return Rect(Offset(x), Offset(y), Dimensions(width, height))


def read_background(parameter: str, text: str) -> Color:
    """A color in hex digits, with alpha first: `C0D`, `f00f` (opaque blue), `00ff00`, `6600ff00`.

    A leading `#` is dropped.
    """
    parts = grammar.parse_hex(text.removeprefix("#"))
    if parts is None:
        raise BadValue(parameter, text, expected="3, 4, 6 or 8 hex digits: RGB, ARGB, RRGGBB or AARRGGBB")
    *alpha, red, green, blue = parts
    return Color(red, green, blue, *alpha)


def read_auto(parameter: str, text: str) -> bool:
    """True for a comma-separated list with `format`. Raises BadValue for a list without it.

    Other words in the list, such as the `webp` that old SDKs add, have no effect.
    """
    if "format" not in (word.strip() for word in text.lower().split(",")):
        raise BadValue(parameter, text, expected="format")
    return True


def word_reader(words: Mapping[str, T]) -> Callable[[str, str], T]:
    """A reader that accepts one of the `words`, in upper or lower case, and returns its value."""
    return lambda parameter, text: grammar.read_word(parameter, text.lower(), words)


def read_number(parameter: str, text: str) -> Fraction:
    """A number with an optional sign. query.py clamps it to the range of its parameter."""
    number = _decimal(text)
    if number is None:
        raise BadValue(parameter, text, expected="a number")
    return number


def read_above_zero(parameter: str, text: str) -> Fraction:
    """A number above 0."""
    number = _decimal(text)
    if number is None or number <= 0:
        raise BadValue(parameter, text, expected="a number above 0")
    return number


def read_zoom(parameter: str, text: str) -> Fraction:
    """A number of at least 1."""
    number = _decimal(text)
    if number is None or number < 1:
        raise BadValue(parameter, text, expected="a number of at least 1")
    return number


def _decimal(text: str) -> Fraction | None:
    # The shared reader also accepts `12.`, which this dialect does not.
    return None if text.endswith(".") else grammar.parse_decimal(text, signed=True)


def _length(number: Fraction) -> Length:
    return Share(number) if 0 < number < 1 else Pixels(number)
