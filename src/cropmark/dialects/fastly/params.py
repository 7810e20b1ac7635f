"""Fastly's parameters, in the order of the reference, each with its documentation and its reader.

The pages of the reference are below https://www.fastly.com/documentation/reference/io/
"""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.fastly import readers
from cropmark.dialects.fastly.readers import FORMATS, LEVELS, METADATA_WORDS, OPTIMIZED, PROFILES
from cropmark.dialects.grammar import WordList, word_reader
from cropmark.dialects.imageopto import readers as imageopto
from cropmark.dialects.imageopto.readers import FILTERS, FITS, ORIENTATIONS, Quality
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
from cropmark.plan.plan import H264Profile
from cropmark.plan.steps import Blur, Canvas, Crop, Edges, Filter, Fit, Monochrome, Orientation, Sharpen, TrimBorder

_IO = "https://www.fastly.com/documentation/reference/io/"
_CROP = anchored(rf"{SHAPE}({PLACE}|,safe|,smart)*")


def _doc(name: str, grammar: str, default: str, about: str, example: str, pattern: str = "") -> ParameterDoc:
    return ParameterDoc(name, grammar, default, about, example, _IO + name, pattern)


AUTO: Parameter[WordList[Format]] = Parameter(
    _doc(
        "auto",
        "avif | webp, or a list of them; format and true are both",
        "none",
        "The first of AVIF and WebP that the client's Accept names, in place of `format`. Unknown words are ignored.",
        "webp",
    ),
    readers.read_auto,
)
BG_COLOR: Parameter[Color] = Parameter(
    _doc(
        "bg-color",
        "RGB | RRGGBB | r,g,b | r,g,b,a",
        "white, or transparent if the output supports it",
        "Color of the area that `pad` and `canvas` add, and under transparent pixels.",
        "ff8800",
        anchored(COLOR),
    ),
    grammar.read_color,
)
BLUR: StepParameter[Blur] = StepParameter(
    _doc("blur", "0.5..1000 | NUMp", "none", "Gaussian blur by a radius in pixels of the output.", "10", anchored(DIM)),
    readers.read_blur,
    step=Blur,
    format=readers.format_blur,
)
BRIGHTNESS: Parameter[Fraction] = Parameter(
    _doc("brightness", "-100..100", "0", "-100 is black, 100 is white.", "20", anchored(SIGNED)),
    imageopto.read_tone,
)
BW: StepParameter[Monochrome] = StepParameter(
    _doc(
        "bw",
        "threshold | threshold,0..100 | atkinson",
        "none",
        "Only black and white pixels, by a luminance or dithered.",
        "threshold,60",
        anchored(rf"(threshold(,{NUM})?|atkinson)"),
    ),
    readers.read_monochrome,
    step=Monochrome,
    format=readers.format_monochrome,
)
CANVAS: Parameter[Canvas] = Parameter(
    _doc(
        "canvas",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y",
        "none",
        "Puts the image, unscaled, on a canvas.",
        "1:1,offset-y25",
        anchored(SHAPE + PLACE),
    ),
    imageopto.read_canvas,
)
CONTRAST: Parameter[Fraction] = Parameter(
    _doc("contrast", "-100..100", "0", "-100 is all gray.", "20", anchored(SIGNED)), imageopto.read_tone
)
CROP: StepParameter[Crop] = StepParameter(
    _doc(
        "crop",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y safe smart",
        "none",
        "Crops to a window. offset-x30 leaves 30 percent of the free width on the left; 0.3 is the same. "
        "`safe` clips the window to the image; `smart` places a ratio by content.",
        "16:9,smart",
        _CROP,
    ),
    imageopto.read_crop,
    step=Crop,
    format=imageopto.format_crop,
)
DISABLE: Parameter[bool] = Parameter(
    _doc("disable", "upscale", "upscale", "A resize never enlarges, even with `enable`.", "upscale", "^upscale$"),
    word_reader({"upscale": True}),
)
DPR: Parameter[Fraction] = Parameter(
    _doc("dpr", "1..10", "1", "Multiplies the requested size.", "2", anchored(NUM)), readers.read_dpr
)
ENABLE: Parameter[bool] = Parameter(
    _doc("enable", "upscale", "none", "A resize may enlarge.", "upscale", "^upscale$"), word_reader({"upscale": True})
)
FIT: Parameter[Fit] = Parameter(
    _doc(
        "fit",
        "bounds | cover | crop",
        "both sides are forced",
        "How the image fits a width and a height. Unknown words are ignored.",
        "crop",
        one_of(FITS),
    ),
    word_reader(FITS),
    ignores_unknown=True,
)
FORMAT: Parameter[readers.FormatWord] = Parameter(
    _doc(
        "format",
        " | ".join(FORMATS),
        "the source's",
        "Format of the output; `auto` is the best that the client's Accept names. "
        "jxl needs the extra `jxl`, mp4 the extra `video`, the setting `allow_video`, and an animated GIF. "
        "Without them, and svg always, the word is ignored with a warning.",
        "webp",
        one_of(FORMATS),
    ),
    word_reader(FORMATS),
)
FRAME: Parameter[bool] = Parameter(
    _doc("frame", "1", "all frames", "Writes only the first frame of an animation.", "1", "^1$"),
    word_reader({"1": True}),
)
HEIGHT: Parameter[Length] = Parameter(
    _doc("height", "1..8192 | 0.NUM | NUMp", "natural", "Height of the output.", "50p", anchored(DIM)),
    imageopto.read_side,
)
LEVEL: Parameter[int] = Parameter(
    _doc(
        "level",
        "1.0 .. 6.2",
        "3.0",
        "Level of H.264 in an mp4, used together with `profile`. "
        "A larger or faster video has the lowest level that fits.",
        "4.0",
        one_of(LEVELS),
    ),
    word_reader(LEVELS),
    ignores_unknown=True,
)
METADATA: Parameter[WordList[readers.MetadataWord]] = Parameter(
    _doc(
        "metadata",
        "copyright | c2pa | copyright,c2pa",
        "all is removed",
        "Metadata to copy from JPEG to JPEG. c2pa is ignored: it needs signing keys.",
        "copyright",
        anchored(f"({'|'.join(METADATA_WORDS)})(,({'|'.join(METADATA_WORDS)}))*"),
    ),
    readers.read_metadata,
)
OPTIMIZE: Parameter[int] = Parameter(
    _doc(
        "optimize",
        "low | medium | high",
        "none",
        "Compression in place of `quality`: low is near the source, medium looks the same, high is the smallest.",
        "medium",
        one_of(OPTIMIZED),
    ),
    word_reader(OPTIMIZED),
    ignores_unknown=True,
)
ORIENT: Parameter[Orientation] = Parameter(
    _doc(
        "orient",
        " | ".join(ORIENTATIONS),
        "upright",
        "Rotates or mirrors the upright image.",
        "r",
        one_of(ORIENTATIONS),
    ),
    word_reader(ORIENTATIONS),
)
PAD: Parameter[Edges] = Parameter(
    _doc(
        "pad",
        "1 to 4 lengths",
        "none",
        "Adds an area around the image; ignored together with `canvas`.",
        "20,10",
        anchored(EDGES),
    ),
    grammar.read_edges,
)
PRECROP: StepParameter[Crop] = StepParameter(
    _doc("precrop", "as crop", "none", "A crop before `trim` and `crop`.", "50p,100p,x0,y0", _CROP),
    imageopto.read_crop,
    step=Crop,
    format=imageopto.format_crop,
)
PROFILE: Parameter[H264Profile] = Parameter(
    _doc(
        "profile",
        " | ".join(PROFILES),
        "baseline",
        "Profile of H.264 in an mp4, used together with `level`.",
        "main",
        one_of(PROFILES),
    ),
    word_reader(PROFILES),
    ignores_unknown=True,
)
QUALITY: Parameter[Quality] = Parameter(
    _doc(
        "quality",
        "1..100 | 1..100,1..100",
        "85",
        "Quality of lossy formats; a second number is for a WebP that `auto` chose.",
        "85,70",
        anchored("[0-9]+(,[0-9]+)?"),
    ),
    imageopto.read_quality,
)
RESIZE_FILTER: Parameter[Filter] = Parameter(
    _doc(
        "resize-filter",
        " | ".join(FILTERS),
        "lanczos3",
        "How a resize resamples. Unknown words are ignored.",
        "bicubic",
        one_of(FILTERS),
    ),
    word_reader(FILTERS),
    ignores_unknown=True,
)
SATURATION: Parameter[Fraction] = Parameter(
    _doc("saturation", "-100..100", "0", "-100 is gray scale.", "-50", anchored(SIGNED)),
    imageopto.read_tone,
)
SHARPEN: StepParameter[Sharpen] = StepParameter(
    _doc(
        "sharpen",
        "a0..10,r0.5..1000,t0..255",
        "none",
        "Unsharp mask by amount, radius and threshold.",
        "a5,r2,t1",
        anchored(rf"[art]{NUM}(,[art]{NUM}){{2,}}"),
    ),
    readers.read_sharpen,
    step=Sharpen,
    format=readers.format_sharpen,
)
TRIM: Parameter[Edges] = Parameter(
    _doc("trim", "1 to 4 lengths", "none", "Cuts off the edges.", "25,50,75,100", anchored(EDGES)),
    grammar.read_edges,
)
TRIM_COLOR: StepParameter[TrimBorder] = StepParameter(
    _doc(
        "trim-color",
        "COLOR | auto, then t0..1",
        "none",
        "Removes a border of one color, not on GIF. `auto` is the color of the top left pixel.",
        "auto,t0.1",
        anchored(rf"(auto|{COLOR})(,t{NUM})?"),
    ),
    readers.read_trim_border,
    step=TrimBorder,
    format=readers.format_trim_border,
)
VIEWBOX: Parameter[bool] = Parameter(
    _doc("viewbox", "1", "none", "For SVG only, so without effect.", "1", "^1$"), word_reader({"1": True})
)
WIDTH: Parameter[Length] = Parameter(
    _doc("width", "1..8192 | 0.NUM | NUMp", "natural", "Width of the output.", "300", anchored(DIM)),
    imageopto.read_side,
)

PARAMETERS: tuple[Parameter[object], ...] = (
    AUTO,
    BG_COLOR,
    BLUR,
    BRIGHTNESS,
    BW,
    CANVAS,
    CONTRAST,
    CROP,
    DISABLE,
    DPR,
    ENABLE,
    FIT,
    FORMAT,
    FRAME,
    HEIGHT,
    LEVEL,
    METADATA,
    OPTIMIZE,
    ORIENT,
    PAD,
    PRECROP,
    PROFILE,
    QUALITY,
    RESIZE_FILTER,
    SATURATION,
    SHARPEN,
    TRIM,
    TRIM_COLOR,
    VIEWBOX,
    WIDTH,
)
