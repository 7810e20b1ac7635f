"""Writers that dialects share: the reverse of grammar.py. A writer turns an exact value into the text of a parameter.

A writer never rounds. If it cannot express a value, it raises UnsupportedValue with the Step's field and the reason.
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
from cropmark.dialects.params import StepParameter
from cropmark.model.formats import Format, Info
from cropmark.model.values import Color, Length, Pixels, Ratio, Share, Size
from cropmark.plan.plan import EncodingChoice, Output
from cropmark.plan.source import matches_any
from cropmark.plan.steps import AnyStep, Dimensions, Edges, Offset, Placement, Shape

QueryParams = Mapping[str, str]
"""The decoded text of each parameter by name."""

_SAFE: Final = ",:/;"


class UnsupportedValue(Exception):
    """Raised for a value that a dialect cannot express: `Crop.x: a region is placed by its corner`."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")


# ------------------------------------------------------------------------------------------------ the order of Steps


@dataclass(frozen=True, slots=True)
class Slot:
    """A position in a dialect's fixed order of Steps.

    It has the type of the Steps at this position, and the function that writes such a Step.
    """

    step: type[AnyStep]
    write: Callable[[Any], QueryParams]  # takes a Step of type `step`, which differs between the Slots of a tuple
    """Returns the parameters that express the Step. Raises UnsupportedValue."""


def parameter_slot(parameter: StepParameter[Any]) -> Slot:
    """The slot of a parameter that describes a complete Step."""
    return Slot(parameter.step, lambda step: {parameter.name: parameter.format(step)})


def serialize_steps(steps: Sequence[AnyStep], slots: Sequence[Slot]) -> QueryParams | Unsupported:
    """The parameters of all Steps, or the reasons why the dialect cannot express the Steps in this order.

    Each Step needs a slot after the slot of the previous Step. Slots are assigned from the last Step backwards. Each
    Step gets the last free slot of its type, so with Fastly a crop before a trim becomes `precrop`.
    """
    written: list[QueryParams] = []
    reasons: list[str] = []
    free = len(slots)
    for step in reversed(steps):
        at = next((at for at in reversed(range(free)) if isinstance(step, slots[at].step)), None)
        if at is None:
            reasons.append(_no_slot(step, slots))
            continue
        free = at
        try:
            written.append(slots[at].write(step))
        except UnsupportedValue as error:
            reasons.append(str(error))
    if reasons:
        return Unsupported(tuple(reversed(reasons)))
    return _merge(written[::-1])


def _no_slot(step: AnyStep, slots: Sequence[Slot]) -> str:
    name = type(step).__name__
    if any(isinstance(step, slot.step) for slot in slots):
        return f"{name}: this dialect does it elsewhere in its order of steps, or only once"
    return f"{name}: this dialect has no such step"


def _merge(written: Sequence[QueryParams]) -> QueryParams | Unsupported:
    """All parameters in one mapping.

    Unsupported if two Steps need the same parameter with different texts, for example `bg-color`.
    """
    params: dict[str, str] = {}
    for name, text in (pair for each in written for pair in each.items()):
        if params.setdefault(name, text) != text:
            return Unsupported((f"{name}: one request cannot have both {params[name]} and {text}",))
    return params


def reject_other_fields(step: AnyStep, *written: str) -> None:
    """Raise UnsupportedValue if a field of the Step, other than those in `written`, differs from its default."""
    ignored = {"skipped_for", "warning_if_skipped", "parameter", *written}
    for field in fields(step):
        if field.name not in ignored and getattr(step, field.name) != field.default:
            raise UnsupportedValue(f"{type(step).__name__}.{field.name}", "this dialect has no word for it")


# ------------------------------------------------------------------------------------------------ the query


def encode_query(params: QueryParams) -> str:
    """The parameters as an encoded query; commas, colons and slashes stay readable."""
    return urlencode(params, safe=_SAFE)


def serialized(
    params: QueryParams, encodings: Sequence[QueryParams], *, endpoint: str = "", headers: Headers = ()
) -> Serialized:
    """A query for each of the `encodings`: first the parameters of the Steps, then those of the encoding."""
    texts = dict.fromkeys(encode_query({**params, **encoding}) for encoding in encodings)
    return Serialized(tuple(DialectQuery(text, endpoint, headers) for text in texts))


def combinations(*choices: Sequence[QueryParams]) -> tuple[QueryParams, ...]:
    """All combinations of one parameter set from each of the `choices`, merged. The smallest ones come first."""
    merged: Iterator[QueryParams] = ({k: v for part in parts for k, v in part.items()} for parts in product(*choices))
    return tuple(sorted(merged, key=len))


def param_choices(name: str, texts: Sequence[str]) -> tuple[QueryParams, ...]:
    """The choices for one parameter, as parameter sets: it is absent, or has one of these texts."""
    return ({}, *({name: text} for text in texts))


# ------------------------------------------------------------------------------------------------ encodings

_JPEG: Final = Info(Format.JPEG, Size(64, 64), 4096)
_PNG: Final = Info(Format.PNG, Size(64, 64), 4096, lossless=True)


def common_format(output: Output) -> Format | None:
    """The format of the result for still sources; None if it differs between a JPEG and a PNG source."""
    of_jpeg, of_png = (_first_choice_format(output, info) for info in (_JPEG, _PNG))
    return of_jpeg if of_jpeg is of_png else None


def _first_choice_format(output: Output, info: Info) -> Format:
    fitting = (choice for choice in output.choices if not matches_any(choice.skipped_for, info))
    return next(fitting, EncodingChoice()).format or info.format


def qualities(output: Output) -> tuple[int, ...]:
    """The different qualities of the output's choices, in the order of the choices."""
    return tuple(dict.fromkeys(choice.quality for choice in output.choices if choice.quality is not None))


def is_first_frame(output: Output) -> bool:
    """True if the output, or any of its choices, writes only the first frame of an animation."""
    return output.first_frame or any(choice.first_frame for choice in output.choices)


def aliases(words: Mapping[str, Any], value: object) -> tuple[str, ...]:
    """All words with this value in a table of words, such as FITS."""
    return tuple(word for word, meaning in words.items() if meaning == value)


def word_for(field: str, words: Mapping[str, Any], value: object) -> str:
    """The first word with this value in a table of words, such as FITS. Raises UnsupportedValue."""
    found = aliases(words, value)
    if not found:
        raise UnsupportedValue(field, f"this dialect has no word for {getattr(value, 'value', value)}")
    return found[0]


# ------------------------------------------------------------------------------------------------ numbers and lengths


def format_decimal(field: str, value: Fraction) -> str:
    """The exact number in decimal digits: 12, 0.125, -3.

    Raises UnsupportedValue for a number without a short decimal form, such as 1/3.
    """
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
    """The text of a length: `200` for pixels, `50p` for half of the side. The reverse of grammar.read_length()."""
    match value:
        case Share(part):
            return f"{format_decimal(field, part * 100)}p"
        case Pixels(count) if count >= 1 or count == 0:
            return format_decimal(field, count)
        case Pixels(count):
            raise UnsupportedValue(field, f"{count} of a pixel would be read as a part of the side")


def format_fraction_or_pixels(field: str, value: Length) -> str:
    """The text of a length in dialects without percentages: `200` for pixels, `0.5` for half of the side."""
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
    """The length as a whole number of pixels; 0 for None. Raises UnsupportedValue for any other length."""
    match value:
        case None:
            return 0
        case Pixels(count) if count.denominator == 1:
            return int(count)
        case _:
            raise UnsupportedValue(field, "lengths are whole pixels here")


def format_edges(field: str, value: Edges) -> str:
    """The text of one to four lengths for the edges, as short as in CSS: `10`, `10,20`, `10,20,30` or `10,20,30,40`."""
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
    """The text of a shape: a ratio such as `16:9`, or a width and a height such as `640,480`."""
    match value:
        case Ratio(width, height):
            proportion = width / height
            return f"{proportion.numerator}:{proportion.denominator}"
        case Dimensions(width, height):
            return f"{format_length(field, width)},{format_length(field, height)}"


def format_placement(axis: str, field: str, value: Placement) -> tuple[str, ...]:
    """The placement along an axis, x or y, as an option such as `x10` or `offset-x25p`; no option if it is centered."""
    match value:
        case Offset(distance):
            return (f"{axis}{format_length(field, distance)}",)
        case _ if value.part == Fraction(1, 2):
            return ()
        case _:
            # With a p, because a bare number below 1 would be read as a fraction.
            return (f"offset-{axis}{format_decimal(field, value.part * 100)}p",)


def format_color(value: Color) -> str:
    """The color as `ff8800`, or with alpha as `255,136,0,0.502`. Reading the text gives the same color again."""
    if value.opaque:
        return f"{value.red:02x}{value.green:02x}{value.blue:02x}"
    # Three decimals are enough to distinguish all 256 levels.
    alpha = format_decimal("alpha", Fraction(round(value.alpha * 1000 / 255), 1000))
    return f"{value.red},{value.green},{value.blue},{alpha}"
