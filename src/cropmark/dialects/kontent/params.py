"""Kontent.ai's parameters, each with its documentation and its reader."""

from __future__ import annotations

from typing import Any, Final

from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.kontent.readers import (
    CROPS,
    ENCODINGS,
    FITS,
    LOSSLESS,
    read_above_zero,
    read_auto,
    read_background,
    read_number,
    read_rect,
    read_side,
    read_zoom,
    word_reader,
)
from cropmark.dialects.params import Parameter

API: Final = "https://kontent.ai/learn/docs/apis/image-transformation-api"

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PLUS = r"\+?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"

WIDTH = Parameter(
    ParameterDoc(
        "w",
        "PIXELS >= 1 | 0 < FRACTION < 1",
        "",
        "The width: pixels, or below 1 a fraction of the width of the image (of the rect, where there is one). "
        "Only fit=scale enlarges.",
        "w=300",
        API,
        rf"^{_PLUS}$",
    ),
    read_side,
)
HEIGHT = Parameter(
    ParameterDoc(
        "h",
        "PIXELS >= 1 | 0 < FRACTION < 1",
        "",
        "The height, in the units of the width.",
        "h=0.1",
        API,
        rf"^{_PLUS}$",
    ),
    read_side,
)
DPR = Parameter(
    ParameterDoc(
        "dpr",
        "NUMBER > 0",
        "1",
        "The device's pixel ratio: multiplies w and h, above 5 counts as 5. Needs w or h.",
        "w=300&dpr=2",
        API,
        rf"^{_PLUS}$",
    ),
    read_above_zero,
)
FIT = Parameter(
    ParameterDoc(
        "fit",
        "clip | scale | crop",
        "clip",
        "How the image fits w and h: clip scales it into the box, scale distorts it to the box, crop fills the box "
        "and cuts the overhang. Needs w or h. crop takes pixels only: with a fraction the original is returned.",
        "w=300&h=150&fit=crop",
        API,
        r"^(?:[Cc][Ll][Ii][Pp]|[Ss][Cc][Aa][Ll][Ee]|[Cc][Rr][Oo][Pp])$",
    ),
    word_reader(FITS),
)
RECT = Parameter(
    ParameterDoc(
        "rect",
        "X,Y,WIDTH,HEIGHT, each >= 0; below 1 a fraction of that side",
        "the whole image",
        "The region to crop to, before the resize; clipped to the image. 1 is one pixel. With fit=crop, "
        "crop=focalpoint or crop=smart, or completely outside the image, the original is returned.",
        "rect=7,23,300,200",
        API,
        rf"^{_PLUS}(?:,{_PLUS}){{3}}$",
    ),
    read_rect,
)
CROP = Parameter(
    ParameterDoc(
        "crop",
        "focalpoint | smart",
        "",
        "The center of fit=crop: the point of fp-x and fp-y, or the faces or the subject of the image. smart "
        "needs both w and h, and no fp-*; else the original is returned.",
        "w=200&h=200&fit=crop&crop=smart",
        API,
        r"^(?:[Ff][Oo][Cc][Aa][Ll][Pp][Oo][Ii][Nn][Tt]|[Ss][Mm][Aa][Rr][Tt])$",
    ),
    word_reader(CROPS),
)
FOCAL_X = Parameter(
    ParameterDoc(
        "fp-x",
        "0..1",
        "0.5",
        "The focal point from the left edge, as a fraction of the width. Needs fit=crop&crop=focalpoint.",
        "w=200&h=200&fit=crop&crop=focalpoint&fp-x=0.7",
        API,
        rf"^{_NUMBER}$",
    ),
    read_number,
)
FOCAL_Y = Parameter(
    ParameterDoc(
        "fp-y",
        "0..1",
        "0.5",
        "The focal point from the top edge, as a fraction of the height. Needs fit=crop&crop=focalpoint.",
        "w=200&h=200&fit=crop&crop=focalpoint&fp-y=0.3",
        API,
        rf"^{_NUMBER}$",
    ),
    read_number,
)
ZOOM = Parameter(
    ParameterDoc(
        "fp-z",
        ">= 1",
        "1",
        "The zoom: 2 shows half of the width and height around the focal point. Needs fit=crop&crop=focalpoint.",
        "fit=crop&crop=focalpoint&fp-z=3",
        API,
        rf"^{_PLUS}$",
    ),
    read_zoom,
)
BACKGROUND = Parameter(
    ParameterDoc(
        "bg",
        "RGB | ARGB | RRGGBB | AARRGGBB",
        "",
        "The color under the image's transparent parts, in hex digits, alpha first.",
        "bg=6600ff00",
        API,
        r"^#?(?:[0-9A-Fa-f]{3,4}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})$",
    ),
    read_background,
)
ENCODING = Parameter(
    ParameterDoc(
        "fm",
        "gif | png | png8 | jpg | pjpg | webp",
        "the source's format",
        "The format of the output. jpeg is an alias of jpg. A GIF never becomes WebP.",
        "fm=webp",
        API,
        r"^(?:[Gg][Ii][Ff]|[Pp][Nn][Gg]8?|[Pp]?[Jj][Pp][Gg]|[Jj][Pp][Ee][Gg]|[Ww][Ee][Bb][Pp])$",
    ),
    word_reader(ENCODINGS),
)
QUALITY = Parameter(
    ParameterDoc(
        "q",
        "0..100",
        "85",
        "The quality of a JPEG or a lossy WebP.",
        "fm=jpg&q=30",
        API,
        rf"^{_NUMBER}$",
    ),
    read_number,
)
LOSSLESSNESS = Parameter(
    ParameterDoc(
        "lossless",
        "1 | true | 0 | false",
        "as the source is",
        "Whether a WebP answer is lossless; without effect on other types.",
        "fm=webp&lossless=1",
        API,
        r"^(?:1|0|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$",
    ),
    word_reader(LOSSLESS),
)
AUTO = Parameter(
    ParameterDoc(
        "auto",
        "format",
        "",
        "WebP if the client's Accept names it and the source is not a GIF; otherwise fm, else the source's format.",
        "fm=png&auto=format",
        API,
        r"^(?:[^,]*,)*[ ]*[Ff][Oo][Rr][Mm][Aa][Tt][ ]*(?:,.*)?$",
    ),
    read_auto,
)

PARAMETERS: Final[tuple[Parameter[Any], ...]] = (  # of any value type; Parameter.of() restores it
    WIDTH,
    HEIGHT,
    DPR,
    FIT,
    RECT,
    CROP,
    FOCAL_X,
    FOCAL_Y,
    ZOOM,
    BACKGROUND,
    ENCODING,
    QUALITY,
    LOSSLESSNESS,
    AUTO,
)
