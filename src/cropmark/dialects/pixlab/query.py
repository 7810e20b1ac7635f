"""The body of a POST: which kinds are read, and a JSON object as fields of text.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, NoReturn

from cropmark.model.problems import BadRequest, UnsupportedMediaType

BOOLEANS: Final = frozenset({"blob", "count"})
MAX_FIELDS: Final = 256
_MOST_DIGITS = 30


class BodyKind(Enum):
    """The kinds of a body, by their media types."""

    JSON = "application/json"
    MULTIPART = "multipart/form-data"
    FORM = "application/x-www-form-urlencoded"


def body_kind(content_type: str) -> BodyKind:
    """The kind of body that a Content-Type names, whatever parameters follow. Raises UnknownBody."""
    named = content_type.partition(";")[0].strip().lower()
    for kind in BodyKind:
        if kind.value == named:
            return kind
    expected = ", ".join(kind.value for kind in BodyKind)
    raise UnsupportedMediaType(f"expected a body of {expected}", fix=f"send Content-Type: {BodyKind.JSON.value}")


def fields_of_json(body: bytes) -> dict[str, str]:
    """The members of a JSON object as text, of a repeated one the last; null is a missing one.

    true and false become these words, as numbers do in the fields that hold a boolean: any but 0 is true. Raises
    BadOrder where the body is not JSON or no object; lists and objects inside are none of our fields.
    """
    try:
        found = json.loads(body, parse_int=_Number, parse_float=_Number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest("expected a body in JSON", fix='write an object: {"img": "https://…", "x": 0}') from error
    if not isinstance(found, dict):
        raise BadRequest("expected a JSON object", fix='write an object: {"img": "https://…", "x": 0}')
    return {name: text for name, value in found.items() if (text := _text(name, value)) is not None}


class _Number(str):
    """A JSON number as it was written: no float, and no integer of a million digits."""

    __slots__ = ()


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _text(name: str, value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case _Number():
            return _of_number(name, value)
        case str():
            return value
        case _:
            return None


def _of_number(name: str, number: _Number) -> str:
    """As a decimal without an exponent; one that nobody can mean stays as it is, and its reader refuses it."""
    try:
        value = Decimal(number)
    except InvalidOperation:  # an exponent of twenty digits
        return str(number)
    if name in BOOLEANS:
        return "true" if value else "false"
    return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(number)
