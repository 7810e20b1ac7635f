"""Parses the request headers that add images: an overlay on the image, or a montage that replaces the image.

Source: https://www.fastly.com/documentation/reference/io/overlay and
https://www.fastly.com/documentation/reference/io/montage
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from cropmark.dialects import grammar
from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.fastly import params
from cropmark.dialects.grammar import word_reader
from cropmark.dialects.imageopto import readers as imageopto
from cropmark.dialects.imageopto.readers import MAX_SIDE, REPEATS, Alignment, Repeat
from cropmark.dialects.params import DIM, EDGES, Parameter, ParsedParams, anchored, one_of
from cropmark.model.problems import BadValue, OutputTooLarge
from cropmark.model.values import WHITE, Length, Size
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.plan.steps import Cell, Edges, Montage, Overlay

OVERLAY_HEADER = "x-fastly-imageopto-overlay"
MONTAGE_HEADER = "x-fastly-imageopto-montage"

T = TypeVar("T")

_IO = "https://www.fastly.com/documentation/reference/io/"


def _doc(name: str, page: str, grammar: str, default: str, about: str, example: str, pattern: str = "") -> ParameterDoc:
    return ParameterDoc(name, grammar, default, about, example, _IO + page, pattern)


# ------------------------------------------------------------------------------------------------ overlay

OVERLAY: Parameter[str] = Parameter(
    _doc("overlay", "overlay", "root-relative URL", "none", "An image drawn on the finished one.", "/logo.png"),
    imageopto.read_site_path,
)
OVERLAY_BASE64: Parameter[str] = Parameter(
    _doc(
        "overlay-base64",
        "overlay",
        "the same in base64",
        "none",
        "The same as `overlay`, which takes precedence.",
        "L2xvZ28ucG5n",
    ),
    imageopto.read_base64_site_path,
)
OVERLAY_WIDTH: Parameter[Length] = Parameter(
    _doc(
        "overlay-width",
        "overlay",
        "1..8192 | 0.NUM | NUMp",
        "its own",
        "Width of the overlay; a fraction or percentage is of the output's width.",
        "0.5",
        anchored(DIM),
    ),
    imageopto.read_side,
)
OVERLAY_HEIGHT: Parameter[Length] = Parameter(
    _doc(
        "overlay-height",
        "overlay",
        "1..8192 | 0.NUM | NUMp",
        "its own",
        "Height of the overlay; a fraction or percentage is of the output's height.",
        "50",
        anchored(DIM),
    ),
    imageopto.read_side,
)
OVERLAY_ALIGN: Parameter[Alignment] = Parameter(
    _doc(
        "overlay-align",
        "overlay",
        "top | middle | bottom, left | center | right",
        "middle,center",
        "Alignment of the overlay, one word or two.",
        "bottom,right",
        anchored("(top|middle|bottom|left|center|right)(,(top|middle|bottom|left|center|right))?"),
    ),
    imageopto.read_alignment,
)
OVERLAY_PAD: Parameter[Edges] = Parameter(
    _doc(
        "overlay-pad",
        "overlay",
        "1 to 4 lengths",
        "none",
        "Transparent padding around the overlay.",
        "10",
        anchored(EDGES),
    ),
    grammar.read_edges,
)
OVERLAY_REPEAT: Parameter[Repeat] = Parameter(
    _doc("overlay-repeat", "overlay", "x | y | both", "none", "Tiles the overlay along an axis.", "x", one_of(REPEATS)),
    word_reader(REPEATS),
)

OVERLAY_PARAMETERS: tuple[Parameter[object], ...] = (
    OVERLAY,
    OVERLAY_BASE64,
    OVERLAY_WIDTH,
    OVERLAY_HEIGHT,
    OVERLAY_ALIGN,
    OVERLAY_PAD,
    OVERLAY_REPEAT,
)


def overlay_path(parsed: ParsedParams) -> str | None:
    """The root-relative path of the overlay; None if the request has no overlay."""
    return OVERLAY.of(parsed) or OVERLAY_BASE64.of(parsed)


def overlay_step(parsed: ParsedParams, source: int) -> Overlay:
    """The Step that draws the overlay on the finished image.

    `source` is the index of the overlay in the sources of the Order.
    """
    align = OVERLAY_ALIGN.of(parsed) or Alignment()
    repeat = OVERLAY_REPEAT.of(parsed) or Repeat(across=False, down=False)
    return Overlay(
        source=source,
        width=OVERLAY_WIDTH.of(parsed),
        height=OVERLAY_HEIGHT.of(parsed),
        x=align.x,
        y=align.y,
        edges=OVERLAY_PAD.of(parsed) or Edges(),
        repeat_across=repeat.across,
        repeat_down=repeat.down,
    )


# ------------------------------------------------------------------------------------------------ montage

# Each digit is the index of an image. The rectangle of equal digits is the cell of that image.
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "2a": ("01",),
    "2b": ("0",
           "1"),
    "3a": ("01",
           "02"),
    "3b": ("00",
           "12"),
    "3c": ("012",),
    "3d": ("0",
           "1",
           "2"),
    "4a": ("01",
           "23"),
    "4b": ("01",
           "02",
           "03"),
    "4c": ("000",
           "123"),
    "4d": ("0123",),
    "4e": ("0",
           "1",
           "2",
           "3"),
}  # fmt: skip


def _read_pixels(parameter: str, text: str) -> int:
    return grammar.read_integer(parameter, text, 1, MAX_SIDE)


def _read_padding(parameter: str, text: str) -> int:
    return grammar.read_integer(parameter, text, 0, MAX_SIDE)


def _read_layout(parameter: str, text: str) -> tuple[str, ...]:
    if text not in LAYOUTS:
        raise BadValue(parameter, text, expected=f"one of {', '.join(LAYOUTS)}", fix="write 2a for two images")
    return LAYOUTS[text]


def _read_images(parameter: str, text: str) -> tuple[str, ...]:
    paths = text.split(";") if text.count(";") < 4 else ()
    if not paths:
        raise BadValue(parameter, text, expected="at most 4 paths with ; between them", fix="write /a.jpg;/b.jpg")
    return tuple(imageopto.read_site_path(parameter, path.strip()) for path in paths)


MONTAGE_WIDTH: Parameter[int] = Parameter(
    _doc("width", "montage", "1..8192", "needed", "Width in pixels.", "400", "^[0-9]+$"), _read_pixels
)
MONTAGE_HEIGHT: Parameter[int] = Parameter(
    _doc("height", "montage", "1..8192", "needed", "Height in pixels.", "200", "^[0-9]+$"), _read_pixels
)
LAYOUT: Parameter[tuple[str, ...]] = Parameter(
    _doc("layout", "montage", " | ".join(LAYOUTS), "needed", "The layout of the images.", "3a", one_of(LAYOUTS)),
    _read_layout,
)
IMAGES: Parameter[tuple[str, ...]] = Parameter(
    _doc("images", "montage", "URL;URL[;URL[;URL]]", "needed", "Root-relative URLs.", "/a.jpg;/b.jpg"),
    _read_images,
)
PADDING: Parameter[int] = Parameter(
    _doc("padding", "montage", "0..8192", "0", "Pixels inside the edges of each cell.", "10", "^[0-9]+$"),
    _read_padding,
)
_BG_COLOR = replace(
    params.BG_COLOR,
    doc=replace(params.BG_COLOR.doc, default="white", about="Color of the area that the images leave free."),
)
_FORMAT = replace(params.FORMAT, doc=replace(params.FORMAT.doc, default="jpg"))

MONTAGE_PARAMETERS: tuple[Parameter[object], ...] = (
    MONTAGE_WIDTH,
    MONTAGE_HEIGHT,
    LAYOUT,
    IMAGES,
    PADDING,
    params.DPR,
    _BG_COLOR,
    _FORMAT,
    params.QUALITY,
)


@dataclass(frozen=True, slots=True)
class MontagePlan:
    """The Step of a montage, and the images in its cells.

    The cells count these images from 1, because source 0 of the Order is the image in the URL.
    """

    step: Montage
    images: tuple[SourceRequest, ...]


def montage_plan(parsed: ParsedParams, base: str) -> MontagePlan:
    """The montage that the parameters of the montage header describe. `base` is the path prefix of the mount.

    Raises BadValue for a missing or wrong parameter, OutputTooLarge if a side times dpr is above 8192 px.
    """
    layout = _required(LAYOUT, parsed)
    paths = _required(IMAGES, parsed)
    expected = len({digit for row in layout for digit in row})
    if len(paths) != expected:
        raise BadValue(
            "images", ";".join(paths), expected=f"{expected} images for this layout", fix="add or remove paths"
        )
    step = Montage(
        size=_size(parsed),
        cells=tuple(_cell(layout, index) for index in range(expected)),
        padding=PADDING.of(parsed) or 0,
        color=params.BG_COLOR.of(parsed) or WHITE,
    )
    _check_padding(step)
    return MontagePlan(
        step, tuple(SourceRequest(SitePath(imageopto.strip_mount(base, path)), parameter="images") for path in paths)
    )


def _size(parsed: ParsedParams) -> Size:
    dpr = params.DPR.of(parsed) or Fraction(1)
    width, height = (int(_required(side, parsed) * dpr + Fraction(1, 2)) for side in (MONTAGE_WIDTH, MONTAGE_HEIGHT))
    if max(width, height) > MAX_SIDE:
        raise OutputTooLarge(
            f"the montage would be {width} by {height} pixels, more than {MAX_SIDE}",
            fix="write a smaller width, height or dpr",
            parameter="dpr",
        )
    return Size(width, height)


def _cell(layout: tuple[str, ...], index: int) -> Cell:
    """The cell of the image with this index: the rectangle that its digit fills in the layout.

    The edges of the cell are fractions of the montage's sides.
    """
    down, across = len(layout), len(layout[0])
    rows = [y for y in range(down) if str(index) in layout[y]]
    columns = [x for x in range(across) if str(index) in layout[rows[0]][x]]
    return Cell(
        source=index + 1,
        left=Fraction(columns[0], across),
        top=Fraction(rows[0], down),
        right=Fraction(columns[-1] + 1, across),
        bottom=Fraction(rows[-1] + 1, down),
    )


def _check_padding(step: Montage) -> None:
    """Raise BadValue if the padding fills the smallest cell. For this check, the sides of cells are rounded down."""
    narrowest = min(int((cell.right - cell.left) * step.size.width) for cell in step.cells)
    lowest = min(int((cell.bottom - cell.top) * step.size.height) for cell in step.cells)
    most = (min(narrowest, lowest) - 1) // 2
    if step.padding > max(most, 0):
        raise BadValue(
            "padding", str(step.padding), expected=f"at most {max(most, 0)} here", fix="write a smaller padding"
        )


def _required(parameter: Parameter[T], parsed: ParsedParams) -> T:
    value = parameter.of(parsed)
    if value is None:
        grammar = f"{parameter.doc.grammar} in a montage"
        raise BadValue(parameter.name, "", expected=grammar, fix=f"add {parameter.name}=…")
    return value
