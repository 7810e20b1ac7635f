"""The readers of Fastly's parameters. A reader turns text into a typed value, or raises BadValue.

The texts are already in lower case (query.py). A `format_` function is the reverse of the reader above it and raises
UnsupportedValue.
"""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from itertools import chain
from typing import Final

from cropmark.dialects import grammar
from cropmark.dialects.grammar import WordList
from cropmark.dialects.imageopto.writer import format_radius
from cropmark.dialects.imageopto.writer import format_sharpen as format_sharpen_radius
from cropmark.dialects.writers import UnsupportedValue, format_color, format_decimal, format_length
from cropmark.model.formats import Format
from cropmark.model.problems import BadValue
from cropmark.model.values import Pixels
from cropmark.plan.plan import H264Profile, KeepMetadata
from cropmark.plan.steps import AutoColor, Blur, Dither, Monochrome, Sharpen, Threshold, TrimBorder

_LEAST_RADIUS: Final = Fraction(1, 2)


def read_dpr(parameter: str, text: str) -> Fraction:
    return grammar.read_number(parameter, text, 1, 10)


# ------------------------------------------------------------------------------------------------ pixels


def read_trim_border(parameter: str, text: str) -> TrimBorder:
    """Read the border to trim: its color, then optionally a tolerance of 0 to 1, such as ``fff,t0.1``.

    The color is ``fff``, ``255,255,255`` or ``auto``, which is the color of the top left pixel.
    """
    parts = grammar.split_items(parameter, text)
    last = parts[-1] if len(parts) > 1 and parts[-1].startswith("t") else None
    color = ",".join(parts[:-1] if last else parts)
    return TrimBorder(
        color=AutoColor.TOP_LEFT if color == "auto" else grammar.read_color(parameter, color),
        tolerance=grammar.read_number(parameter, last[1:], 0, 1) if last else Fraction(0),
        parameter=parameter,
    )


def format_trim_border(step: TrimBorder) -> str:
    color = "auto" if step.color is AutoColor.TOP_LEFT else format_color(step.color)
    return f"{color},t{format_decimal('TrimBorder.tolerance', step.tolerance)}" if step.tolerance else color


def read_sharpen(parameter: str, text: str) -> Sharpen | None:
    """Read a sharpen Step such as ``a5,r2,t1``; None for an amount of 0, which changes nothing.

    All three items are required, in any order: amount 0 to 10, radius 0.5 to 1000 px, threshold 0 to 255.
    """
    options = grammar.read_options(parameter, grammar.split_items(parameter, text), valued=("a", "r", "t"))
    if len(options) < 3:
        raise BadValue(parameter, text, expected="an amount, a radius and a threshold", fix="write it like a5,r2,t1")
    sharpen = Sharpen(
        amount=grammar.read_number(parameter, options["a"], 0, 10),
        radius=Pixels(grammar.read_number(parameter, options["r"], _LEAST_RADIUS, 1000)),
        threshold=grammar.read_integer(parameter, options["t"], 0, 255),
    )
    return sharpen if sharpen.amount else None


def format_sharpen(step: Sharpen) -> str:
    return format_sharpen_radius(step, format_radius("Sharpen.radius", step.radius, _LEAST_RADIUS))


def read_blur(parameter: str, text: str) -> Blur:
    """Read a blur by its radius: 0.5 to 1000 px, or a percentage of the shorter side.

    The percentage is clamped to 0.5 to 1000 px when the size of the frame is known.
    """
    if text.endswith("p"):
        return Blur(grammar.read_length(parameter, text))
    return Blur(Pixels(grammar.read_number(parameter, text, _LEAST_RADIUS, 1000)))


def format_blur(step: Blur) -> str:
    if isinstance(step.radius, Pixels):
        return format_radius("Blur.radius", step.radius, _LEAST_RADIUS)
    if step.min_px != _LEAST_RADIUS:
        raise UnsupportedValue("Blur.min_px", "the minimum of a blur by percentage is half a pixel here")
    return format_length("Blur.radius", step.radius)


def read_monochrome(parameter: str, text: str) -> Monochrome:
    """Read ``bw``: ``threshold``, ``threshold,75`` or ``atkinson``.

    The number is a luminance of 0 to 100. A higher number gives a darker image.
    """
    method, mark, level = text.partition(",")
    match method.strip(), bool(mark):
        case "threshold", False:
            return Monochrome(Threshold())
        case "threshold", True:
            return Monochrome(Threshold(grammar.read_number(parameter, level.strip(), 0, 100)))
        case "atkinson", False:
            return Monochrome(Dither.ATKINSON)
        case _:
            raise BadValue(
                parameter,
                text,
                expected="threshold, threshold with a luminance of 0 to 100, or atkinson alone",
                fix="write threshold,50 or atkinson",
            )


def format_monochrome(step: Monochrome) -> str:
    match step.method:
        case Dither.ATKINSON:
            return "atkinson"
        case Threshold(level):
            return f"threshold,{format_decimal('Monochrome.method', level)}"


# ------------------------------------------------------------------------------------------------ output


class FormatWord(Enum):
    """The values of the parameter `format`."""

    AUTO = "auto"
    AVIF = "avif"
    BASELINE_JPEG = "bjpg"
    GIF = "gif"
    JPEG = "jpg"
    JXL = "jxl"
    MP4 = "mp4"
    PROGRESSIVE_JPEG = "pjpg"
    PNG = "png"
    PNG8 = "png8"
    SVG = "svg"
    WEBP = "webp"
    LOSSLESS_WEBP = "webpll"
    LOSSY_WEBP = "webply"


FORMATS = {
    **{word.value: word for word in FormatWord},
    "bjpeg": FormatWord.BASELINE_JPEG,
    "jpeg": FormatWord.JPEG,
    "jpegxl": FormatWord.JXL,
    "pjpeg": FormatWord.PROGRESSIVE_JPEG,
    "pjxl": FormatWord.JXL,
    "pjpegxl": FormatWord.JXL,
}

# Some sites use format and true on all of their images; each stands for both formats.
_AUTO = {
    "avif": (Format.AVIF,),
    "webp": (Format.WEBP,),
    "format": (Format.AVIF, Format.WEBP),
    "true": (Format.AVIF, Format.WEBP),
}


def read_auto(parameter: str, text: str) -> WordList[Format]:
    """The formats that ``auto`` lists, in any order, and the unknown words."""
    words = grammar.read_words(parameter, text, _AUTO)
    return WordList(tuple(dict.fromkeys(chain.from_iterable(words.known))), words.unknown)


OPTIMIZED = {"low": 90, "medium": 80, "high": 65}
"""The quality of each word, on the scale of JPEG."""


class MetadataWord(Enum):
    COPYRIGHT = "copyright"
    C2PA = "c2pa"

    @property
    def keep(self) -> KeepMetadata | None:
        """The metadata to copy. None for `c2pa`: the manifest of a changed image would need signing keys."""
        return KeepMetadata.COPYRIGHT if self is MetadataWord.COPYRIGHT else None


METADATA_WORDS = {word.value: word for word in MetadataWord}


def read_metadata(parameter: str, text: str) -> WordList[MetadataWord]:
    return grammar.read_words(parameter, text, METADATA_WORDS)


LEVELS = {
    f"{level // 10}.{level % 10}": level
    for level in (10, 11, 12, 13, *(10 * n + i for n in range(2, 7) for i in range(3)))
}
PROFILES = {profile.value: profile for profile in H264Profile}
