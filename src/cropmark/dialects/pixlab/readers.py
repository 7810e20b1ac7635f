"""The readers of PixLab's fields: the text of one field becomes a value, or a BadValue.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.model.problems import BadValue

_TRUE = frozenset({"true", "1", "yes", "on"})


def read_number(parameter: str, text: str) -> Fraction:
    """A decimal number with an optional sign; surrounding blanks are dropped. parse.py cuts off its fraction."""
    number = grammar.parse_decimal(text.strip(), signed=True)
    if number is None:
        raise BadValue(parameter, text, expected="a whole number", fix=f"write {parameter}=100")
    return number


def read_length(parameter: str, text: str) -> Fraction:
    """A number of pixels, 0 or more. 0 counts as absent."""
    number = read_number(parameter, text)
    if number < 0:
        raise BadValue(parameter, text, expected="a whole number of 0 or more", fix=f"write {parameter}=100")
    return number


def read_boolean(parameter: str, text: str) -> bool:
    """True for `true`, `1`, `yes` and `on` in any case, which clients all write; False for everything else."""
    return text.strip().lower() in _TRUE


def read_text(parameter: str, text: str) -> str:
    """The text, unchanged."""
    return text
