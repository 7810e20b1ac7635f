"""Turns the fields of a request into the one Step that its endpoint performs.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.params import Parameter, ParsedParams
from cropmark.dialects.pixlab import params
from cropmark.model.problems import BadRequest
from cropmark.model.values import Pixels, Share
from cropmark.plan.plan import RequestWarning
from cropmark.plan.steps import Crop, Dimensions, Fit, Offset, Overflow, Resize


def crop_step(parsed: ParsedParams) -> Crop:
    """The crop to the box of x, y, width and height, clipped to the image.

    A box that is completely outside the image is an error.
    """
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
    """The resize to exactly the requested width and height, which may distort the image."""
    return exact_step(*_box(parsed))


def exact_step(width: int, height: int) -> Resize:
    """The resize to exactly these sides, which may distort the image."""
    return Resize(_pixels(width), _pixels(height), Fit.STRETCH, enlarge=True)


def smart_resize_step(parsed: ParsedParams) -> Resize:
    """The resize to the largest size inside the requested width and height, without distortion.

    A missing side has the value of the other side. A side of 0 does not limit the size.
    """
    width, height = _whole(params.WIDTH, parsed), _whole(params.HEIGHT, parsed)
    width, height = height if width is None else width, width if height is None else height
    if not width and not height:
        raise _no_size()
    return Resize(_pixels(width) if width else None, _pixels(height) if height else None, Fit.INSIDE, enlarge=True)


def scale_step(parsed: ParsedParams) -> Resize:
    """The resize of both sides to a percentage.

    Judgement: 100 changes nothing. The vendor's page contradicts itself: 50 is half the size "exactly like minify", but
    100 is "2px its size".
    Source: https://pixlab.io/endpoints/scale
    """
    percentage = _whole(params.SCALE, parsed)
    if percentage is None:
        raise BadRequest("scale: expected a percentage, got none", fix="write scale=50", parameter="scale")
    return proportional_step(Fraction(percentage, 100))


def proportional_step(factor: Fraction) -> Resize:
    """The resize of both sides by a factor."""
    return Resize(Share(factor), Share(factor), Fit.STRETCH, enlarge=True)


def _box(parsed: ParsedParams) -> tuple[int, int]:
    """The requested width and height. A side that is missing or 0 has the value of the other side."""
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
    """The number in a field without its fraction. PHP and ImageMagick cut the fraction off too."""
    number = parameter.of(parsed)
    return None if number is None else int(number)


def _pixels(count: int) -> Pixels:
    return Pixels(Fraction(count))


def truncation_warnings(parsed: ParsedParams) -> tuple[RequestWarning, ...]:
    """A warning for each number that has a fraction, because the fraction is cut off."""
    fields = (params.X, params.Y, params.LEFT, params.TOP, params.WIDTH, params.HEIGHT, params.SCALE)
    numbers = ((field.name, field.of(parsed)) for field in fields)
    return tuple(
        RequestWarning(name, f"{grammar.format_number(number)} counts as {int(number)}")
        for name, number in numbers
        if number is not None and number.denominator != 1
    )
