"""Contentstack's parameters, in the order of the reference, each with its documentation and its reader."""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.contentstack import readers
from cropmark.dialects.contentstack.readers import FITS, FORMATS, FormatWord
from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.grammar import WordList, word_reader
from cropmark.dialects.imageopto import readers as imageopto
from cropmark.dialects.imageopto.readers import FILTERS, ORIENTATIONS, REPEATS, Alignment, Quality, Repeat
from cropmark.dialects.params import (
    COLOR,
    DIM,
    EDGES,
    NUM,
    PLACE,
    SHAPE,
    SIGNED,
    Parameter,
    StepParameter,
    anchored,
    one_of,
)
from cropmark.model.formats import Format
from cropmark.model.values import Color, Length
from cropmark.plan.steps import Blur, Canvas, Crop, Edges, Filter, Orientation, Sharpen

_IDA = "https://www.contentstack.com/docs/developers/apis/image-delivery-api"
_ALIGN = "(top|middle|bottom|left|center|right)"
_LENGTH = "1..8192 | 0..0.99 | Np"


def _doc(
    name: str, grammar: str, default: str, about: str, example: str, pattern: str = "", page: str = ""
) -> ParameterDoc:
    return ParameterDoc(name, grammar, default, about, example, _IDA + page, pattern)


ENVIRONMENT: Parameter[str] = Parameter(
    _doc("environment", "name", "not checked", "The asset must be published in it, else 404.", "production"),
    readers.read_name,
    is_modifier=True,
)
BRANCH: Parameter[str] = Parameter(
    _doc("branch", "uid", "main", "The asset's branch.", "main"),
    readers.read_name,
    is_modifier=True,
)
ACCESS_TOKEN: Parameter[str] = Parameter(
    _doc("access_token", "delivery token", "none", "For secured stacks.", "cs0123456789"),
    readers.read_name,
    is_modifier=True,
)
AUTO: Parameter[WordList[Format]] = Parameter(
    _doc(
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
    _doc(
        "quality",
        "1..100 | 1..100,1..100",
        "85",
        "Quality of lossy formats; a second number is for a WebP that `auto` chose.",
        "75",
        anchored("[0-9]+(,[0-9]+)?"),
        "/control-quality",
    ),
    imageopto.read_quality,
)
FORMAT: Parameter[FormatWord] = Parameter(
    _doc(
        "format",
        " | ".join(FORMATS),
        "the source's",
        "Format of the output; not for GIF.",
        "pjpg",
        one_of(FORMATS),
        "/convert-formats",
    ),
    word_reader(FORMATS),
)
WIDTH: Parameter[Length] = Parameter(
    _doc("width", _LENGTH, "the source's", "Width of the output; not for GIF.", "300", anchored(DIM), "/resize-images"),
    imageopto.read_side,
)
HEIGHT: Parameter[Length] = Parameter(
    _doc(
        "height",
        _LENGTH,
        "the source's",
        "Height of the output; not for GIF.",
        "0.5",
        anchored(DIM),
        "/resize-images",
    ),
    imageopto.read_side,
)
DISABLE: Parameter[bool] = Parameter(
    _doc("disable", "upscale", "upscaling is on", "A resize never enlarges.", "upscale", "^upscale$", "/resize-images"),
    word_reader({"upscale": True}),
    ignores_unknown=True,
    is_modifier=True,
)
DPR: Parameter[Fraction] = Parameter(
    _doc(
        "dpr",
        "above 0, up to 10000",
        "1",
        "Multiplies width and height.",
        "1.5",
        anchored(NUM),
        "/device-pixel-ratio",
    ),
    readers.read_dpr,
    is_modifier=True,
)
FIT: Parameter[str] = Parameter(
    _doc(
        "fit",
        " | ".join(FITS),
        "both sides are forced",
        "How the image fits a width and a height. Unknown words are ignored.",
        "crop",
        one_of(FITS),
        "/fit-mode",
    ),
    word_reader({fit: fit for fit in FITS}),
    ignores_unknown=True,
    is_modifier=True,
)
RESIZE_FILTER: Parameter[Filter] = Parameter(
    _doc(
        "resize-filter",
        " | ".join(FILTERS),
        "lanczos3",
        "How a resize resamples. Unknown words are ignored.",
        "bicubic",
        one_of(FILTERS),
        "/resize-filter",
    ),
    word_reader(FILTERS),
    ignores_unknown=True,
    is_modifier=True,
)
CROP: StepParameter[Crop] = StepParameter(
    _doc(
        "crop",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y safe smart",
        "none",
        "Crops to a window. offset-x30 leaves 30 percent of the free width on the left; 0.3 is the same. "
        "`safe` clips the window to the image; `smart` places a ratio by content.",
        "300,400,x50,y75,safe",
        anchored(rf"{SHAPE}({PLACE}|,safe|,smart)*"),
        "/crop-images",
    ),
    imageopto.read_crop,
    step=Crop,
    format=imageopto.format_crop,
)
TRIM: Parameter[Edges] = Parameter(
    _doc("trim", "1 to 4 lengths", "none", "Cuts off the edges.", "25,50,75,100", anchored(EDGES), "/trim-images"),
    grammar.read_edges,
)
ORIENT: Parameter[Orientation] = Parameter(
    _doc("orient", "1..8", "upright by Exif", "Rotates or mirrors the upright image.", "6", one_of(ORIENTATIONS)),
    word_reader(ORIENTATIONS),
)
OVERLAY: Parameter[str] = Parameter(
    _doc(
        "overlay",
        "root-relative path",
        "none",
        "Another asset drawn on the image.",
        "/v3/assets/stack/asset/file/circle.png",
        page="/overlay-settings",
    ),
    imageopto.read_site_path,
)
OVERLAY_ALIGN: Parameter[WordList[Alignment]] = Parameter(
    _doc(
        "overlay-align",
        "top | middle | bottom, left | center | right",
        "middle,center",
        "Alignment of the overlay, one word or two. Unknown words are ignored.",
        "left,bottom",
        anchored(f"{_ALIGN}(,{_ALIGN})?"),
        "/overlay-settings",
    ),
    imageopto.read_tolerant_alignment,
    is_modifier=True,
)
OVERLAY_REPEAT: Parameter[Repeat] = Parameter(
    _doc(
        "overlay-repeat",
        "x | y | both",
        "none",
        "Tiles the overlay along an axis. Unknown words are ignored.",
        "x",
        one_of(REPEATS),
        "/overlay-settings",
    ),
    word_reader(REPEATS),
    ignores_unknown=True,
    is_modifier=True,
)
OVERLAY_WIDTH: Parameter[Length] = Parameter(
    _doc(
        "overlay-width",
        _LENGTH,
        "the overlay's own",
        "Width of the overlay; a fraction or percentage is of the output's width.",
        "0.5",
        anchored(DIM),
        "/overlay-settings",
    ),
    imageopto.read_side,
    is_modifier=True,
)
OVERLAY_HEIGHT: Parameter[Length] = Parameter(
    _doc(
        "overlay-height",
        _LENGTH,
        "the overlay's own",
        "Height of the overlay; a fraction or percentage is of the output's height.",
        "50p",
        anchored(DIM),
        "/overlay-settings",
    ),
    imageopto.read_side,
    is_modifier=True,
)
OVERLAY_PAD: Parameter[Edges] = Parameter(
    _doc(
        "overlay-pad",
        "1 to 4 lengths",
        "none",
        "Padding around the overlay.",
        "30,25,50",
        anchored(EDGES),
        "/overlay-pad",
    ),
    grammar.read_edges,
    is_modifier=True,
)
PAD: Parameter[Edges] = Parameter(
    _doc(
        "pad",
        "1 to 4 lengths",
        "none",
        "Adds an area around the image; ignored together with `canvas`.",
        "25,50",
        anchored(EDGES),
        "/image-pad",
    ),
    grammar.read_edges,
)
CANVAS: Parameter[Canvas] = Parameter(
    _doc(
        "canvas",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y",
        "none",
        "Puts the image, unscaled, on a canvas.",
        "700,800,x150,y75",
        anchored(SHAPE + PLACE),
        "/canvas",
    ),
    imageopto.read_canvas,
)
BG_COLOR: Parameter[Color] = Parameter(
    _doc(
        "bg-color",
        "RGB | RRGGBB | r,g,b | r,g,b,a",
        "white, or clear",
        "Color of the area that `pad` and `canvas` add, and under transparent pixels.",
        "140,220,123,0.5",
        anchored(f"(#|rgb:)?{COLOR}"),
    ),
    readers.read_background,
)
BRIGHTNESS: Parameter[Fraction] = Parameter(
    _doc("brightness", "-100..100", "0", "-100 is black, 100 is white.", "20", anchored(SIGNED)), imageopto.read_tone
)
CONTRAST: Parameter[Fraction] = Parameter(
    _doc("contrast", "-100..100", "0", "-100 is all gray.", "50", anchored(SIGNED)), imageopto.read_tone
)
SATURATION: Parameter[Fraction] = Parameter(
    _doc("saturation", "-100..100", "0", "-100 is gray scale.", "-30", anchored(SIGNED)), imageopto.read_tone
)
SHARPEN: StepParameter[Sharpen] = StepParameter(
    _doc(
        "sharpen",
        "a0..10,r1..1000,t0..255",
        "none",
        "Unsharp mask by amount, radius and threshold. A missing item is a1, r1 or t0.",
        "a5,r1000,t2",
        anchored(rf"[art]{DIM}(,[art]{DIM})*"),
        "/sharpen",
    ),
    readers.read_sharpen,
    step=Sharpen,
    format=readers.format_sharpen,
)
BLUR: StepParameter[Blur] = StepParameter(
    _doc("blur", "1..1000 | Np", "none", "Gaussian blur by a radius in pixels of the output.", "10", anchored(DIM)),
    readers.read_blur,
    step=Blur,
    format=readers.format_blur,
)
FRAME: Parameter[bool] = Parameter(
    _doc("frame", "1", "all frames", "Writes only the first frame of an animated GIF.", "1", "^1$"),
    word_reader({"1": True}),
    ignores_unknown=True,
)

PARAMETERS: tuple[Parameter[object], ...] = (
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
