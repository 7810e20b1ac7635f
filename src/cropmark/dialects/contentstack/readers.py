"""The readers of Contentstack's own parameters: text becomes a typed value. All raise BadValue."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.grammar import WordList
from cropmark.model.formats import Format
from cropmark.model.problems import BadValue
from cropmark.model.values import Color, Length, Pixels, Share
from cropmark.plan.steps import Blur, Sharpen

MAX_DPR = 10_000


class FormatWord(Enum):
    """The words of `format`."""

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
    """A name or uid, compared exactly."""
    if len(text) > 255:
        raise BadValue(parameter, text, expected="at most 255 characters", fix="write the name as it was given")
    return text


def read_dpr(parameter: str, text: str) -> Fraction:
    """Above 0, at most 10000; below 1 it shrinks."""
    value = grammar.parse_decimal(text)
    if not value or value > MAX_DPR:
        expected = f"a number above 0, up to {MAX_DPR}"
        raise BadValue(parameter, text, expected=expected, fix="write such a number, or leave it out")
    return value


def read_background(parameter: str, text: str) -> Color:
    """``f80``, ``ff8800``, ``255,136,0`` or ``255,136,0,0.5``; a `#` or Gatsby's ``rgb:`` before it is dropped."""
    return grammar.read_color(parameter, text.removeprefix("rgb:").removeprefix("#"))


def read_sharpen(parameter: str, text: str) -> Sharpen:
    """``a5,r1000,t2``: amount 0 to 10, radius 1 to 1000 px or ``r5p``, threshold 0 to 255; missing ones a1, r1, t0."""
    options = grammar.read_options(parameter, grammar.split_items(parameter, text), valued=("a", "r", "t"))
    return Sharpen(
        amount=grammar.read_number(parameter, options.get("a", "1"), 0, 10),
        radius=_radius(parameter, options.get("r", "1")),
        threshold=grammar.read_integer(parameter, options.get("t", "0"), 0, 255),
    )


def read_blur(parameter: str, text: str) -> Blur:
    """A radius of 1 to 1000 px, or a percentage of the smaller side, clamped to that range later."""
    return Blur(_radius(parameter, text), min_px=Fraction(1))


def _radius(parameter: str, text: str) -> Length:
    """A radius of 1 to 1000 px, or a percentage."""
    percent = grammar.parse_decimal(text.removesuffix("p")) if text.endswith("p") else None
    return Share(percent / 100) if percent else Pixels(grammar.read_number(parameter, text, 1, 1000))
