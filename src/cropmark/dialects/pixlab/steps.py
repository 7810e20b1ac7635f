"""The fields of a request become the one Step that its endpoint does.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.params import Parameter, ParsedParams
from cropmark.dialects.pixlab import params
from cropmark.model.problems import BadRequest
from cropmark.model.values import Pixels
from cropmark.plan.plan import RequestWarning
from cropmark.plan.steps import Crop, Dimensions, Fit, Offset, Overflow, Resize


def crop_step(parsed: ParsedParams) -> Crop:
    """The crop to the box, clipped to the image; the request is refused if the box is completely outside."""
    x = _required(params.X, parsed, params.LEFT)
    y = _required(params.Y, parsed, params.TOP)
    width, height = _box(parsed)
    return Crop(
        Dimensions(_pixels(width), _pixels(height)),
        Offset(_pixels(x)),
        Offset(_pixels(y)),
        overflow=Overflow.CLIP_OR_REFUSE,
    )


def resize_step(parsed: ParsedParams) -> Resize:
    """The resize to exactly the box, in any proportions."""
    width, height = _box(parsed)
    return Resize(_pixels(width), _pixels(height), Fit.STRETCH, enlarge=True)


def smart_resize_step(parsed: ParsedParams) -> Resize:
    """The resize into the box, in the same proportions. A missing side takes the value of the other; 0 is free."""
    width, height = _whole(params.WIDTH, parsed), _whole(params.HEIGHT, parsed)
    width, height = height if width is None else width, width if height is None else height
    if not width and not height:
        raise _no_size()
    return Resize(_pixels(width) if width else None, _pixels(height) if height else None, Fit.INSIDE, enlarge=True)


def _box(parsed: ParsedParams) -> tuple[int, int]:
    """Width and height; a side that is missing or 0 takes the value of the other."""
    width, height = _whole(params.WIDTH, parsed), _whole(params.HEIGHT, parsed)
    width, height = width or height, height or width
    if not width or not height:
        raise _no_size()
    return width, height


def _no_size() -> BadRequest:
    return BadRequest("width, height: expected a number above 0 in one of them, got none", fix="write width=100")


def _required(parameter: Parameter[Fraction], parsed: ParsedParams, alias: Parameter[Fraction]) -> int:
    found = _whole(parameter, parsed)
    if found is None:
        found = _whole(alias, parsed)
    if found is None:
        raise BadRequest(
            f"{parameter.name}: expected a whole number, got none",
            fix=f"write {parameter.name}=0",
            parameter=parameter.name,
        )
    return found


def _whole(parameter: Parameter[Fraction], parsed: ParsedParams) -> int | None:
    """The field's number without its fraction, which PHP and ImageMagick cut off too."""
    number = parameter.of(parsed)
    return None if number is None else int(number)


def _pixels(count: int) -> Pixels:
    return Pixels(Fraction(count))


def truncation_warnings(parsed: ParsedParams) -> tuple[RequestWarning, ...]:
    """A warning for each number with a fraction, which is cut off."""
    fields = (params.X, params.Y, params.LEFT, params.TOP, params.WIDTH, params.HEIGHT)
    numbers = ((field.name, field.of(parsed)) for field in fields)
    return tuple(
        RequestWarning(name, f"{grammar.format_number(number)} counts as {int(number)}")
        for name, number in numbers
        if number is not None and number.denominator != 1
    )
