"""Contentstack's parameters, each row of the reference beside its reader. The order of the rows is the reference's."""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.contentstack import readers
from cropmark.dialects.contentstack.readers import FITS, FORMATS, FormatWord
from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.grammar import WordList, word_of
from cropmark.dialects.imageopto import readers as imageopto
from cropmark.dialects.imageopto.readers import FILTERS, REPEATS, TURNS, Alignment, Quality, Repeat
from cropmark.dialects.params import COLOR, DIM, EDGES, NUM, PLACE, SHAPE, SIGNED, Parameter, one_of, whole_text
from cropmark.model.formats import Format
from cropmark.model.values import Color, Length
from cropmark.plan.steps import Blur, Canvas, Crop, Edges, Filter, Orientation, Sharpen

_IDA = "https://www.contentstack.com/docs/developers/apis/image-delivery-api"
_ALIGN = "(top|middle|bottom|left|center|right)"
_LENGTH = "1..8192 | 0..0.99 | Np"


def _param(
    name: str, grammar: str, default: str, about: str, example: str, pattern: str = "", page: str = ""
) -> ParameterDoc:
    return ParameterDoc(name, grammar, default, about, example, _IDA + page, pattern)


ENVIRONMENT: Parameter[str] = Parameter(
    _param("environment", "name", "not checked", "Serves what is published there, else 404.", "production"),
    readers.read_name,
)
BRANCH: Parameter[str] = Parameter(_param("branch", "uid", "main", "The asset's branch.", "main"), readers.read_name)
ACCESS_TOKEN: Parameter[str] = Parameter(
    _param("access_token", "delivery token", "none", "For secured stacks.", "cs0123456789"), readers.read_name
)
AUTO: Parameter[WordList[Format]] = Parameter(
    _param(
        "auto",
        "webp | avif, or both",
        "off",
        "AVIF, then WebP, where the client's Accept names it; not for GIF. Unknown words are ignored.",
        "webp",
        page="/automate-optimization",
    ),
    readers.read_auto,
)
QUALITY: Parameter[Quality] = Parameter(
    _param(
        "quality",
        "1..100 | 1..100,1..100",
        "85",
        "Quality of lossy formats; the second for WebP that `auto` chose.",
        "75",
        whole_text("[0-9]+(,[0-9]+)?"),
        "/control-quality",
    ),
    imageopto.quality,
)
FORMAT: Parameter[FormatWord] = Parameter(
    _param(
        "format",
        " | ".join(FORMATS),
        "the source's",
        "Format of the output; not for GIF.",
        "pjpg",
        one_of(FORMATS),
        "/convert-formats",
    ),
    word_of(FORMATS),
)
WIDTH: Parameter[Length] = Parameter(
    _param(
        "width", _LENGTH, "the source's", "Width of the output; not for GIF.", "300", whole_text(DIM), "/resize-images"
    ),
    imageopto.side,
)
HEIGHT: Parameter[Length] = Parameter(
    _param(
        "height",
        _LENGTH,
        "the source's",
        "Height of the output; not for GIF.",
        "0.5",
        whole_text(DIM),
        "/resize-images",
    ),
    imageopto.side,
)
DISABLE: Parameter[bool] = Parameter(
    _param(
        "disable", "upscale", "upscaling is on", "A resize never enlarges.", "upscale", "^upscale$", "/resize-images"
    ),
    word_of({"upscale": True}),
    forgives=True,
)
DPR: Parameter[Fraction] = Parameter(
    _param(
        "dpr",
        "above 0, up to 10000",
        "1",
        "Multiplies width and height.",
        "1.5",
        whole_text(NUM),
        "/device-pixel-ratio",
    ),
    readers.read_dpr,
)
FIT: Parameter[str] = Parameter(
    _param(
        "fit",
        " | ".join(FITS),
        "both sides are forced",
        "How the picture meets a width and a height. Unknown words are ignored.",
        "crop",
        one_of(FITS),
        "/fit-mode",
    ),
    word_of({fit: fit for fit in FITS}),
    forgives=True,
)
RESIZE_FILTER: Parameter[Filter] = Parameter(
    _param(
        "resize-filter",
        " | ".join(FILTERS),
        "lanczos3",
        "How a resize resamples. Unknown words are ignored.",
        "bicubic",
        one_of(FILTERS),
        "/resize-filter",
    ),
    word_of(FILTERS),
    forgives=True,
)
CROP: Parameter[Crop] = Parameter(
    _param(
        "crop",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y safe smart",
        "none",
        "Keeps a window: `safe` clips it to the picture, `smart` places one of a ratio by content.",
        "300,400,x50,y75,safe",
        whole_text(rf"{SHAPE}({PLACE}|,safe|,smart)*"),
        "/crop-images",
    ),
    imageopto.crop,
)
TRIM: Parameter[Edges] = Parameter(
    _param(
        "trim", "1 to 4 lengths", "none", "Cuts off at the edges.", "25,50,75,100", whole_text(EDGES), "/trim-images"
    ),
    grammar.edges,
)
ORIENT: Parameter[Orientation] = Parameter(
    _param("orient", "1..8", "upright by Exif", "Turns the upright picture.", "6", one_of(TURNS)), word_of(TURNS)
)
OVERLAY: Parameter[str] = Parameter(
    _param(
        "overlay",
        "root-relative path",
        "none",
        "Another asset laid over the picture.",
        "/v3/assets/stack/asset/file/circle.png",
        page="/overlay-settings",
    ),
    imageopto.site_path,
)
OVERLAY_ALIGN: Parameter[WordList[Alignment]] = Parameter(
    _param(
        "overlay-align",
        "top | middle | bottom, left | center | right",
        "middle,center",
        "Where the overlay lies; one word or two. Unknown words are ignored.",
        "left,bottom",
        whole_text(f"{_ALIGN}(,{_ALIGN})?"),
        "/overlay-settings",
    ),
    imageopto.tolerant_alignment,
)
OVERLAY_REPEAT: Parameter[Repeat] = Parameter(
    _param(
        "overlay-repeat",
        "x | y | both",
        "none",
        "Tiles the overlay along an axis. Unknown words are ignored.",
        "x",
        one_of(REPEATS),
        "/overlay-settings",
    ),
    word_of(REPEATS),
    forgives=True,
)
OVERLAY_WIDTH: Parameter[Length] = Parameter(
    _param(
        "overlay-width",
        _LENGTH,
        "the overlay's own",
        "Its width, parts of the output's.",
        "0.5",
        whole_text(DIM),
        "/overlay-settings",
    ),
    imageopto.side,
)
OVERLAY_HEIGHT: Parameter[Length] = Parameter(
    _param(
        "overlay-height",
        _LENGTH,
        "the overlay's own",
        "Its height, parts of the output's.",
        "50p",
        whole_text(DIM),
        "/overlay-settings",
    ),
    imageopto.side,
)
OVERLAY_PAD: Parameter[Edges] = Parameter(
    _param(
        "overlay-pad",
        "1 to 4 lengths",
        "none",
        "Room around the overlay.",
        "30,25,50",
        whole_text(EDGES),
        "/overlay-pad",
    ),
    grammar.edges,
)
PAD: Parameter[Edges] = Parameter(
    _param(
        "pad",
        "1 to 4 lengths",
        "none",
        "Adds room outside the picture; ignored beside `canvas`.",
        "25,50",
        whole_text(EDGES),
        "/image-pad",
    ),
    grammar.edges,
)
CANVAS: Parameter[Canvas] = Parameter(
    _param(
        "canvas",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y",
        "none",
        "Lays the picture, unscaled, on a canvas.",
        "700,800,x150,y75",
        whole_text(SHAPE + PLACE),
        "/canvas",
    ),
    imageopto.canvas,
)
BG_COLOR: Parameter[Color] = Parameter(
    _param(
        "bg-color",
        "RGB | RRGGBB | r,g,b | r,g,b,a",
        "white, or clear",
        "Color of the room that `pad` and `canvas` add, laid under what is transparent.",
        "140,220,123,0.5",
        whole_text(f"(#|rgb:)?{COLOR}"),
    ),
    readers.read_background,
)
BRIGHTNESS: Parameter[Fraction] = Parameter(
    _param("brightness", "-100..100", "0", "-100 is black, 100 is white.", "20", whole_text(SIGNED)), imageopto.tone
)
CONTRAST: Parameter[Fraction] = Parameter(
    _param("contrast", "-100..100", "0", "-100 is all gray.", "50", whole_text(SIGNED)), imageopto.tone
)
SATURATION: Parameter[Fraction] = Parameter(
    _param("saturation", "-100..100", "0", "-100 is gray scale.", "-30", whole_text(SIGNED)), imageopto.tone
)
SHARPEN: Parameter[Sharpen] = Parameter(
    _param(
        "sharpen",
        "a0..10,r1..1000,t0..255",
        "none",
        "Unsharp mask by amount, radius and threshold; missing ones a1, r1, t0.",
        "a5,r1000,t2",
        whole_text(rf"[art]{DIM}(,[art]{DIM})*"),
        "/sharpen",
    ),
    readers.read_sharpen,
)
BLUR: Parameter[Blur] = Parameter(
    _param("blur", "1..1000 | Np", "none", "Gaussian blur by a radius in pixels of the output.", "10", whole_text(DIM)),
    readers.read_blur,
)
FRAME: Parameter[bool] = Parameter(
    _param("frame", "1", "all frames", "Of an animated GIF only the first frame.", "1", "^1$"),
    word_of({"1": True}),
    forgives=True,
)

ROWS: tuple[Parameter[object], ...] = (
    ENVIRONMENT,
    BRANCH,
    ACCESS_TOKEN,
    AUTO,
    QUALITY,
    FORMAT,
    WIDTH,
    HEIGHT,
    DISABLE,
    DPR,
    FIT,
    RESIZE_FILTER,
    CROP,
    TRIM,
    ORIENT,
    OVERLAY,
    OVERLAY_ALIGN,
    OVERLAY_REPEAT,
    OVERLAY_WIDTH,
    OVERLAY_HEIGHT,
    OVERLAY_PAD,
    PAD,
    CANVAS,
    BG_COLOR,
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    SHARPEN,
    BLUR,
    FRAME,
)
