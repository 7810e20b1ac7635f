"""The readers of PixLab's fields. A reader turns text into a typed value, or raises BadValue.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.model.problems import BadValue

_TRUE = frozenset({"true", "1", "yes", "on"})


def read_number(parameter: str, text: str) -> Fraction:
    """A decimal number with an optional sign; surrounding blanks are dropped.

    Its fraction is cut off later, in steps.py.
    """
    number = grammar.parse_decimal(text.strip(), signed=True)
    if number is None:
        raise BadValue(parameter, text, expected="a whole number", fix=f"write {parameter}=100")
    return number


def read_length(parameter: str, text: str) -> Fraction:
    """A number of pixels, 0 or more. The meaning of 0 depends on the endpoint (steps.py)."""
    number = read_number(parameter, text)
    if number < 0:
        raise BadValue(parameter, text, expected="a whole number of 0 or more", fix=f"write {parameter}=100")
    return number


def read_percentage(parameter: str, text: str) -> Fraction:
    """A percentage from 1 to 500. Its fraction is cut off later, so 500.5 is accepted.

    Source: https://pixlab.io/endpoints/scale, "A value between 1..500"
    """
    number = read_number(parameter, text)
    if not 1 <= number < 501:
        raise BadValue(parameter, text, expected="a number from 1 to 500", fix=f"write {parameter}=50")
    return number


def read_boolean(parameter: str, text: str) -> bool:
    """True for `true`, `1`, `yes` and `on`, in upper or lower case; False for any other text."""
    return text.strip().lower() in _TRUE


def read_text(parameter: str, text: str) -> str:
    """The text, unchanged."""
    return text
