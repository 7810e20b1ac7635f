"""What Fastly's Image Optimizer and the services built on it write alike: whole parameters, shared by their dialects.

Source: https://www.fastly.com/documentation/reference/io/ and
https://www.contentstack.com/docs/developers/apis/image-delivery-api, which sold the former under its own name.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass, replace
from fractions import Fraction
from urllib.parse import unquote

from cropmark.dialects.grammar import items, options, placement, shape, unknown_word
from cropmark.formats import Format
from cropmark.plan.plan import Choice, Warned
from cropmark.plan.source import Kind
from cropmark.plan.steps import CENTRED, Area, Canvas, Crop, Filter, Focus, Overflow, Spare, Turn
from cropmark.problems import BadValue

MAX_PATH_CHARS = 2_048

_PLACES = ("x", "y", "offset-x", "offset-y")

# The numbers are Exif's. Where a letter turns and v flips, the flip comes first, whatever the order of the letters.
TURNS = {
    **{str(turn.value): turn for turn in Turn},
    "r": Turn.RIGHT,
    "l": Turn.LEFT,
    "h": Turn.FLIP_ACROSS,
    "v": Turn.FLIP_DOWN,
    "hv": Turn.HALF,
    "vh": Turn.HALF,
    "rv": Turn.TRANSPOSE,
    "vr": Turn.TRANSPOSE,
    "lv": Turn.TRANSVERSE,
    "vl": Turn.TRANSVERSE,
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


def crop(parameter: str, text: str) -> Crop:
    """A crop: a shape, then where it lies, then how it may fail, in any order behind the shape.

    ``4:3``                 the largest 4:3 box, centred
    ``640,480,x10,y20``     640 by 480 px with its corner at (10, 20)
    ``1:1,offset-x10``      a tenth of the spare width before the box
    ``640,480,safe``        clipped to the frame instead of refused

    Source: https://www.fastly.com/documentation/reference/io/crop
    """
    form, rest = shape(parameter, text)
    found = options(parameter, rest, valued=_PLACES, flags=("safe", "smart"))
    return Crop(
        shape=form,
        x=placement(parameter, found, at="x", spare="offset-x"),
        y=placement(parameter, found, at="y", spare="offset-y"),
        focus=Focus.SMART if "smart" in found else None,
        overflow=Overflow.CLIP if "safe" in found else Overflow.REFUSE,
        parameter=parameter,
    )


def without_idle_focus(asked: Crop) -> tuple[Crop, tuple[Warned, ...]]:
    """The crop, its focus left out with a warning where it has none to place: `smart` works with ratios only."""
    if asked.focus is None or not isinstance(asked.shape, Area):
        return asked, ()
    return replace(asked, focus=None), (Warned(asked.parameter, "smart works with a ratio only and was ignored"),)


def canvas(parameter: str, text: str) -> Canvas:
    """A canvas: a shape, then where the picture lies on it; `safe` and `smart` are unknown here.

    Source: https://www.fastly.com/documentation/reference/io/canvas
    """
    form, rest = shape(parameter, text)
    found = options(parameter, rest, valued=_PLACES)
    return Canvas(
        shape=form,
        x=placement(parameter, found, at="x", spare="offset-x"),
        y=placement(parameter, found, at="y", spare="offset-y"),
    )


# ------------------------------------------------------------------------------------------------ overlays


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where an overlay lies, as the part of the spare room before it."""

    x: Spare = CENTRED
    y: Spare = CENTRED


_START, _END = Spare(Fraction(0)), Spare(Fraction(1))
_ACROSS = {"left": _START, "center": CENTRED, "right": _END}
_DOWN = {"top": _START, "middle": CENTRED, "bottom": _END}


def alignment(parameter: str, text: str) -> Alignment:
    """One or two words in any order, one an axis: `top`, `left,bottom`; the axis not named is centred."""
    words = items(parameter, text)
    for word in words:
        if word not in _ACROSS and word not in _DOWN:
            raise unknown_word(parameter, word, (*_DOWN, *_ACROSS))
    across, down = [w for w in words if w in _ACROSS], [w for w in words if w in _DOWN]
    if len(across) > 1 or len(down) > 1:
        raise BadValue(parameter, text, expected="one word an axis", fix="write it like bottom,right")
    return Alignment(_ACROSS[across[0]] if across else CENTRED, _DOWN[down[0]] if down else CENTRED)


@dataclass(frozen=True, slots=True)
class Repeat:
    across: bool
    down: bool


REPEATS = {"x": Repeat(True, False), "y": Repeat(False, True), "both": Repeat(True, True)}


def site_path(parameter: str, text: str) -> str:
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


def base64_site_path(parameter: str, text: str) -> str:
    """A site_path() written in base64, in either alphabet, its padding optional."""
    # A query's decoding has made blanks of its plus signs.
    digits = text.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadValue(parameter, text, expected="a path in base64", fix="encode a path like /a.png") from error
    return site_path(parameter, decoded)


def below(base: str, path: str) -> str:
    """A root-relative path as one of the site mounted at `base`, without a leading slash."""
    prefix = base.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path[1:]


# ------------------------------------------------------------------------------------------------ output


def from_formats(*formats: Format) -> Kind:
    """Sources of these formats."""
    return Kind(formats=frozenset(formats))


GIFS = from_formats(Format.GIF)
ANIMATED_GIFS = replace(GIFS, animated=True)
ANIMATIONS = Kind(animated=True)
STILLS = Kind(animated=False)
OPAQUE = Kind(alpha=False)


def only_from_its_own(choice: Choice) -> Choice:
    """The choice, for sources that have its format already."""
    others = frozenset(Format) - {choice.format}
    return replace(choice, skipped_for=(*choice.skipped_for, Kind(formats=others)))


def own_format(*, jpeg: Choice, webp: Choice, avif: Choice) -> tuple[Choice, ...]:
    """The source's own format, with the encoding that each would have; a source that we do not write becomes a JPEG,
    or a PNG where it has alpha.

    Several choices in place of one, since a quality means another number in each format.
    """
    writable = (jpeg, Choice(Format.PNG), webp, Choice(Format.GIF), avif)
    return (*map(only_from_its_own, writable), Choice(Format.PNG, skipped_for=(OPAQUE,)), jpeg)
