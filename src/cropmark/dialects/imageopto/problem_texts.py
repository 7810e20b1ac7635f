"""The Image Optimizer's error messages, and the conversion of texts to header values."""

from __future__ import annotations

from cropmark.dialects.responses import one_line
from cropmark.model.problems import CropOutOfBounds, EmptyResult, OutputTooLarge, Problem, Unprocessable

MAX_HEADER_CHARS = 400


def header_text(text: str) -> str:
    """The text as a header value: one line of visible ASCII, at most MAX_HEADER_CHARS long."""
    return "".join(c if " " <= c <= "~" else "?" for c in one_line(text, MAX_HEADER_CHARS))


def without_name(text: str, parameter: str | None) -> str:
    """The text without the parameter's name and the colon at its start."""
    return text.removeprefix(f"{parameter}: ") if parameter else text


def invalid_transformation(problem: Unprocessable) -> str:
    """The error message for a transformation that is not possible.

    Fastly publishes the message for crops. The other messages imitate it.
    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    match problem:
        case CropOutOfBounds():
            reason = "Invalid crop, region out of bounds"
        case EmptyResult():
            reason = f"Invalid {problem.parameter or 'trim'}, nothing left"
        case OutputTooLarge():
            reason = "Output exceeds maximum dimensions"
        case _:
            reason = "Invalid transformation"
    return f"Invalid transformation for requested image: {reason}"


def fix_text(problem: Problem) -> str:
    """The fix of a Problem, with the parameters of the Image Optimizer."""
    outside = isinstance(problem, CropOutOfBounds)
    return "use a smaller crop, move it inside, or add ,safe to clip it" if outside else problem.fix
