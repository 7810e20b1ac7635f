"""The small writers that dialects share: exact values become a query's text, the readers of grammar.py backwards.

A writer that has no words for a value raises Unsaid, which names the Step's field and says why; nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import product
from typing import Any, Final
from urllib.parse import urlencode

from cropmark.dialects.dialect import DialectQuery, Headers, Serialized, Unsupported
from cropmark.dialects.grammar import MAX_NUMBER_CHARS
from cropmark.model.formats import Format, Info
from cropmark.model.values import Color, Length, Pixels, Ratio, Share, Size
from cropmark.plan.plan import EncodingChoice, Output
from cropmark.plan.source import matches_any
from cropmark.plan.steps import AnyStep, Dimensions, Edges, Offset, Placement, Shape

QueryParams = Mapping[str, str]
"""Parameters and their texts, decoded."""

_SAFE: Final = ",:/;"


class UnsupportedValue(Exception):
    """What there are no words for: `Crop.focus: this dialect places no window by content`."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")


# ------------------------------------------------------------------------------------------------ the order of Steps


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a dialect's order of Steps: the Step that may stand there, and its words. `write` raises Unsaid."""

    step: type[AnyStep]
    write: Callable[[Any], QueryParams]  # of the Step's own type, which Slots of one tuple do not share


def serialize_steps(steps: Sequence[AnyStep], slots: Sequence[Slot]) -> QueryParams | Unsupported:
    """The words of all Steps, each in a slot behind that of the Step before it.

    Taken from the last Step back, each in the last slot that is left: a crop before a trim is a precrop then.
    """
    told: list[QueryParams] = []
    reasons: list[str] = []
    free = len(slots)
    for step in reversed(steps):
        at = next((at for at in reversed(range(free)) if isinstance(step, slots[at].step)), None)
        if at is None:
            reasons.append(_no_slot(step, slots))
            continue
        free = at
        try:
            told.append(slots[at].write(step))
        except UnsupportedValue as unsaid:
            reasons.append(str(unsaid))
    if reasons:
        return Unsupported(tuple(reversed(reasons)))
    return _merge(told[::-1])


def _no_slot(step: AnyStep, slots: Sequence[Slot]) -> str:
    name = type(step).__name__
    if any(isinstance(step, slot.step) for slot in slots):
        return f"{name}: this dialect does it elsewhere in its order of steps, or only once"
    return f"{name}: this dialect has no such step"


def _merge(told: Sequence[QueryParams]) -> QueryParams | Unsupported:
    """One text for each name: a color that two Steps are told by must be the same."""
    words: dict[str, str] = {}
    for name, text in (pair for each in told for pair in each.items()):
        if words.setdefault(name, text) != text:
            return Unsupported((f"{name}: one request cannot say both {words[name]} and {text}",))
    return words


def reject_other_fields(step: AnyStep, *said: str) -> None:
    """Raises Unsaid for a field of the Step that is not at its default and not among those that are said."""
    told = {"skipped_for", "warning_if_skipped", "parameter", *said}
    for field in fields(step):
        if field.name not in told and getattr(step, field.name) != field.default:
            raise UnsupportedValue(f"{type(step).__name__}.{field.name}", "this dialect has no word for it")


# ------------------------------------------------------------------------------------------------ the query


def encode_query(words: QueryParams) -> str:
    """The words as a query, encoded; commas, colons and slashes stay readable."""
    return urlencode(words, safe=_SAFE)


def serialized(
    words: QueryParams, encodings: Sequence[QueryParams], *, endpoint: str = "", headers: Headers = ()
) -> Serialized:
    """The Steps' words with each of the encodings' behind them."""
    texts = dict.fromkeys(encode_query({**words, **encoding}) for encoding in encodings)
    return Serialized(tuple(DialectQuery(text, endpoint, headers) for text in texts))


def combinations(*choices: Sequence[QueryParams]) -> tuple[QueryParams, ...]:
    """Every combination of one of each; those with the fewest words come first."""
    found: Iterator[QueryParams] = ({k: v for part in parts for k, v in part.items()} for parts in product(*choices))
    return tuple(sorted(found, key=len))


def param_choices(name: str, texts: Sequence[str]) -> tuple[QueryParams, ...]:
    """The parameter left out, or with one of these texts."""
    return ({}, *({name: text} for text in texts))


# ------------------------------------------------------------------------------------------------ encodings

_JPEG: Final = Info(Format.JPEG, Size(64, 64), 4096)
_PNG: Final = Info(Format.PNG, Size(64, 64), 4096, lossless=True)


def common_format(output: Output) -> Format | None:
    """The one format that stills come out in, whatever their own; None where it follows the source."""
    of_jpeg, of_png = (_first_choice_format(output, info) for info in (_JPEG, _PNG))
    return of_jpeg if of_jpeg is of_png else None


def _first_choice_format(output: Output, info: Info) -> Format:
    fitting = (choice for choice in output.choices if not matches_any(choice.skipped_for, info))
    return next(fitting, EncodingChoice()).format or info.format


def qualities(output: Output) -> tuple[int, ...]:
    """Every quality that a choice names, in their order."""
    return tuple(dict.fromkeys(choice.quality for choice in output.choices if choice.quality is not None))


def is_first_frame(output: Output) -> bool:
    """Whether a choice writes the first frame alone."""
    return output.first_frame or any(choice.first_frame for choice in output.choices)


def aliases(words: Mapping[str, Any], wanted: object) -> tuple[str, ...]:
    """The words that stand for a value, as the readers' table has them."""
    return tuple(word for word, value in words.items() if value == wanted)


def word_for(field: str, words: Mapping[str, Any], wanted: object) -> str:
    """The first word that stands for a value. Raises Unsaid."""
    found = aliases(words, wanted)
    if not found:
        raise UnsupportedValue(field, f"this dialect has no word for {getattr(wanted, 'value', wanted)}")
    return found[0]


# ------------------------------------------------------------------------------------------------ numbers and lengths


def format_decimal(field: str, value: Fraction) -> str:
    """The exact number in decimals: 12, 0.125, -3. Raises Unsaid for one that has no end, such as 1/3."""
    for places in range(MAX_NUMBER_CHARS):
        shifted = value * 10**places
        if shifted.denominator != 1:
            continue
        digits = str(abs(shifted.numerator)).rjust(places + 1, "0")
        text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        if len(text) < MAX_NUMBER_CHARS:
            return f"-{text}" if value < 0 else text
    raise UnsupportedValue(field, f"{value} has no short decimal form")


def format_length(field: str, value: Length) -> str:
    """`200` for pixels, `50p` for half the side: grammar.length() backwards."""
    match value:
        case Share(part):
            return f"{format_decimal(field, part * 100)}p"
        case Pixels(count) if count >= 1 or count == 0:
            return format_decimal(field, count)
        case Pixels(count):
            raise UnsupportedValue(field, f"{count} of a pixel would be read as a part of the side")


def format_fraction_or_pixels(field: str, value: Length) -> str:
    """`200` for pixels, `0.5` for half the side, in dialects without percentages."""
    match value:
        case Share(part) if 0 < part < 1 or part == 0:
            return format_decimal(field, part)
        case Share(part):
            raise UnsupportedValue(field, f"parts of a side are below 1 here, not {format_decimal(field, part)}")
        case Pixels(count) if count >= 1 or count == 0:
            return format_decimal(field, count)
        case Pixels(count):
            raise UnsupportedValue(field, f"{count} of a pixel would be read as a part of the side")


def whole_pixels(field: str, value: Length | None) -> int:
    """A whole number of pixels; 0 for none. Raises Unsaid."""
    match value:
        case None:
            return 0
        case Pixels(count) if count.denominator == 1:
            return int(count)
        case _:
            raise UnsupportedValue(field, "lengths are whole pixels here")


def format_edges(field: str, value: Edges) -> str:
    """The shortest CSS form: `10`, `10,20`, or all four."""
    top, right, bottom, left = (
        format_length(field, side) for side in (value.top, value.right, value.bottom, value.left)
    )
    if left != right:
        return f"{top},{right},{bottom},{left}"
    if bottom != top:
        return f"{top},{right},{bottom}"
    return top if top == right else f"{top},{right}"


# ------------------------------------------------------------------------------------------------ shapes and colors


def format_shape(field: str, value: Shape) -> str:
    """`16:9`, or a width and a height."""
    match value:
        case Ratio(width, height):
            proportion = width / height
            return f"{proportion.numerator}:{proportion.denominator}"
        case Dimensions(width, height):
            return f"{format_length(field, width)},{format_length(field, height)}"


def format_placement(axis: str, field: str, value: Placement) -> tuple[str, ...]:
    """`x10` or `offset-x25`, as an item of a list; nothing where it is centered."""
    match value:
        case Offset(distance):
            return (f"{axis}{format_length(field, distance)}",)
        case _ if value.part == Fraction(1, 2):
            return ()
        case _:
            # With its p: below 1 a bare number is a fraction of the room and not a percentage.
            return (f"offset-{axis}{format_decimal(field, value.part * 100)}p",)


def format_color(value: Color) -> str:
    """`ff8800`, or with alpha `255,136,0,0.502`, which reads back as the same level."""
    if value.opaque:
        return f"{value.red:02x}{value.green:02x}{value.blue:02x}"
    # Three decimals tell all 256 levels apart.
    alpha = format_decimal("alpha", Fraction(round(value.alpha * 1000 / 255), 1000))
    return f"{value.red},{value.green},{value.blue},{alpha}"
