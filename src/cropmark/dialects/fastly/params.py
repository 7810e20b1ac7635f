"""Fastly's parameters, each row of the reference beside its reader. The order of the rows is that of the reference.

Base of the sources: https://www.fastly.com/documentation/reference/io/
"""

from __future__ import annotations

from fractions import Fraction

from cropmark.dialects import grammar
from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.fastly import readers
from cropmark.dialects.fastly.readers import FORMATS, KEPT, LEVELS, OPTIMIZED, PROFILES
from cropmark.dialects.grammar import WordList, word_of
from cropmark.dialects.imageopto import readers as imageopto
from cropmark.dialects.imageopto.readers import FILTERS, FITS, TURNS, Quality
from cropmark.dialects.params import COLOR, DIM, EDGES, NUM, PLACE, SHAPE, SIGNED, Parameter, one_of, whole_text
from cropmark.model.formats import Format
from cropmark.model.values import Color, Length
from cropmark.plan.steps import Blur, Canvas, Crop, Edges, Filter, Fit, Monochrome, Orientation, Sharpen, TrimBorder

_IO = "https://www.fastly.com/documentation/reference/io/"
_CROP = whole_text(rf"{SHAPE}({PLACE}|,safe|,smart)*")


def _param(name: str, grammar: str, default: str, about: str, example: str, pattern: str = "") -> ParameterDoc:
    return ParameterDoc(name, grammar, default, about, example, _IO + name, pattern)


AUTO: Parameter[WordList[Format]] = Parameter(
    _param(
        "auto",
        "avif | webp, or a list of them; format and true are both",
        "none",
        "The first of AVIF and WebP that the client's Accept names, in place of `format`. Unknown words are ignored.",
        "webp",
    ),
    readers.read_auto,
)
BG_COLOR: Parameter[Color] = Parameter(
    _param(
        "bg-color",
        "RGB | RRGGBB | r,g,b | r,g,b,a",
        "white, or clear where the output holds it",
        "Color of the room that `pad` and `canvas` add, laid under what is transparent.",
        "ff8800",
        whole_text(COLOR),
    ),
    grammar.color,
)
BLUR: Parameter[Blur] = Parameter(
    _param(
        "blur", "0.5..1000 | NUMp", "none", "Gaussian blur by a radius in pixels of the output.", "10", whole_text(DIM)
    ),
    readers.read_blur,
)
BRIGHTNESS: Parameter[Fraction] = Parameter(
    _param("brightness", "-100..100", "0", "-100 is black, 100 is white.", "20", whole_text(SIGNED)),
    imageopto.tone,
)
BW: Parameter[Monochrome] = Parameter(
    _param(
        "bw",
        "threshold | threshold,0..100 | atkinson",
        "none",
        "Only black and white pixels, by a luminance or dithered.",
        "threshold,60",
        whole_text(rf"(threshold(,{NUM})?|atkinson)"),
    ),
    readers.read_monochrome,
)
CANVAS: Parameter[Canvas] = Parameter(
    _param(
        "canvas",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y",
        "none",
        "Lays the picture, unscaled, on a canvas.",
        "1:1,offset-y25",
        whole_text(SHAPE + PLACE),
    ),
    imageopto.canvas,
)
CONTRAST: Parameter[Fraction] = Parameter(
    _param("contrast", "-100..100", "0", "-100 is all gray.", "20", whole_text(SIGNED)), imageopto.tone
)
CROP: Parameter[Crop] = Parameter(
    _param(
        "crop",
        "WIDTH,HEIGHT | RATIO, then x y offset-x offset-y safe smart",
        "none",
        "Keeps a window: `safe` clips it to the picture, `smart` places one of a ratio by content.",
        "16:9,smart",
        _CROP,
    ),
    imageopto.crop,
)
DISABLE: Parameter[bool] = Parameter(
    _param("disable", "upscale", "upscale", "A resize never enlarges; wins over `enable`.", "upscale", "^upscale$"),
    word_of({"upscale": True}),
)
DPR: Parameter[Fraction] = Parameter(
    _param("dpr", "1..10", "1", "Multiplies the size asked for.", "2", whole_text(NUM)), readers.read_dpr
)
ENABLE: Parameter[bool] = Parameter(
    _param("enable", "upscale", "none", "A resize may enlarge.", "upscale", "^upscale$"), word_of({"upscale": True})
)
FIT: Parameter[Fit] = Parameter(
    _param(
        "fit",
        "bounds | cover | crop",
        "both sides are forced",
        "How the picture meets a width and a height. Unknown words are ignored.",
        "crop",
        one_of(FITS),
    ),
    word_of(FITS),
    forgives=True,
)
FORMAT: Parameter[readers.FormatWord] = Parameter(
    _param(
        "format",
        " | ".join(FORMATS),
        "the source's",
        "Format of the output; `auto` is the best that the client's Accept names.",
        "webp",
        one_of(FORMATS),
    ),
    word_of(FORMATS),
)
FRAME: Parameter[bool] = Parameter(
    _param("frame", "1", "all frames", "Of an animation only the first frame.", "1", "^1$"), word_of({"1": True})
)
HEIGHT: Parameter[Length] = Parameter(
    _param("height", "1..8192 | 0.NUM | NUMp", "natural", "Height of the output.", "50p", whole_text(DIM)),
    imageopto.side,
)
LEVEL: Parameter[str] = Parameter(
    _param("level", "1.0 .. 6.2", "3.0", "For mp4 only, so without effect.", "4.0", one_of(LEVELS)),
    word_of({level: level for level in LEVELS}),
    forgives=True,
)
METADATA: Parameter[WordList[readers.MetadataWord]] = Parameter(
    _param(
        "metadata",
        "copyright | c2pa | copyright,c2pa",
        "all is removed",
        "What stays from JPEG to JPEG. c2pa is ignored: it needs keys to sign with.",
        "copyright",
        whole_text(f"({'|'.join(KEPT)})(,({'|'.join(KEPT)}))*"),
    ),
    readers.read_kept,
)
OPTIMIZE: Parameter[int] = Parameter(
    _param(
        "optimize",
        "low | medium | high",
        "none",
        "Saving in place of `quality`: near the source, the same look, the smallest.",
        "medium",
        one_of(OPTIMIZED),
    ),
    word_of(OPTIMIZED),
    forgives=True,
)
ORIENT: Parameter[Orientation] = Parameter(
    _param("orient", " | ".join(TURNS), "upright", "Turns the upright picture.", "r", one_of(TURNS)),
    word_of(TURNS),
)
PAD: Parameter[Edges] = Parameter(
    _param(
        "pad",
        "1 to 4 lengths",
        "none",
        "Adds room outside the picture; ignored beside `canvas`.",
        "20,10",
        whole_text(EDGES),
    ),
    grammar.edges,
)
PRECROP: Parameter[Crop] = Parameter(
    _param("precrop", "as crop", "none", "A crop before `trim` and `crop`.", "50p,100p,x0,y0", _CROP), imageopto.crop
)
PROFILE: Parameter[str] = Parameter(
    _param("profile", " | ".join(PROFILES), "baseline", "For mp4 only, so without effect.", "main", one_of(PROFILES)),
    word_of({profile: profile for profile in PROFILES}),
    forgives=True,
)
QUALITY: Parameter[Quality] = Parameter(
    _param(
        "quality",
        "1..100 | 1..100,1..100",
        "85",
        "Quality of lossy formats; the second for WebP that `auto` chose.",
        "85,70",
        whole_text("[0-9]+(,[0-9]+)?"),
    ),
    imageopto.quality,
)
RESIZE_FILTER: Parameter[Filter] = Parameter(
    _param(
        "resize-filter",
        " | ".join(FILTERS),
        "lanczos3",
        "How a resize resamples. Unknown words are ignored.",
        "bicubic",
        one_of(FILTERS),
    ),
    word_of(FILTERS),
    forgives=True,
)
SATURATION: Parameter[Fraction] = Parameter(
    _param("saturation", "-100..100", "0", "-100 is gray scale.", "-50", whole_text(SIGNED)),
    imageopto.tone,
)
SHARPEN: Parameter[Sharpen] = Parameter(
    _param(
        "sharpen",
        "a0..10,r0.5..1000,t0..255",
        "none",
        "Unsharp mask by amount, radius and threshold.",
        "a5,r2,t1",
        whole_text(rf"[art]{NUM}(,[art]{NUM}){{2,}}"),
    ),
    readers.read_sharpen,
)
TRIM: Parameter[Edges] = Parameter(
    _param("trim", "1 to 4 lengths", "none", "Cuts off at the edges.", "25,50,75,100", whole_text(EDGES)),
    grammar.edges,
)
TRIM_COLOR: Parameter[TrimBorder] = Parameter(
    _param(
        "trim-color",
        "COLOR | auto, then t0..1",
        "none",
        "Removes the border of one color, not on GIF. `auto` is that of the top left pixel.",
        "auto,t0.1",
        whole_text(rf"(auto|{COLOR})(,t{NUM})?"),
    ),
    readers.read_trim_border,
)
VIEWBOX: Parameter[bool] = Parameter(
    _param("viewbox", "1", "none", "For SVG only, so without effect.", "1", "^1$"), word_of({"1": True})
)
WIDTH: Parameter[Length] = Parameter(
    _param("width", "1..8192 | 0.NUM | NUMp", "natural", "Width of the output.", "300", whole_text(DIM)),
    imageopto.side,
)

ROWS: tuple[Parameter[object], ...] = (
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
