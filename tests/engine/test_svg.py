"""SVG: its size as in Chromium, its limits, and its drawing at the size of the result."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import pytest
import pyvips
from PIL import Image as Pillow

from cropmark.engine import load, svg
from cropmark.engine.render import render
from cropmark.engine.thumbnail import thumbnail_image
from cropmark.geometry.recipe import OriginalBytes, Reason, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.geometry.shrink_on_load import decode_plan
from cropmark.model.formats import READABLE, Format, Info
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import EncodingChoice, Fallback, Order, Output, Plan
from cropmark.plan.steps import AnyStep, Crop, Dimensions, Fit, Resize
from cropmark.ports import Passthrough, Rendered
from tests.builders import encode
from tests.hostile.polyglots import NAMES

READS: Final = READABLE | {Format.SVG}
RED, BLUE, CLEAR = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)


def drawing(body: str = "", attributes: str = 'width="40" height="40"', before: str = "") -> bytes:
    return f"{before}<svg {NAMES.decode()} {attributes}>{body}</svg>".encode()


def embedded(data: bytes, media_type: str = "image/png") -> str:
    return f'<image width="40" height="40" xlink:href="data:{media_type};base64,{b64encode(data).decode()}"/>'


def plan(*steps: AnyStep) -> Plan:
    return Plan(steps, Output((EncodingChoice(Format.PNG),)), READS)


def wide(width: int, height: int | None = None, fit: Fit = Fit.STRETCH) -> Resize:
    return Resize(Pixels(Fraction(width)), None if height is None else Pixels(Fraction(height)), fit)


@pytest.fixture(autouse=True)
def _enabled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks the loader again, because other tests of this process expect it."""
    monkeypatch.setattr(svg, "_is_enabled", False)
    svg.enable()
    yield
    pyvips.operation_block_set(svg.LOADER_CLASS, True)


# ---------------------------------------------------------------------------------------------- size

# fmt: off
SIZES = {
    # attributes of the root                                    the naturalWidth and naturalHeight of Chromium 150
    'width="100" height="50"':                                          (100, 50),
    'viewBox="0 0 24 24"':                                              (150, 150),   # the largest in 300x150
    'viewBox="0 0 400 100"':                                            (300, 75),
    "":                                                                 (300, 150),
    'width="50"':                                                       (50, 150),
    'height="50"':                                                      (300, 50),
    'width="50" viewBox="0 0 100 200"':                                 (50, 100),
    'height="50" viewBox="0 0 100 200"':                                (25, 50),
    'width="100%" height="100%" viewBox="0 0 100 200"':                 (75, 150),    # as without them
    'width="50%" height="30" viewBox="0 0 100 200"':                    (15, 30),
    'width="100%" height="100%"':                                       (300, 150),
    'width="10mm" height="1in"':                                        (38, 96),
    'width="10em" height="2ex"':                                        (160, 16),    # Chromium: 18, by its font
    'width="12pt" height="1pc"':                                        (16, 16),
    'width="100.5" height="77.4"':                                      (101, 77),
    'width="1e2" height="+.5e2px"':                                     (100, 50),
    'width="abc" height="10"':                                          (300, 10),
    'width="auto" height="20" viewBox="0 0 10 20"':                     (10, 20),
    'viewBox="0 0 0 10"':                                               (300, 150),
    'viewBox="0,0,24,24" preserveAspectRatio="none"':                   (300, 150),
    'width="40" height="40" style="width:30px"':                        (40, 40),
}
# fmt: on


@pytest.mark.parametrize("attributes", SIZES)
def test_the_size_is_the_browsers(attributes: str) -> None:
    assert svg.header_of(drawing("", attributes)).size == Size(*SIZES[attributes])


def test_the_header_of_a_drawing() -> None:
    data = drawing("<rect/>")
    assert load.info_of(data) == Info(Format.SVG, Size(40, 40), len(data), alpha=True, lossless=True)
    assert load.info_of(drawing("<text>a</text>")).not_drawn == "text"
    assert load.inspect(data, reads_svg=False)[0] == Info(Format.SVG, Size(1, 1), len(data))


# ---------------------------------------------------------------------------------------------- limits

_CHAIN = "".join(f'<g id="g{n}">{f"""<use href="#g{n + 1}"/>""" * 10}</g>' for n in range(8))
_BOMB = "".join(f'<!ENTITY {"bcdefghij"[n]} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
_HIDDEN = embedded(encode(Pillow.new("L", (5000, 5000)), "PNG")).replace("data:", "da&#9;ta:")
_NESTED = embedded(drawing(embedded(encode(Pillow.new("L", (5000, 5000)), "PNG"))), "image/svg+xml")

# fmt: off
REFUSED = {
    "no area":              (drawing("", 'width="0" height="9"'), "no size"),
    "a negative side":      (drawing("", 'width="-5" height="9" viewBox="0 0 1 2"'), "no size"),
    "a side beyond limits": (drawing("", 'width="1e9" height="9"'), "no size"),
    "a long number":        (drawing("", f'width="{"9" * 5000}" height="9"'), "not well-formed"),
    "no end":               (drawing("<rect>"), "not well-formed"),
    "an unknown encoding":  (drawing(before="<?xml version='1.0' encoding='x'?>"), "not well-formed"),
    "no namespace":         (b"<svg width='9' height='9'/>", "root is not an svg"),
    "another root":         (b"<?xml version='1.0'?><html><svg/></html>", "root is not an svg"),
    "many bytes":           (drawing(" " * svg.MAX_BYTES), "bytes"),
    "many elements":        (drawing("<g/>" * svg.MAX_ELEMENTS), "elements"),
    "uses that multiply":   (drawing(f'<defs>{_CHAIN}<g id="g8"/></defs><use href="#g0"/>'), "elements"),
    "uses in a circle":     (drawing('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g>'), "refer to each"),
    "a long chain":         (drawing("".join(f'<g id="g{n}"><use href="#g{n + 1}"/></g>' for n in range(40))
                                     + '<g id="g40"/>'), "refer to each"),
    "entities":             (drawing("<desc>&j;</desc>" * 9, before=f'<!DOCTYPE svg [<!ENTITY a "ha">{_BOMB}]>'),
                             "not well-formed"),
    "a large image":        (drawing(embedded(encode(Pillow.new("L", (5000, 5000)), "PNG"))), "pixels"),
    "a large JPEG":         (drawing(embedded(encode(Pillow.new("L", (5000, 5000)), "JPEG"), "a/b")), "pixels"),
    "a URL with a tab":     (drawing(_HIDDEN), "pixels"),
    "an included document": (drawing('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" '
                                     'href="data:image/svg+xml,%3Csvg/%3E"/>'), "includes a document"),
    "deep elements":        (drawing("<g>" * 300 + "</g>" * 300), "nested more than"),
    "an SVG inside":        (drawing(_NESTED), "embeds a file"),
    "a page inside":        (drawing(embedded(b"<html>", "image/png")), "embeds a file"),
    "a broken image":       (drawing(embedded(b"\x89PNG\r\n\x1a\n")), "broken image"),
    "a used document":      (drawing('<use href="data:image/svg+xml,%3Csvg/%3E#a"/>'), "refers to a document"),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_a_drawing_beyond_a_limit_is_refused(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(SourceUnusable, match=words):
        load.info_of(data)


def test_a_use_counts_what_it_draws() -> None:
    tiles = drawing('<g id="a"><rect/><rect/></g>' + '<use href="#a"/>' * 1000)
    assert svg.header_of(tiles).size == Size(40, 40)


def test_small_entities_are_expanded() -> None:
    """Adobe Illustrator declares its namespaces so."""
    before = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://127.0.0.1:1/svg11.dtd" [<!ENTITY color "red">]>'
    assert corner(drawing('<rect width="40" height="40" fill="&color;"/>', before=before)) == RED


# ---------------------------------------------------------------------------------------------- drawing


def corner(data: bytes) -> tuple[int, ...]:
    return tuple(int(level) for level in svg.decoded(data, Size(40, 40))(3, 3))


_PNG = encode(Pillow.new("RGB", (8, 8), "blue"), "PNG")
_FILL = '<rect width="{0}" height="{0}" fill="red"/>'

# fmt: off
DRAWN = {
    "a shape":               (drawing(_FILL.format("40")), RED),
    "nothing":               (drawing(), CLEAR),
    "an empty element":      (f'<svg {NAMES.decode()} width="9" height="9"/>'.encode(), CLEAR),
    "a percentage":          (drawing(_FILL.format("100%"), 'viewBox="0 0 24 24"'), RED),
    "a position":            (drawing(_FILL.format("40"), 'x="20" y="20" width="40" height="40"'), RED),
    "an end after comments": (drawing(_FILL.format("40")) + b"<!-- > -->\n<?x y?>", RED),
    "a style sheet":         (drawing('<style>rect { fill: red }</style><rect width="40" height="40"/>'), RED),
    "a web font":            (drawing("<style>@font-face { src: url(data:font/woff2;base64,AA) }</style>"
                                      + _FILL.format("40")), RED),
    "an image":              (drawing(embedded(_PNG)), BLUE),
    "a file":                (drawing('<image width="40" height="40" href="file:///usr/share/a.png"/>'), CLEAR),
    "an origin":             (drawing('<image width="40" height="40" href="http://127.0.0.1:1/a.png"/>'), CLEAR),
    "a script":              (drawing("<script>alert(1)</script>" + _FILL.format("40")), RED),
    "an included file":      (drawing('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" '
                                      'parse="text"/>' + _FILL.format("40")), RED),
}
# fmt: on


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn(name: str) -> None:
    data, color = DRAWN[name]
    assert corner(data) == color


def test_a_file_beside_it_is_not_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("images") / "blue.png"
    path.write_bytes(_PNG)
    for address in (str(path), path.as_uri()):
        assert corner(drawing(f'<image width="40" height="40" href="{address}"/>')) == CLEAR


@pytest.mark.parametrize("size", [Size(1, 1), Size(40, 27), Size(641, 13), Size(2001, 2003)])
def test_the_drawing_has_exactly_the_size(size: Size) -> None:
    drawn = svg.decoded(drawing(_FILL.format("40"), 'width="41.3" height="39.7"'), size)
    assert (drawn.width, drawn.height) == (size.width, size.height)


def test_an_inch_has_96_pixels() -> None:
    line = svg.decoded(drawing('<rect width="1in" height="9"/>', 'width="200" height="20"'), Size(200, 20))
    assert line[3].find_trim(background=0)[2] == 96


# ---------------------------------------------------------------------------------------------- render


def test_a_resize_draws_at_its_size() -> None:
    """The edge of a shape stays sharp: no pixel between black and white, at 50 times the size."""
    data = drawing('<rect width="10" height="20"/>', 'width="20" height="20"')
    rendered = render([data], plan(wide(1000)))
    assert isinstance(rendered, Rendered)
    image = pyvips.Image.pngload_buffer(rendered.body)
    assert (image.width, image.height) == (1000, 1000)
    alpha = image[image.bands - 1].crop(400, 500, 200, 1)
    assert set(bytes(alpha.write_to_memory())) == {0, 255}


TENTH = Crop(Dimensions(Pixels(Fraction(10)), Pixels(Fraction(10))))
# fmt: off
SCALES = [
    # steps                                       scale           the Ops that remain
    ((wide(640),),                                 Fraction(32, 5), ()),
    ((wide(50),),                                  Fraction(1, 2),  ()),
    ((wide(300, 300, Fit.COVER),),                 Fraction(300, 77), ("Extract",)),
    ((wide(200, 77),),                             Fraction(2),     ("Scale",)),    # not in proportion
    ((TENTH, wide(8000),),                   Fraction(120),   ("Extract", "Scale")),  # a part, far enlarged
    ((),                                           Fraction(1),     ()),
]
# fmt: on


@pytest.mark.parametrize(("steps", "scale", "ops"), SCALES)
def test_the_scale_of_a_drawing(steps: tuple[AnyStep, ...], scale: Fraction, ops: tuple[str, ...]) -> None:
    info = Info(Format.SVG, Size(100, 77), 500, alpha=True)
    recipe = resolve(Plan(steps, reads=READS), [info])
    assert isinstance(recipe, Recipe)
    found = decode_plan(recipe, info)
    assert (found.scale, tuple(type(op).__name__ for op in found.ops)) == (scale, ops)


def test_a_drawing_becomes_png_without_a_named_format() -> None:
    rendered = render([drawing(_FILL.format("40"))], Plan(reads=READS))
    assert isinstance(rendered, Rendered)
    assert rendered.format is Format.PNG


def test_a_drawing_with_text_counts_as_unsupported() -> None:
    """The sandbox has no fonts. So it is sent as it is where the dialect sends other formats as they are."""
    info = load.info_of(drawing("<text>a</text>"))
    sent = resolve(Plan(reads=READS, on_unsupported=Fallback.ORIGINAL), [info])
    assert isinstance(sent, OriginalBytes)
    assert sent.reason is Reason.UNSUPPORTED
    with pytest.raises(SourceUnusable, match="<text>"):
        resolve(Plan(reads=READS), [info])


@pytest.mark.parametrize("data", [drawing("<rect/>"), b"<svg", drawing("<text/>")])
def test_a_plan_that_does_not_read_it_passes_it(data: bytes) -> None:
    sent = render([data], Plan(on_unsupported=Fallback.ORIGINAL))
    assert isinstance(sent, Passthrough)
    assert sent.reason is Reason.UNSUPPORTED


def test_a_large_drawing_has_a_small_copy() -> None:
    small, info = thumbnail_image(drawing(_FILL.format("100%"), 'width="9000" height="4500"'), 32)
    assert (small.width, small.height, info.size) == (32, 16, Size(9000, 4500))


def test_an_order_reads_it_on_request() -> None:
    order = Order((), Plan())
    assert order.with_svg(is_read=False) is order
    read = order.with_svg(is_read=True).plan
    assert read is not None
    assert read.reads == READS
    assert read.fingerprint() != Plan().fingerprint()
