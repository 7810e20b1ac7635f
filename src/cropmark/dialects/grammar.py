"""The small readers that dialects share: the text of a query becomes exact values, or a BadValue that says the mend.

A reader is named for what it reads and takes the parameter's name first, for the words of its refusal. Digits are
ASCII, numbers exact, everything is bounded in length, and every reader takes time linear in its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

from cropmark.model.problems import BadRequest, BadValue
from cropmark.model.values import Color, Length, Pixels, Ratio, Share
from cropmark.plan.steps import CENTERED, Align, Dimensions, Edges, Offset, Placement, Shape

MAX_QUERY_CHARS = 32_768
MAX_PAIRS = 256
MAX_NUMBER_CHARS = 40
MAX_ITEMS = 16

T = TypeVar("T")


# ------------------------------------------------------------------------------------------------ the query


def check_bounds(raw: str) -> str:
    """The raw query, if it is no longer than we read. Raises BadOrder past MAX_QUERY_CHARS or MAX_PAIRS."""
    if len(raw) > MAX_QUERY_CHARS:
        raise BadRequest(f"the query has {len(raw)} characters, more than {MAX_QUERY_CHARS}", fix="write a shorter one")
    if raw.count("&") >= MAX_PAIRS:
        raise BadRequest(f"the query has more than {MAX_PAIRS} parameters", fix="leave out those that do nothing")
    return raw


def query_pairs(raw: str) -> tuple[tuple[str, str], ...]:
    """Every name and value of a raw query, decoded (`+` is a blank), in their order; question marks before it skipped.

    Bytes that are no UTF-8 become U+FFFD. Raises BadOrder for a query that is too long: bounded().
    """
    return tuple(parse_qsl(check_bounds(raw).lstrip("?"), keep_blank_values=True, errors="replace"))


def query_values(raw: str) -> dict[str, str]:
    """The query's parameters by name; of a repeated one the last."""
    return dict(query_pairs(raw))


def is_blank(text: str) -> bool:
    """Whether a value holds nothing but blanks and separators: what a template writes where it has no value."""
    return not text.strip(" \t,:;")


def split_items(parameter: str, text: str) -> tuple[str, ...]:
    """The parts of a comma list without the blanks around them."""
    if text.count(",") >= MAX_ITEMS:
        raise BadValue(parameter, text, expected=f"at most {MAX_ITEMS} items", fix="leave out those that do nothing")
    return tuple(item.strip(" \t") for item in text.split(","))


# ------------------------------------------------------------------------------------------------ numbers

_DECIMAL = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_WHOLE = re.compile(r"[0-9]+")


def parse_decimal(text: str, *, signed: bool = False) -> Fraction | None:
    """The exact number written as `12`, `12.5`, `12.` or `.5`, with a sign if `signed`; None for any other text."""
    # Not Fraction() or float() alone: they take "1_000", " 5 ", "1e9", "3/4", full-width digits, and float() "nan".
    digits = text[1:] if signed and text[:1] in ("+", "-") else text
    if len(text) > MAX_NUMBER_CHARS or not _DECIMAL.fullmatch(digits):
        return None
    return Fraction(text)


def parse_whole(text: str) -> int | None:
    """The whole number without a sign; None for any other text."""
    return int(text) if len(text) <= MAX_NUMBER_CHARS and _WHOLE.fullmatch(text) else None


def read_number(parameter: str, text: str, least: Fraction | int, most: Fraction | int) -> Fraction:
    """A decimal number from `least` to `most`; a sign is read only where the range reaches below 0."""
    found = parse_decimal(text, signed=least < 0)
    if found is None or not least <= found <= most:
        raise _out_of_range(parameter, text, "a number", found, least, most)
    return found


def read_integer(parameter: str, text: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`, without a sign."""
    found = parse_whole(text)
    if found is None or not least <= found <= most:
        raise _out_of_range(parameter, text, "a whole number", found, least, most)
    return found


def _out_of_range(
    parameter: str, text: str, what: str, found: Fraction | int | None, least: Fraction | int, most: Fraction | int
) -> BadValue:
    expected = f"{what} from {format_number(least)} to {format_number(most)}"
    if found is None:
        return BadValue(parameter, text, expected=expected, fix="write such a number, or leave it out")
    nearest = most if found > most else least
    return BadValue(parameter, text, expected=expected, fix=f"write {format_number(nearest)} in place of {text}")


def format_number(value: Fraction | int) -> str:
    """The number as a person writes it: 1, 0.5."""
    return str(int(value)) if value == int(value) else f"{float(value):g}"


# ------------------------------------------------------------------------------------------------ lengths

_LENGTH = "a length: pixels (200), a part of the side (0.5) or a percentage (50p)"


def read_length(parameter: str, text: str) -> Length:
    """A length: `200` is pixels, `0.5` half the side, `150p` one and a half times it, `0` nothing."""
    percent = text.endswith("p")
    found = parse_decimal(text.removesuffix("p"))
    if found is None:
        raise BadValue(parameter, text, expected=_LENGTH, fix="write 200, 0.5 or 50p")
    if percent:
        return Share(found / 100)
    return Share(found) if 0 < found < 1 else Pixels(found)


def read_extent(parameter: str, text: str, most_px: int | None = None) -> Length:
    """A length above 0, of at most `most_px` where it is told in pixels."""
    found = read_length(parameter, text)
    if found.of(1) == 0:
        raise BadValue(parameter, text, expected="a length above 0", fix="leave it out, or write 200, 0.5 or 50p")
    if most_px is not None and isinstance(found, Pixels) and found.count > most_px:
        raise BadValue(parameter, text, expected=f"at most {most_px} pixels", fix=f"write {most_px} or less")
    return found


def read_ratio(parameter: str, text: str) -> Ratio:
    """A ratio of two decimal numbers above 0: `16:9`, `2.5:1`."""
    across, mark, down = text.partition(":")
    width, height = parse_decimal(across.strip(" ")), parse_decimal(down.strip(" "))
    if not (mark and width and height):
        raise BadValue(parameter, text, expected="a ratio of numbers above 0", fix="write it like 16:9")
    return Ratio(width, height)


def read_edges(parameter: str, text: str) -> Edges:
    """One to four lengths as in CSS: all; top and bottom, sides; top, sides, bottom; top, right, bottom, left."""
    parts = split_items(parameter, text)
    if len(parts) > 4:
        raise BadValue(parameter, text, expected="one to four lengths", fix="write top,right,bottom,left")
    found = [read_length(parameter, part) for part in parts]
    top = found[0]
    right = found[1] if len(found) > 1 else top
    bottom = found[2] if len(found) > 2 else top
    left = found[3] if len(found) > 3 else right
    return Edges(top, right, bottom, left)


# ------------------------------------------------------------------------------------------------ shapes and places


def read_shape(parameter: str, text: str) -> tuple[Shape, tuple[str, ...]]:
    """The shape that a list begins with, a ratio or a width and a height, and the items behind it."""
    parts = split_items(parameter, text)
    if ":" in parts[0]:
        return read_ratio(parameter, parts[0]), parts[1:]
    if len(parts) < 2:
        raise BadValue(parameter, text, expected="a width and a height, or a ratio", fix="write 640,480 or 4:3")
    return Dimensions(read_extent(parameter, parts[0]), read_extent(parameter, parts[1])), parts[2:]


def read_options(
    parameter: str, words: Collection[str], *, valued: Collection[str], flags: Collection[str] = ()
) -> dict[str, str]:
    """Items by the word they begin with, with what stands behind it: {"offset-x": "10", "safe": ""}.

    A flag stands alone. One that is repeated counts once where it says the same, and is refused where it does not.
    """
    found: dict[str, str] = {}
    for word in words:
        name, text = _split_option(parameter, word, valued, flags)
        if not _same_value(found.setdefault(name, text), text):
            raise BadValue(parameter, word, expected=f"{name} once", fix=f"keep {name}{found[name]} or {word}")
    return found


def _same_value(text: str, other: str) -> bool:
    """Whether both say the same, `100` and `100.0` too."""
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


def placement(parameter: str, found: Mapping[str, str], *, at: str, spare: str) -> Placement:
    """Where something lies along one axis, from options(): `at` a distance, `spare` a part of the room, or centered.

    Both on one axis are refused.
    """
    if at in found and spare in found:
        both = f"{at}{found[at]},{spare}{found[spare]}"
        raise BadValue(parameter, both, expected=f"{at} or {spare}, not both", fix="leave one of them out")
    if at in found:
        return Offset(read_length(parameter, found[at]))
    return Align(read_spare_part(parameter, found[spare])) if spare in found else CENTERED


def read_spare_part(parameter: str, text: str) -> Fraction:
    """The part of the spare room, 0 to 1: `10` and `10p` are a tenth, and so is `0.1`: below 1 it is a fraction."""
    found = parse_decimal(text.removesuffix("p"))
    if found is None or found > 100:
        raise BadValue(parameter, text, expected="an offset from 0 to 100 percent", fix="write 50 for the middle")
    return found if 0 < found < 1 and not text.endswith("p") else found / 100


# ------------------------------------------------------------------------------------------------ colors and words

_HEX = re.compile(r"[0-9A-Fa-f]+")


def parse_hex(text: str) -> tuple[int, ...] | None:
    """The parts of a color in 3, 4, 6 or 8 hex digits, as written, short forms doubled; None for any other text."""
    if len(text) not in (3, 4, 6, 8) or not _HEX.fullmatch(text):
        return None
    digits = text if len(text) > 4 else "".join(digit * 2 for digit in text)
    return tuple(bytes.fromhex(digits))


def read_color(parameter: str, text: str) -> Color:
    """A color: `f00`, `ff0000`, `255,0,0`, or with an alpha of 0 to 1 `255,0,0,0.5`."""
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
    """A word that a list of words does not hold: some dialects ignore it where they refuse a bad number."""


def read_word(parameter: str, text: str, known: Mapping[str, T]) -> T:
    """What a word stands for. Raises UnknownWord, which names the words and the nearest one."""
    if text not in known:
        raise unknown_word(parameter, text, known)
    return known[text]


def word_reader(known: Mapping[str, T]) -> Callable[[str, str], T]:
    """A reader of one of these words."""

    return lambda parameter, text: read_word(parameter, text, known)


def unknown_word(parameter: str, text: str, known: Collection[str]) -> UnknownWord:
    """The refusal of a word, with the words there are."""
    near = get_close_matches(text[:MAX_NUMBER_CHARS].lower(), known, n=1, cutoff=0.7)
    listed = ", ".join(known)
    return UnknownWord(parameter, text, expected=f"one of {listed}", fix=f"write {near[0]}" if near else "leave it out")


@dataclass(frozen=True, slots=True)
class WordList(Generic[T]):
    """What the known words of a list stand for, in its order, and the words that stand for nothing."""

    known: tuple[T, ...]
    unknown: tuple[str, ...] = ()


def read_words(parameter: str, text: str, known: Mapping[str, T]) -> WordList[T]:
    """A comma list of words, each once, empty items skipped. Raises BadValue for too many, never for an unknown one."""
    parts = tuple(dict.fromkeys(filter(None, split_items(parameter, text))))
    return WordList(
        known=tuple(dict.fromkeys(known[part] for part in parts if part in known)),
        unknown=tuple(part for part in parts if part not in known),
    )
