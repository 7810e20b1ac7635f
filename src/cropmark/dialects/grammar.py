"""Readers that dialects share. A reader turns the text of a parameter into an exact value.

A `read_` function takes the parameter's name, for error messages, then its text. It raises BadValue, which has a fix.
A `parse_` function takes a text and returns None if the text does not match.
Digits are ASCII, numbers are exact, all lengths are bounded, and every function runs in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

from cropmark.dialects.suggestions import nearest
from cropmark.model.problems import BadRequest, BadValue
from cropmark.model.text import clean_text
from cropmark.model.values import Color, Length, Pixels, Ratio, Share
from cropmark.plan.steps import CENTERED, Align, Dimensions, Edges, Offset, Placement, Shape

MAX_QUERY_CHARS = 32_768
MAX_PAIRS = 256
MAX_NUMBER_CHARS = 40
MAX_ITEMS = 16

T = TypeVar("T")


# ------------------------------------------------------------------------------------------------ the query


def check_bounds(raw: str) -> str:
    """The raw query, unchanged. Raises BadRequest for more than MAX_QUERY_CHARS characters or MAX_PAIRS parameters."""
    if len(raw) > MAX_QUERY_CHARS:
        raise BadRequest(
            f"the query has {len(raw)} characters, more than {MAX_QUERY_CHARS}", fix="write a shorter query"
        )
    if raw.count("&") >= MAX_PAIRS:
        raise BadRequest(f"the query has more than {MAX_PAIRS} parameters", fix="leave out parameters without effect")
    return raw


def query_pairs(raw: str) -> tuple[tuple[str, str], ...]:
    """The names and values of a raw query, decoded, in order. A `+` becomes a blank.

    Leading question marks are skipped. Bytes that are not UTF-8 become U+FFFD, and so does NUL. Raises BadRequest for a
    query that is too long.
    """
    pairs = parse_qsl(check_bounds(raw).lstrip("?"), keep_blank_values=True, errors="replace")
    return tuple((clean_text(name), clean_text(text)) for name, text in pairs)


def query_values(raw: str) -> dict[str, str]:
    """The decoded texts of a raw query by name. If a parameter is repeated, its last text counts."""
    return dict(query_pairs(raw))


def is_blank(text: str) -> bool:
    """True if the text has only blanks and separators, which templates write for a missing value."""
    return not text.strip(" \t,:;")


def split_items(parameter: str, text: str) -> tuple[str, ...]:
    """The items of a comma-separated list, without surrounding blanks.

    Raises BadValue for more than MAX_ITEMS items.
    """
    if text.count(",") >= MAX_ITEMS:
        raise BadValue(parameter, text, expected=f"at most {MAX_ITEMS} items", fix="leave out items without effect")
    return tuple(item.strip(" \t") for item in text.split(","))


# ------------------------------------------------------------------------------------------------ numbers

_DECIMAL = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_WHOLE = re.compile(r"[0-9]+")


def parse_decimal(text: str, *, signed: bool = False) -> Fraction | None:
    """The exact number written as `12`, `12.5`, `12.` or `.5`, with a sign if `signed`; None for any other text."""
    # Not Fraction() or float() alone: they accept "1_000", " 5 ", "1e9", "3/4", full-width digits, and float() "nan".
    digits = text[1:] if signed and text[:1] in ("+", "-") else text
    if len(text) > MAX_NUMBER_CHARS or not _DECIMAL.fullmatch(digits):
        return None
    return Fraction(text)


def parse_whole(text: str) -> int | None:
    """The whole number that is written in digits without a sign; None for any other text."""
    return int(text) if len(text) <= MAX_NUMBER_CHARS and _WHOLE.fullmatch(text) else None


def read_number(parameter: str, text: str, least: Fraction | int, most: Fraction | int) -> Fraction:
    """A decimal number from `least` to `most`. A sign is allowed only if `least` is negative."""
    value = parse_decimal(text, signed=least < 0)
    if value is None or not least <= value <= most:
        raise _out_of_range(parameter, text, "a number", value, least, most)
    return value


def read_integer(parameter: str, text: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`, without a sign."""
    value = parse_whole(text)
    if value is None or not least <= value <= most:
        raise _out_of_range(parameter, text, "a whole number", value, least, most)
    return value


def _out_of_range(
    parameter: str, text: str, kind: str, value: Fraction | int | None, least: Fraction | int, most: Fraction | int
) -> BadValue:
    expected = f"{kind} from {format_number(least)} to {format_number(most)}"
    if value is None:
        return BadValue(parameter, text, expected=expected, fix="write such a number, or leave it out")
    nearest = most if value > most else least
    return BadValue(parameter, text, expected=expected, fix=f"write {format_number(nearest)} in place of {text}")


def format_number(value: Fraction | int) -> str:
    """The number as text for a message, such as `1` or `0.5`."""
    return str(int(value)) if value == int(value) else f"{float(value):g}"


# ------------------------------------------------------------------------------------------------ lengths

_LENGTH = "a length: pixels (200), a part of the side (0.5) or a percentage (50p)"


def read_length(parameter: str, text: str) -> Length:
    """A length in pixels (`200`), as a fraction of the side (`0.5`) or in percent of the side (`150p`)."""
    percent = text.endswith("p")
    value = parse_decimal(text.removesuffix("p"))
    if value is None:
        raise BadValue(parameter, text, expected=_LENGTH, fix="write 200, 0.5 or 50p")
    if percent:
        return Share(value / 100)
    return Share(value) if 0 < value < 1 else Pixels(value)


def read_extent(parameter: str, text: str, most_px: int | None = None) -> Length:
    """A length above 0. A length in pixels may be at most `most_px`."""
    length = read_length(parameter, text)
    if length.of(1) == 0:
        raise BadValue(parameter, text, expected="a length above 0", fix="leave it out, or write 200, 0.5 or 50p")
    if most_px is not None and isinstance(length, Pixels) and length.count > most_px:
        raise BadValue(parameter, text, expected=f"at most {most_px} pixels", fix=f"write {most_px} or less")
    return length


def read_ratio(parameter: str, text: str) -> Ratio:
    """A ratio of two decimal numbers above 0: `16:9`, `2.5:1`."""
    across, colon, down = text.partition(":")
    width, height = parse_decimal(across.strip(" ")), parse_decimal(down.strip(" "))
    if not (colon and width and height):
        raise BadValue(parameter, text, expected="a ratio of numbers above 0", fix="write it like 16:9")
    return Ratio(width, height)


def read_edges(parameter: str, text: str) -> Edges:
    """One to four lengths as in CSS: `all`, `vertical,horizontal`, `top,horizontal,bottom`, `top,right,bottom,left`."""
    parts = split_items(parameter, text)
    if len(parts) > 4:
        raise BadValue(parameter, text, expected="one to four lengths", fix="write top,right,bottom,left")
    lengths = [read_length(parameter, part) for part in parts]
    top = lengths[0]
    right = lengths[1] if len(lengths) > 1 else top
    bottom = lengths[2] if len(lengths) > 2 else top
    left = lengths[3] if len(lengths) > 3 else right
    return Edges(top, right, bottom, left)


# ------------------------------------------------------------------------------------------------ shapes and placements


def read_shape(parameter: str, text: str) -> tuple[Shape, tuple[str, ...]]:
    """The shape at the start of a comma-separated list, and the items after the shape.

    A shape is a ratio such as `4:3`, or a width and a height such as `640,480`.
    """
    parts = split_items(parameter, text)
    if ":" in parts[0]:
        return read_ratio(parameter, parts[0]), parts[1:]
    if len(parts) < 2:
        raise BadValue(parameter, text, expected="a width and a height, or a ratio", fix="write 640,480 or 4:3")
    return Dimensions(read_extent(parameter, parts[0]), read_extent(parameter, parts[1])), parts[2:]


def read_options(
    parameter: str, words: Collection[str], *, valued: Collection[str], flags: Collection[str] = ()
) -> dict[str, str]:
    """The options in a list by name: the words `offset-x10` and `safe` become {"offset-x": "10", "safe": ""}.

    A word is either one of the `flags`, or a name in `valued` followed by a value. Raises BadValue for an unknown
    option and for an option that is repeated with a different value.
    """
    options: dict[str, str] = {}
    for word in words:
        name, text = _split_option(parameter, word, valued, flags)
        if not _same_value(options.setdefault(name, text), text):
            raise BadValue(parameter, word, expected=f"{name} once", fix=f"write {name}{options[name]} or {word}")
    return options


def _same_value(text: str, other: str) -> bool:
    """True if both texts have the same value, as `100` and `100.0` have."""
    number, same = parse_decimal(text.removesuffix("p")), parse_decimal(other.removesuffix("p"))
    return text == other or (number is not None and number == same and text.endswith("p") == other.endswith("p"))


def _split_option(parameter: str, word: str, valued: Collection[str], flags: Collection[str]) -> tuple[str, str]:
    if word in flags:
        return word, ""
    for name in sorted(valued, key=len, reverse=True):
        if word.startswith(name):
            return name, word[len(name) :]
    known = ", ".join((*(f"{name}…" for name in valued), *flags))
    raise BadValue(parameter, word, expected=f"one of {known}", fix="leave it out")


def placement(parameter: str, options: Mapping[str, str], *, at: str, offset: str) -> Placement:
    """The placement of a box along one axis, from the options that read_options() returned.

    `at` names the option for the distance from the start of the axis. `offset` names the option for the share of the
    free space before the box. Without either option, the box is centered. Raises BadValue for both.
    """
    if at in options and offset in options:
        both = f"{at}{options[at]},{offset}{options[offset]}"
        raise BadValue(parameter, both, expected=f"{at} or {offset}, not both", fix="leave one of them out")
    if at in options:
        return Offset(read_length(parameter, options[at]))
    return Align(read_offset(parameter, options[offset])) if offset in options else CENTERED


def read_offset(parameter: str, text: str) -> Fraction:
    """A share of the free space, 0 to 1: `10`, `10p` and `0.1` are all a tenth.

    A number below 1 without `p` is a fraction, any other number is a percentage.
    """
    value = parse_decimal(text.removesuffix("p"))
    if value is None or value > 100:
        raise BadValue(parameter, text, expected="an offset from 0 to 100 percent", fix="write 50 for the middle")
    return value if 0 < value < 1 and not text.endswith("p") else value / 100


# ------------------------------------------------------------------------------------------------ colors and words

_HEX = re.compile(r"[0-9A-Fa-f]+")


def parse_hex(text: str) -> tuple[int, ...] | None:
    """The bytes of a color in 3, 4, 6 or 8 hex digits: `f80` gives (255, 136, 0). None for any other text."""
    if len(text) not in (3, 4, 6, 8) or not _HEX.fullmatch(text):
        return None
    digits = text if len(text) > 4 else "".join(digit * 2 for digit in text)
    return tuple(bytes.fromhex(digits))


def read_color(parameter: str, text: str) -> Color:
    """A color: `f00`, `ff0000`, `255,0,0`, or `255,0,0,0.5` with an alpha of 0 to 1."""
    if "," in text:
        return _read_color_channels(parameter, text)
    parts = parse_hex(text)
    if parts is None or len(parts) != 3:
        raise BadValue(
            parameter, text, expected="a color: 3 or 6 hex digits, or r,g,b or r,g,b,a", fix="write ff0000 or 255,0,0"
        )
    return Color(*parts)


def _read_color_channels(parameter: str, text: str) -> Color:
    parts = split_items(parameter, text)
    if len(parts) not in (3, 4):
        raise BadValue(parameter, text, expected="three parts of a color, or four with its alpha", fix="write 255,0,0")
    red, green, blue = (read_integer(parameter, part, 0, 255) for part in parts[:3])
    alpha = read_number(parameter, parts[3], 0, 1) if len(parts) == 4 else Fraction(1)
    # Half up: alpha 0.5 is 127.5, so 128.
    return Color(red, green, blue, int(alpha * 255 + Fraction(1, 2)))


class UnknownWord(BadValue):
    """Raised for an unknown word. Some dialects ignore an unknown word but reject a malformed number."""


def read_word(parameter: str, text: str, known: Mapping[str, T]) -> T:
    """The value of the word `text` in the table `known`. Raises UnknownWord."""
    if text not in known:
        raise unknown_word(parameter, text, known)
    return known[text]


def word_reader(known: Mapping[str, T]) -> Callable[[str, str], T]:
    """A reader that accepts one of the `known` words and returns its value."""

    return lambda parameter, text: read_word(parameter, text, known)


def unknown_word(parameter: str, text: str, known: Collection[str]) -> UnknownWord:
    """The error for an unknown word. It lists the known words and suggests the nearest one."""
    near = nearest(text, known)
    words = ", ".join(known)
    return UnknownWord(parameter, text, expected=f"one of {words}", fix=f"write {near}" if near else "leave it out")


@dataclass(frozen=True, slots=True)
class WordList(Generic[T]):
    """A parsed list of words: the values of the known words in order, and the unknown words as text."""

    known: tuple[T, ...]
    unknown: tuple[str, ...] = ()


def read_words(parameter: str, text: str, known: Mapping[str, T]) -> WordList[T]:
    """The words of a comma-separated list, without duplicates and empty items.

    An unknown word is not an error. Raises BadValue for more than MAX_ITEMS items.
    """
    parts = tuple(dict.fromkeys(filter(None, split_items(parameter, text))))
    return WordList(
        known=tuple(dict.fromkeys(known[part] for part in parts if part in known)),
        unknown=tuple(part for part in parts if part not in known),
    )
