"""The readers of Contentstack's own parameters. A reader turns text into a typed value, or raises BadValue.

A `format_` function is the reverse of the reader above it and raises UnsupportedValue.
"""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from typing import Final

from cropmark.dialects import grammar
from cropmark.dialects.grammar import WordList
from cropmark.dialects.imageopto.writer import format_radius
from cropmark.dialects.imageopto.writer import format_sharpen as format_sharpen_radius
from cropmark.dialects.writers import UnsupportedValue, format_length
from cropmark.model.formats import Format
from cropmark.model.problems import BadValue
from cropmark.model.values import Color, Length, Pixels, Share
from cropmark.plan.steps import Blur, Sharpen

MAX_DPR = 10_000
_LEAST_RADIUS: Final = Fraction(1)


class FormatWord(Enum):
    """The values of the parameter `format`."""

    AUTO = "auto"
    GIF = "gif"
    PNG = "png"
    JPEG = "jpg"
    PROGRESSIVE_JPEG = "pjpg"
    WEBP = "webp"
    LOSSLESS_WEBP = "webpll"
    LOSSY_WEBP = "webply"
    AVIF = "avif"


FORMATS = {
    **{word.value: word for word in FormatWord},
    "jpeg": FormatWord.JPEG,
    "pjpeg": FormatWord.PROGRESSIVE_JPEG,
}

FITS = ("bounds", "cover", "crop")

AUTO = {"webp": Format.WEBP, "avif": Format.AVIF}


def read_auto(parameter: str, text: str) -> WordList[Format]:
    return grammar.read_words(parameter, text, AUTO)


def read_name(parameter: str, text: str) -> str:
    """A name or uid of at most 255 characters. It is returned unchanged, because it is compared exactly."""
    if len(text) > 255:
        fix = "write the name or uid of an environment or branch"
        raise BadValue(parameter, text, expected="at most 255 characters", fix=fix)
    return text


def read_dpr(parameter: str, text: str) -> Fraction:
    """A device pixel ratio above 0 and at most 10000. A ratio below 1 shrinks the image."""
    value = grammar.parse_decimal(text)
    if not value or value > MAX_DPR:
        expected = f"a number above 0, up to {MAX_DPR}"
        raise BadValue(parameter, text, expected=expected, fix="write such a number, or leave it out")
    return value


def read_background(parameter: str, text: str) -> Color:
    """A color: ``f80``, ``ff8800``, ``255,136,0`` or ``255,136,0,0.5``.

    A leading `#` is dropped, and so is ``rgb:``, which Gatsby writes.
    """
    return grammar.read_color(parameter, text.removeprefix("rgb:").removeprefix("#"))


def read_sharpen(parameter: str, text: str) -> Sharpen | None:
    """Read a sharpen Step such as ``a5,r1000,t2``; None for an amount of 0, which changes nothing.

    - ``a``: the amount, 0 to 10; 1 if missing
    - ``r``: the radius, 1 to 1000 px or a percentage such as ``r5p``; 1 px if missing
    - ``t``: the threshold, 0 to 255; 0 if missing
    """
    options = grammar.read_options(parameter, grammar.split_items(parameter, text), valued=("a", "r", "t"))
    sharpen = Sharpen(
        amount=grammar.read_number(parameter, options.get("a", "1"), 0, 10),
        radius=_read_radius(parameter, options.get("r", "1")),
        threshold=grammar.read_integer(parameter, options.get("t", "0"), 0, 255),
    )
    return sharpen if sharpen.amount else None


def format_sharpen(step: Sharpen) -> str:
    return format_sharpen_radius(step, _format_radius("Sharpen.radius", step.radius))


def read_blur(parameter: str, text: str) -> Blur:
    """Read a blur by its radius: 1 to 1000 px, or a percentage of the shorter side.

    The percentage is clamped to 1 to 1000 px when the size of the frame is known.
    """
    return Blur(_read_radius(parameter, text), min_px=_LEAST_RADIUS)


def format_blur(step: Blur) -> str:
    if not isinstance(step.radius, Pixels) and step.min_px != _LEAST_RADIUS:
        raise UnsupportedValue("Blur.min_px", "a blur by percentage is at least a pixel here")
    return _format_radius("Blur.radius", step.radius)


def _read_radius(parameter: str, text: str) -> Length:
    """A radius of 1 to 1000 px, or a percentage of the shorter side."""
    percent = grammar.parse_decimal(text.removesuffix("p")) if text.endswith("p") else None
    return Share(percent / 100) if percent else Pixels(grammar.read_number(parameter, text, _LEAST_RADIUS, 1000))


def _format_radius(field: str, value: Length) -> str:
    return format_radius(field, value, _LEAST_RADIUS) if isinstance(value, Pixels) else format_length(field, value)
