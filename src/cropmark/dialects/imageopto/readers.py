"""Readers of the parameters that Fastly's Image Optimizer and the services built on it write alike. All raise BadValue.

Source: https://www.fastly.com/documentation/reference/io/ and
https://www.contentstack.com/docs/developers/apis/image-delivery-api, which sold the former under its own name.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import unquote

from cropmark.dialects import grammar
from cropmark.dialects.grammar import WordList, placement, read_options, read_shape
from cropmark.model.problems import BadValue
from cropmark.model.values import Length
from cropmark.plan.steps import CENTERED, Align, Canvas, Crop, Filter, Fit, Focus, Orientation, Overflow

MAX_SIDE = 8_192
MAX_PATH_CHARS = 2_048

_PLACES = ("x", "y", "offset-x", "offset-y")

# The numbers are Exif's. Where a letter turns and v flips, the flip comes first, whatever the order of the letters.
ORIENTATIONS = {
    **{str(turn.value): turn for turn in Orientation},
    "r": Orientation.ROTATE_90,
    "l": Orientation.ROTATE_270,
    "h": Orientation.FLIP_HORIZONTAL,
    "v": Orientation.FLIP_VERTICAL,
    "hv": Orientation.ROTATE_180,
    "vh": Orientation.ROTATE_180,
    "rv": Orientation.TRANSPOSE,
    "vr": Orientation.TRANSPOSE,
    "lv": Orientation.TRANSVERSE,
    "vl": Orientation.TRANSVERSE,
}

FILTERS = {
    "nearest": Filter.NEAREST,
    "bilinear": Filter.LINEAR,
    "linear": Filter.LINEAR,
    "bicubic": Filter.CUBIC,
    "cubic": Filter.CUBIC,
    "lanczos2": Filter.LANCZOS2,
    "lanczos3": Filter.LANCZOS3,
    "lanczos": Filter.LANCZOS3,
}


FITS = {"bounds": Fit.INSIDE, "cover": Fit.OUTSIDE, "crop": Fit.COVER}


def read_side(parameter: str, text: str) -> Length:
    """A width or height above 0; 1 to 8192 where it is told in pixels, any part or percentage."""
    return grammar.read_extent(parameter, text, MAX_SIDE)


def read_tone(parameter: str, text: str) -> Fraction:
    """How far brightness, contrast or saturation is moved, -100 to 100."""
    return grammar.read_number(parameter, text, -100, 100)


@dataclass(frozen=True, slots=True)
class Quality:
    """1 to 100, and the one for WebP where `auto` chose it."""

    usual: int
    auto_webp: int


def read_quality(parameter: str, text: str) -> Quality:
    """``85`` or ``85,70``, the second for WebP chosen by auto."""
    parts = grammar.split_items(parameter, text)
    if len(parts) > 2:
        raise BadValue(parameter, text, expected="one or two whole numbers from 1 to 100", fix="write 85 or 85,70")
    found = [grammar.read_integer(parameter, part, 1, 100) for part in parts]
    return Quality(found[0], found[-1])


def read_crop(parameter: str, text: str) -> Crop:
    """A crop: a shape, then where it lies, then how it may fail, in any order behind the shape.

    ``4:3``                 the largest 4:3 box, centered
    ``640,480,x10,y20``     640 by 480 px with its corner at (10, 20)
    ``1:1,offset-x10``      a tenth of the spare width before the box
    ``640,480,safe``        clipped to the frame instead of refused

    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    form, rest = read_shape(parameter, text)
    found = read_options(parameter, rest, valued=_PLACES, flags=("safe", "smart"))
    return Crop(
        shape=form,
        x=placement(parameter, found, at="x", spare="offset-x"),
        y=placement(parameter, found, at="y", spare="offset-y"),
        focus=Focus.SMART if "smart" in found else None,
        overflow=Overflow.CLIP if "safe" in found else Overflow.REFUSE,
        parameter=parameter,
    )


def read_canvas(parameter: str, text: str) -> Canvas:
    """A canvas: a shape, then where the picture lies on it; `safe` and `smart` are unknown here.

    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    form, rest = read_shape(parameter, text)
    found = read_options(parameter, rest, valued=_PLACES)
    return Canvas(
        shape=form,
        x=placement(parameter, found, at="x", spare="offset-x"),
        y=placement(parameter, found, at="y", spare="offset-y"),
    )


# ------------------------------------------------------------------------------------------------ overlays


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where an overlay lies, as the part of the spare room before it."""

    x: Align = CENTERED
    y: Align = CENTERED


_START, _END = Align(Fraction(0)), Align(Fraction(1))
_ACROSS = {"left": _START, "center": CENTERED, "right": _END}
_DOWN = {"top": _START, "middle": CENTERED, "bottom": _END}
_SIDES = {word: word for word in (*_DOWN, *_ACROSS)}


def read_alignment(parameter: str, text: str) -> Alignment:
    """One or two words in any order, one an axis: `top`, `left,bottom`; the axis not named is centered."""
    found = read_tolerant_alignment(parameter, text)
    if found.unknown:
        raise grammar.unknown_word(parameter, found.unknown[0], _SIDES)
    return found.known[0]


def read_tolerant_alignment(parameter: str, text: str) -> WordList[Alignment]:
    """One alignment by the words that are known, and the words that are not."""
    words = grammar.read_words(parameter, text, _SIDES)
    across, down = [w for w in words.known if w in _ACROSS], [w for w in words.known if w in _DOWN]
    if len(across) > 1 or len(down) > 1:
        raise BadValue(parameter, text, expected="one word an axis", fix="write it like bottom,right")
    aligned = Alignment(_ACROSS[across[0]] if across else CENTERED, _DOWN[down[0]] if down else CENTERED)
    return WordList((aligned,), words.unknown)


@dataclass(frozen=True, slots=True)
class Repeat:
    across: bool
    down: bool


REPEATS = {"x": Repeat(True, False), "y": Repeat(False, True), "both": Repeat(True, True)}


def read_site_path(parameter: str, text: str) -> str:
    """The decoded path of a root-relative URL, with its leading slash; a query behind it is dropped.

    Refuses other hosts, also where they are written without a scheme.
    """
    path = unquote(text.partition("?")[0].partition("#")[0], errors="replace")
    # A backslash is a slash to some URL readers: "/\host" would be another host.
    elsewhere = not path.startswith("/") or path[1:2] in ("/", "\\")
    if elsewhere or len(path) > MAX_PATH_CHARS:
        raise BadValue(
            parameter,
            text,
            expected=f"a path of this site that begins with / and has at most {MAX_PATH_CHARS} characters",
            fix="write it like /folder/picture.png, without scheme and host",
        )
    return path


def read_base64_site_path(parameter: str, text: str) -> str:
    """A site_path() written in base64, in either alphabet, its padding optional."""
    # A query's decoding has made blanks of its plus signs.
    digits = text.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadValue(parameter, text, expected="a path in base64", fix="encode a path like /a.png") from error
    return read_site_path(parameter, decoded)


def strip_mount(base: str, path: str) -> str:
    """A root-relative path as one of the site mounted at `base`, without a leading slash."""
    prefix = base.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path[1:]
