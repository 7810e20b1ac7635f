"""Draws an SVG at the size of the result, with libvips' librsvg. Used only if the setting `svg` allows it.

Before librsvg draws a file, the file is scanned: for the size at which browsers show it, and for elements beyond our
limits. librsvg follows no reference out of the file, and the sandbox would prevent it. In the sandbox, librsvg cannot
read fonts either, so a file with text is not drawn (docs/decisions/0273).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

import pyvips
from pyvips import Image

from cropmark.geometry.rounding import round_side
from cropmark.model.formats import SNIFF_BYTES, Format, sniff_format
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Size

LOADER_CLASS: Final = "VipsForeignLoadSvgBuffer"
MAX_BYTES: Final = 10 * 2**20
MAX_ELEMENTS: Final = 100_000
"""The most elements that are drawn. The target of a <use> counts each time. This number of rectangles takes 2 s."""
MAX_EMBEDDED_PIXELS: Final = 16_000_000
"""The most pixels of all embedded images together. librsvg decodes each of them whole: 9 bytes and 0.1 µs per pixel."""
_MAX_DEPTH: Final = 256
"""The deepest nesting of elements: libxml2's own limit."""
_MAX_CHAIN: Final = 32
"""The longest chain of <use> elements that refer to each other."""

_NAMESPACE: Final = "http://www.w3.org/2000/svg "
_XINCLUDE: Final = "http://www.w3.org/2001/XInclude "
_IGNORED_IN_URLS: Final = str.maketrans("", "", "\t\n\r")
_XLINK_HREF: Final = "http://www.w3.org/1999/xlink href"
_DEFAULT: Final = (Fraction(300), Fraction(150))
_FONT_SIZE: Final = 16
_LENGTH: Final = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)([a-zA-Z]*)\s*", re.ASCII)
_PX: Final = {
    "": Fraction(1), "px": Fraction(1), "in": Fraction(96), "cm": Fraction(9600, 254), "mm": Fraction(960, 254),
    "q": Fraction(240, 254), "pt": Fraction(4, 3), "pc": Fraction(16), "em": Fraction(_FONT_SIZE),
    "rem": Fraction(_FONT_SIZE), "ex": Fraction(_FONT_SIZE, 2),
}  # fmt: skip
_NOT_DRAWN: Final = ("text", "foreignObject")
_MAX_SIDE: Final = 10**6

_is_enabled = False


def enable() -> None:
    """Let libvips draw SVGs in this process.

    This must happen before the process enters the sandbox, because the first drawing opens files.
    """
    global _is_enabled  # noqa: PLW0603 - a process has one set of loaders
    pyvips.operation_block_set(LOADER_CLASS, False)
    _drawn(b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>').avg()
    _is_enabled = True


def is_enabled() -> bool:
    """True if SVGs are drawn in this process."""
    return _is_enabled


@dataclass(frozen=True, slots=True)
class SvgHeader:
    """The size of an SVG in CSS pixels, and the name of the first element in it that cannot be drawn, if any."""

    width: Fraction
    height: Fraction
    not_drawn: str
    origin: tuple[Fraction, Fraction]
    """The attributes x and y of the root element, which have no effect in browsers."""
    span: tuple[int, int]
    """The start and the end of the root element in the file, in bytes."""

    @property
    def size(self) -> Size:
        return Size(round_side(self.width), round_side(self.height))


def header_of(data: bytes) -> SvgHeader:
    """The header of an SVG, from a scan of the whole file.

    Raises SourceUnusable if the file is not an SVG, has no area, or exceeds a limit.
    """
    if len(data) > MAX_BYTES:
        raise _unusable(f"it has {len(data)} bytes, at most {MAX_BYTES} are drawn")
    scan = _Scan(data)
    if min(scan.width, scan.height) <= 0 or max(scan.width, scan.height) > _MAX_SIDE:
        raise _unusable("it has no size that can be drawn")
    return SvgHeader(scan.width, scan.height, scan.not_drawn, scan.origin, scan.span)


def decoded(data: bytes, size: Size) -> Image:
    """The whole SVG drawn at exactly this size, with alpha.

    Raises SourceUnusable. Raises pyvips.Error later, when the pixels are read.
    """
    header = header_of(data)
    start, end = header.span
    x, y, width, height = (float(part) for part in (*header.origin, header.width, header.height))
    # The root becomes an inner element, so that its own width, height and viewBox mean the same at every size.
    frame = (
        f'<svg xmlns="{_NAMESPACE.strip()}" width="{size.width}" height="{size.height}" '
        f'viewBox="{x} {y} {width} {height}" preserveAspectRatio="none" font-size="{_FONT_SIZE}px">'
    ).encode()
    return _drawn(b"".join((data[:start], frame, data[start:end], b"</svg>", data[end:])))


def _drawn(data: bytes) -> Image:
    # 96 dpi make an inch 96 px long, as in browsers. libvips also enlarges the image by dpi/72, which `scale` undoes.
    return Image.svgload_buffer(data, dpi=96, scale=0.75, access="sequential", fail_on="error")


def _unusable(detail: str) -> SourceUnusable:
    return SourceUnusable(f"the SVG is not drawn: {detail}", fix="send a smaller or simpler SVG, or a PNG")


@dataclass(slots=True)
class _Element:
    """An element of the file: its number, the number of elements in it, and the range of its <use> references.

    Elements and references are numbered in the order of the file. `first` is the number of this element, which
    `elements` counts too. The references are those from `first_use` to `last_use` - 1.
    """

    first: int
    first_use: int
    elements: int = 0
    last_use: int = 0


class _Scan:
    """A scan of an SVG with expat, which finds its size and enforces the limits. Raises SourceUnusable.

    expat loads no external entity, and limits the expansion of internal entities.
    """

    def __init__(self, data: bytes) -> None:
        self.width, self.height = _DEFAULT
        self.origin = (Fraction(0), Fraction(0))
        self.not_drawn = ""
        self.span = (0, 0)
        self._data = data
        self._elements = 0
        self._open: list[_Element] = []
        self._named: dict[str, _Element] = {}
        self._uses: list[str] = []
        """The names that <use> elements refer to, in the order of the file."""
        self._embedded: set[str] = set()
        self._embedded_pixels = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        try:
            self._parser.Parse(data, True)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise _unusable("it is not well-formed XML") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise _unusable(f"it has more than {MAX_ELEMENTS} elements")
        if not self._open:
            self._root(name, attributes)
        if len(self._open) >= _MAX_DEPTH:
            raise _unusable(f"its elements are nested more than {_MAX_DEPTH} deep")
        element = _Element(self._elements - 1, len(self._uses))
        self._open.append(element)
        if (reference := attributes.get("id")) is not None:
            self._named.setdefault(reference, element)
        href = (attributes.get("href") or attributes.get(_XLINK_HREF) or "").translate(_IGNORED_IN_URLS).strip()
        if name.startswith(_XINCLUDE) and href[:5].lower() == "data:":  # librsvg follows it, browsers do not
            raise _unusable("it includes a document in a data URL")
        if not name.startswith(_NAMESPACE):
            return
        local = name.removeprefix(_NAMESPACE)
        if local in _NOT_DRAWN:
            self.not_drawn = self.not_drawn or local
        self._refer(local, href)

    def _root(self, name: str, attributes: dict[str, str]) -> None:
        if name != f"{_NAMESPACE}svg":
            raise _unusable("its root is not an svg element")
        self.span = (self._parser.CurrentByteIndex, 0)
        self.width, self.height = natural_size(attributes)
        self.origin = (_length(attributes.get("x")) or Fraction(0), _length(attributes.get("y")) or Fraction(0))

    def _refer(self, local: str, href: str) -> None:
        if local == "use" and href.startswith("#"):
            self._uses.append(href[1:])
        elif local in ("image", "feImage") and href[:5].lower() == "data:":
            if href not in self._embedded:
                self._embedded.add(href)
                self._embedded_pixels += _embedded_pixels(href)
            if self._embedded_pixels > MAX_EMBEDDED_PIXELS:
                raise _unusable(f"its images have more than {MAX_EMBEDDED_PIXELS} pixels")
        elif href[:5].lower() == "data:":
            raise _unusable("it refers to a document in a data URL")

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        element.elements, element.last_use = self._elements - element.first, len(self._uses)
        if self._open:
            return
        at = self._parser.CurrentByteIndex  # of the end tag, or after the tag of an empty element
        self.span = (self.span[0], self._data.index(b">", at) + 1 if self._data[at : at + 2] == b"</" else at)
        if self._drawn(element, {}, 0) > MAX_ELEMENTS:
            raise _unusable(f"it draws more than {MAX_ELEMENTS} elements")

    def _drawn(self, element: _Element, known: dict[str, int], chain: int) -> int:
        """The number of elements that are drawn for an element. The targets of its references count too.

        `known` has this number for each earlier target, by its id. `chain` is the number of references that led to this
        element.
        """
        if chain > _MAX_CHAIN:
            raise _unusable(f"more than {_MAX_CHAIN} use elements refer to each other")
        total = element.elements
        for name, times in Counter(self._uses[element.first_use : element.last_use]).items():
            target = self._named.get(name)
            if target is not None and name not in known:
                known[name] = self._drawn(target, known, chain + 1)
            total += times * known.get(name, 0)
        return total


def natural_size(attributes: dict[str, str]) -> tuple[Fraction, Fraction]:
    """The width and height at which a browser shows an SVG, from the attributes of its root element.

    - If one side is missing or a percentage, it follows from the other side and the aspect ratio of the viewBox.
    - If both sides are missing or percentages, the size is the largest with this ratio within 300x150.
    - Without a ratio, a missing width is 300 and a missing height is 150.
    - A negative length counts as 0.

    Source: https://drafts.csswg.org/css-images/#default-sizing
    """
    width, height = _length(attributes.get("width")), _length(attributes.get("height"))
    ratio = _ratio(attributes)
    if width is not None and height is not None:
        return width, height
    if ratio is None:
        return _DEFAULT[0] if width is None else width, _DEFAULT[1] if height is None else height
    if width is not None:
        return width, width / ratio
    if height is None:
        height = min(_DEFAULT[1], _DEFAULT[0] / ratio)
    return height * ratio, height


def _length(text: str | None) -> Fraction | None:
    """The length in CSS pixels; None if it is absent, a percentage, or in an unknown unit."""
    found = _LENGTH.fullmatch(text or "")
    unit = None if found is None else _PX.get(found[2].lower())
    return None if found is None or unit is None else max(Fraction(0), Fraction(found[1]) * unit)


def _ratio(attributes: dict[str, str]) -> Fraction | None:
    """The width of the viewBox divided by its height; None if the viewBox is missing or invalid.

    Also None if preserveAspectRatio is "none": the drawing may then be stretched to any ratio.
    """
    if attributes.get("preserveAspectRatio", "").split()[:1] == ["none"]:
        return None
    parts = [_LENGTH.fullmatch(part) for part in re.split(r"[\s,]+", attributes.get("viewBox", "").strip())]
    if len(parts) != 4:
        return None
    sides = [Fraction(part[1]) for part in parts[2:] if part is not None and not part[2]]
    return sides[0] / sides[1] if len(sides) == 2 and min(sides) > 0 else None


def _embedded_pixels(url: str) -> int:
    """The number of pixels of the image in a data URL; 0 for a format that librsvg does not draw.

    Raises SourceUnusable for any other file, such as an SVG, which could contain further images.
    """
    head, _, body = url.partition(",")
    data = unquote_to_bytes(body)
    try:
        if head.lower().rstrip().endswith("base64"):
            data = b64decode(data + b"===")
        match sniff_format(data[:SNIFF_BYTES]):
            case Format.PNG:
                image = Image.pngload_buffer(data)
            case Format.JPEG:
                image = Image.jpegload_buffer(data)
            case Format.GIF | Format.WEBP | Format.AVIF:
                return 0
            case _:
                raise _unusable("it embeds a file that is not an image of pixels")
    except (pyvips.Error, ValueError) as error:
        raise _unusable("it embeds a broken image") from error
    return int(image.width * image.height)
