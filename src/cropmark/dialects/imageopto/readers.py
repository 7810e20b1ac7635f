"""Readers of the parameters of Fastly's Image Optimizer and of services that run it. All of them raise BadValue.

Source: https://www.fastly.com/documentation/reference/io/ and
https://www.contentstack.com/docs/developers/apis/image-delivery-api, which documents the same optimizer
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import unquote

from cropmark.dialects import grammar
from cropmark.dialects.grammar import WordList, placement, read_options, read_shape
from cropmark.dialects.writers import UnsupportedValue, format_placement, format_shape
from cropmark.model.problems import BadValue
from cropmark.model.text import clean_text
from cropmark.model.values import Length, Ratio
from cropmark.plan.steps import CENTERED, Align, Canvas, Crop, Filter, Fit, Focus, Orientation, Overflow

MAX_SIDE = 8_192
MAX_PATH_CHARS = 2_048

_PLACES = ("x", "y", "offset-x", "offset-y")

# The numbers are those of Exif. A word of two letters, in either order, is a flip and then a turn.
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
    """A width or height above 0: at most 8192 pixels, or a fraction or percentage of the side."""
    return grammar.read_extent(parameter, text, MAX_SIDE)


def read_tone(parameter: str, text: str) -> Fraction:
    """A change of brightness, contrast or saturation, from -100 to 100."""
    return grammar.read_number(parameter, text, -100, 100)


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a lossy result, 1 to 100: `auto_webp` for a WebP that `auto` chose, `usual` for all others."""

    usual: int
    auto_webp: int


def read_quality(parameter: str, text: str) -> Quality:
    """Read ``85`` or ``85,70``. The second number is for a WebP that `auto` chose."""
    parts = grammar.split_items(parameter, text)
    if len(parts) > 2:
        raise BadValue(parameter, text, expected="one or two whole numbers from 1 to 100", fix="write 85 or 85,70")
    qualities = [grammar.read_integer(parameter, part, 1, 100) for part in parts]
    return Quality(qualities[0], qualities[-1])


def read_crop(parameter: str, text: str) -> Crop:
    """A crop: first its shape, then options in any order.

    ``4:3``                 the largest 4:3 box, centered
    ``640,480,x10,y20``     640 by 480 px with its corner at (10, 20)
    ``1:1,offset-x10``      a tenth of the free width before the box
    ``640,480,safe``        clipped to the frame instead of rejected
    ``1:1,smart``           placed by the content of the image

    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    shape, rest = read_shape(parameter, text)
    options = read_options(parameter, rest, valued=_PLACES, flags=("safe", "smart"))
    return Crop(
        shape=shape,
        x=placement(parameter, options, at="x", offset="offset-x"),
        y=placement(parameter, options, at="y", offset="offset-y"),
        focus=Focus.SMART if "smart" in options else None,
        overflow=Overflow.CLIP if "safe" in options else Overflow.REFUSE,
        parameter=parameter,
    )


def format_crop(step: Crop) -> str:
    """The text of a crop, which read_crop() reads. Raises UnsupportedValue.

    All overflow rules that clip the crop are written as `safe`.
    """
    if step.focus is Focus.SMART and not isinstance(step.shape, Ratio):
        raise UnsupportedValue("Crop.focus", "smart works with a ratio only")
    parts = (
        format_shape("Crop.shape", step.shape),
        *format_placement("x", "Crop.x", step.x),
        *format_placement("y", "Crop.y", step.y),
        *(("safe",) if step.overflow is not Overflow.REFUSE else ()),
        *(("smart",) if step.focus is Focus.SMART else ()),
    )
    return ",".join(parts)


def read_canvas(parameter: str, text: str) -> Canvas:
    """A canvas: a shape, then the placement of the image on it. Raises BadValue for `safe` and `smart`.

    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    shape, rest = read_shape(parameter, text)
    options = read_options(parameter, rest, valued=_PLACES)
    return Canvas(
        shape=shape,
        x=placement(parameter, options, at="x", offset="offset-x"),
        y=placement(parameter, options, at="y", offset="offset-y"),
    )


# ------------------------------------------------------------------------------------------------ overlays


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment of an overlay: for each axis, the share of the free space before the overlay."""

    x: Align = CENTERED
    y: Align = CENTERED


_START, _END = Align(Fraction(0)), Align(Fraction(1))
_ACROSS = {"left": _START, "center": CENTERED, "right": _END}
_DOWN = {"top": _START, "middle": CENTERED, "bottom": _END}
_SIDES = {word: word for word in (*_DOWN, *_ACROSS)}


def read_alignment(parameter: str, text: str) -> Alignment:
    """Read one or two words in any order, such as `top` or `left,bottom`. An axis without a word is centered."""
    words = read_tolerant_alignment(parameter, text)
    if words.unknown:
        raise grammar.unknown_word(parameter, words.unknown[0], _SIDES)
    return words.known[0]


def read_tolerant_alignment(parameter: str, text: str) -> WordList[Alignment]:
    """The alignment that the known words give, and the unknown words.

    Unknown words are not an error. Raises BadValue for two words on one axis.
    """
    words = grammar.read_words(parameter, text, _SIDES)
    across, down = [w for w in words.known if w in _ACROSS], [w for w in words.known if w in _DOWN]
    if len(across) > 1 or len(down) > 1:
        raise BadValue(parameter, text, expected="one word for each axis", fix="write it like bottom,right")
    aligned = Alignment(_ACROSS[across[0]] if across else CENTERED, _DOWN[down[0]] if down else CENTERED)
    return WordList((aligned,), words.unknown)


@dataclass(frozen=True, slots=True)
class Repeat:
    across: bool
    down: bool


REPEATS = {"x": Repeat(True, False), "y": Repeat(False, True), "both": Repeat(True, True)}


def read_site_path(parameter: str, text: str) -> str:
    """The decoded path of a root-relative URL, with its leading slash and without its query.

    Raises BadValue for a URL of another host, even without a scheme (`//host/a.jpg`).
    """
    path = clean_text(unquote(text.partition("?")[0].partition("#")[0], errors="replace"))
    # A backslash is a slash to some URL readers: "/\host" would be another host.
    is_other_host = not path.startswith("/") or path[1:2] in ("/", "\\")
    if is_other_host or len(path) > MAX_PATH_CHARS:
        raise BadValue(
            parameter,
            text,
            expected=f"a path of this site that begins with / and has at most {MAX_PATH_CHARS} characters",
            fix="write it like /folder/image.png, without scheme and host",
        )
    return path


def read_base64_site_path(parameter: str, text: str) -> str:
    """Read a path of the site from base64: standard or URL-safe alphabet, with or without padding."""
    # The decoding of the query has turned plus signs into blanks.
    digits = text.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadValue(parameter, text, expected="a path in base64", fix="encode a path like /a.png") from error
    return read_site_path(parameter, decoded)


def strip_mount(base: str, path: str) -> str:
    """The path below the mount `base`, without a leading slash.

    A path outside the mount only loses its leading slash.
    """
    prefix = base.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path[1:]
