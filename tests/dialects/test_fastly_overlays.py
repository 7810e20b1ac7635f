"""Fastly: overlays and montages, which come by header."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from fractions import Fraction

import pytest

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.overlays import LAYOUTS, MONTAGE_PARAMETERS, OVERLAY_PARAMETERS
from cropmark.dialects.fastly.settings import FastlySettings, OnMalformed
from cropmark.dialects.params import Parameter, parse_params
from cropmark.model.formats import Format
from cropmark.model.problems import BadValue, OutputTooLarge
from cropmark.model.values import WHITE, Color, Pixels, Share, Size
from cropmark.plan.plan import Order, Plan
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.plan.steps import CENTERED, Align, Edges, Monochrome, Montage, Overlay, Resize

OVERLAY, MONTAGE, API = Fastly.request_headers


def order_of(query: str = "", settings: FastlySettings | None = None, **given: str) -> Order:
    headers = {f"x-fastly-imageopto-{name}": value for name, value in given.items()}
    return Fastly(settings or FastlySettings()).order(ImageRequest("a.png", query, headers, base="/fastly"))


def plan_of(order: Order) -> Plan:
    assert order.plan is not None
    return order.plan


def px(count: int) -> Pixels:
    return Pixels(Fraction(count))


START, END = Align(Fraction(0)), Align(Fraction(1))

# fmt: off
OVERLAYS = [
    ("overlay=/l.png",                              Overlay(source=1)),
    ("overlay=/l.png&overlay-width=0.5",            Overlay(source=1, width=Share(Fraction(1, 2)))),
    ("overlay=/l.png&overlay-width=50p&overlay-height=20",
        Overlay(source=1, width=Share(Fraction(1, 2)), height=px(20))),
    ("overlay=/l.png&overlay-align=top",            Overlay(source=1, y=START)),
    ("overlay=/l.png&overlay-align=bottom,right",   Overlay(source=1, x=END, y=END)),
    ("overlay=/l.png&overlay-align=right,bottom",   Overlay(source=1, x=END, y=END)),     # V3: their order is free
    ("overlay=/l.png&overlay-align=middle,center",  Overlay(source=1, x=CENTERED, y=CENTERED)),
    ("overlay=/l.png&overlay-pad=1,2",              Overlay(source=1, edges=Edges(px(1), px(2), px(1), px(2)))),
    ("overlay=/l.png&overlay-repeat=both",          Overlay(source=1, repeat_across=True, repeat_down=True)),
    ("overlay=/l.png&overlay-repeat=x",             Overlay(source=1, repeat_across=True)),
]
PATHS = [
    # overlay=                    in the site mounted at /fastly
    ("/logo.png",                 "logo.png"),
    ("/fastly/logo.png",          "logo.png"),            # from the host's root
    ("/fastlyer/logo.png",        "fastlyer/logo.png"),
    ("%2Ffastly%2Fa%20b.png",     "a b.png"),
    ("/fastly/L.PNG?x=1",         "L.PNG"),               # its own query is dropped, its case is unchanged
    ("/caf%25C3%25A9.png",        "café.png"),            # encoded for the URL and for the query
]
PATHS_REFUSED = [
    "http://elsewhere/l.png", "//elsewhere/l.png", "https:/l.png", "l.png", "/\\elsewhere/l.png", "/%5Celsewhere/l.png",
    "/" + "a" * 3000,
]
# fmt: on


@pytest.mark.parametrize(("header", "step"), OVERLAYS)
def test_an_overlay_is(header: str, step: Overlay) -> None:
    assert plan_of(order_of(overlay=header)).steps == (step,)


@pytest.mark.parametrize(("url", "path"), PATHS)
def test_an_overlay_is_of_this_site(url: str, path: str) -> None:
    wanted = SourceRequest(SitePath(path), optional=True, parameter="overlay")
    assert order_of(overlay=f"overlay={url}").sources == (SourceRequest(SitePath("a.png")), wanted)


@pytest.mark.parametrize("url", PATHS_REFUSED)
def test_an_overlay_of_another_host_is_refused(url: str) -> None:
    with pytest.raises(BadValue, match=r"overlay: expected a path of this site that begins with /") as refused:
        order_of(overlay=f"overlay={url}")
    assert refused.value.fix == "write it like /folder/image.png, without scheme and host"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("path", ["/logo.png", "/a/logo??>>~~.png", "/logo1.png"])
def test_a_path_in_base64_is_the_same_path(encode, path: str) -> None:  # type: ignore[no-untyped-def]  # two codecs
    text = encode(path.encode()).decode()
    kept = path.partition("?")[0].removeprefix("/")
    for header in (f"overlay-base64={text}", f"overlay-base64={text.rstrip('=')}"):
        assert order_of(overlay=header).sources[1].ref == SitePath(kept)


@pytest.mark.parametrize("text", ["!!!", "L2xv1", "/w==", "aHR0cDovL2V2aWwvYS5wbmc=", "\u0661"])
def test_other_base64_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="overlay-base64"):
        order_of(overlay=f"overlay-base64={text}")


# fmt: off
OVERLAYS_REFUSED = [
    ("overlay-align=top,bottom", "overlay-align", "one word for each axis"),
    ("overlay-align=north",      "overlay-align", "one of top, middle, bottom, left, center, right"),
    ("overlay-repeat=z",         "overlay-repeat", "one of x, y, both"),
    ("overlay-width=0",          "overlay-width", "above 0"),
    ("overlay-height=9000",      "overlay-height", "at most 8192"),
    ("overlay-pad=1,2,3,4,5",    "overlay-pad", "one to four"),
]
# fmt: on


@pytest.mark.parametrize(("header", "parameter", "words"), OVERLAYS_REFUSED)
def test_an_overlay_is_refused(header: str, parameter: str, words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        order_of(overlay=f"overlay=/l.png&{header}")
    assert refused.value.parameter == parameter
    lenient = order_of("", FastlySettings(on_malformed=OnMalformed.IGNORE), overlay=f"overlay=/l.png&{header}")
    assert [warned.parameter for warned in lenient.warnings] == [parameter]


def test_an_overlay_is_drawn_on_the_finished_image_before_black_and_white() -> None:
    steps = plan_of(order_of("width=9&bw=atkinson", overlay="overlay=/l.png")).steps
    assert [type(step) for step in steps] == [Resize, Overlay, Monochrome]


def test_the_operator_may_turn_headers_off_and_parameters_on() -> None:
    deaf = FastlySettings(read_overlay_header=False, read_montage_header=False)
    montage = "width=9&height=9&layout=2a&images=/a;/b"
    assert order_of("", deaf, overlay="overlay=/l.png", montage=montage) == order_of()
    open_ = FastlySettings(overlay_parameters=True)
    found = order_of("overlay=/q.png&overlay-align=top", open_, overlay="overlay=/h.png")
    assert found.sources[1].ref == SitePath("h.png")  # the header's wins
    assert plan_of(found).steps == (Overlay(source=1, y=START),)
    assert found.warnings == ()


# fmt: off
FOR_THE_ORIGIN = [
    # query                              the API header        the query for the origin
    ("x=1&width=9&y=a%2Cb",              "fastly; qp=*",       "x=1&y=a%2Cb"),         # not decoded
    ("x=1&width=9",                      "Fastly;QP=*",        "x=1"),
    ("??x=1&&wi%64th=9",                 "fastly; qp=*",       "x=1"),
    ("x&y=&x=2",                         "fastly; qp=*",       "x&y=&x=2"),            # order, repetitions, empty ones
    ("width=9&overlay=/a&format=webp",   "fastly; qp=*",       ""),
    ("region=asia",                      "fastly; qp=*",       "region=asia"),
    ("x=1",                              "fastly",             ""),
    ("x=1",                              "fastly; qp=x",       ""),
    ("x=1",                              "",                   ""),
]
# fmt: on


@pytest.mark.parametrize(("query", "api", "passed"), FOR_THE_ORIGIN)
def test_unknown_parameters_are_for_the_origin_if_a_header_says_so(query: str, api: str, passed: str) -> None:
    assert order_of(query, api=api).sources[0].ref == SitePath("a.png", query=passed)


def test_a_setting_stands_for_the_header() -> None:
    order = order_of("x=1&width=9", FastlySettings(origin_query=True))
    assert order.sources[0].ref == SitePath("a.png", query="x=1")
    assert order.warnings == ()


# ------------------------------------------------------------------------------------------------ montage

Corners = tuple[Fraction | int, Fraction | int, Fraction | int, Fraction | int]
THIRD, HALF = Fraction(1, 3), Fraction(1, 2)

# fmt: off
CELLS: list[tuple[str, list[Corners]]] = [
    # layout  left, top, right, bottom of each image                                        V6
    ("2a", [(0, 0, HALF, 1), (HALF, 0, 1, 1)]),                                           # left and right
    ("2b", [(0, 0, 1, HALF), (0, HALF, 1, 1)]),                                           # above and below
    ("3a", [(0, 0, HALF, 1), (HALF, 0, 1, HALF), (HALF, HALF, 1, 1)]),                    # one left, two stacked right
    ("3b", [(0, 0, 1, HALF), (0, HALF, HALF, 1), (HALF, HALF, 1, 1)]),                    # one above, two below
    ("3c", [(0, 0, THIRD, 1), (THIRD, 0, 2 * THIRD, 1), (2 * THIRD, 0, 1, 1)]),           # three columns
    ("3d", [(0, 0, 1, THIRD), (0, THIRD, 1, 2 * THIRD), (0, 2 * THIRD, 1, 1)]),           # three rows
    ("4a", [(0, 0, HALF, HALF), (HALF, 0, 1, HALF), (0, HALF, HALF, 1), (HALF, HALF, 1, 1)]),
    ("4b", [(0, 0, HALF, 1), (HALF, 0, 1, THIRD), (HALF, THIRD, 1, 2 * THIRD), (HALF, 2 * THIRD, 1, 1)]),
    ("4c", [(0, 0, 1, HALF), (0, HALF, THIRD, 1), (THIRD, HALF, 2 * THIRD, 1), (2 * THIRD, HALF, 1, 1)]),
    ("4d", [(Fraction(n, 4), 0, Fraction(n + 1, 4), 1) for n in range(4)]),
    ("4e", [(0, Fraction(n, 4), 1, Fraction(n + 1, 4)) for n in range(4)]),
]
# fmt: on


def montage_of(header: str, query: str = "") -> Montage:
    (step,) = plan_of(order_of(query, montage=header)).steps
    assert isinstance(step, Montage)
    return step


@pytest.mark.parametrize(("layout", "cells"), CELLS)
def test_a_layout_is(layout: str, cells: list[Corners]) -> None:
    images = ";".join(f"/{n}.jpg" for n in range(len(cells)))
    step = montage_of(f"width=400&height=200&layout={layout}&images={images}")
    assert [(cell.left, cell.top, cell.right, cell.bottom) for cell in step.cells] == cells
    assert [cell.source for cell in step.cells] == [n + 1 for n in range(len(cells))]


def test_the_cells_of_a_layout_fill_it() -> None:
    assert set(LAYOUTS) == {layout for layout, _ in CELLS}
    for _, cells in CELLS:
        assert sum((right - left) * (bottom - top) for left, top, right, bottom in cells) == 1


def test_a_montage_ignores_everything_else() -> None:
    header = "width=400&height=200&layout=2a&images=/fastly/x.png;/y.png&format=png&padding=5&bg-color=f00&dpr=1.5"
    order = order_of("width=wide&crop=1", montage=header, overlay="overlay=nonsense")
    assert order.sources == (
        SourceRequest(SitePath("a.png")),
        SourceRequest(SitePath("x.png"), parameter="images"),
        SourceRequest(SitePath("y.png"), parameter="images"),
    )
    (step,) = plan_of(order).steps
    assert isinstance(step, Montage)
    assert (step.size, step.padding, step.color) == (Size(600, 300), 5, Color(255, 0, 0))
    assert [choice.format for choice in plan_of(order).output.choices] == [Format.PNG]
    assert plan_of(order).output.first_frame


def test_a_montage_is_a_white_jpeg_unless_it_says_otherwise() -> None:
    order = order_of(montage="width=400&height=200&layout=2a&images=/x;/y&quality=40")
    (choice,) = plan_of(order).output.choices
    assert (choice.format, choice.quality) == (Format.JPEG, 40)
    (step,) = plan_of(order).steps
    assert isinstance(step, Montage)
    assert (step.padding, step.color) == (0, WHITE)
    assert order_of(montage="width=4&height=2&layout=2a&images=/x;/y&format=auto").delivery.negotiated
    defaults = {row.name: row.doc.default for row in MONTAGE_PARAMETERS}
    assert (defaults["format"], defaults["bg-color"]) == ("jpg", "white")


# fmt: off
MONTAGES_REFUSED = [
    ("height=2&layout=2a&images=/x;/y",                        "width", "in a montage"),
    ("width=2&height=2&layout=2a",                             "images", "in a montage"),
    ("width=2&height=2&images=/x;/y",                          "layout", "in a montage"),
    ("width=2&height=2&layout=5a&images=/x;/y",                "layout", "one of 2a"),
    ("width=2&height=2&layout=2a&images=/x",                   "images", "2 images for this layout"),     # V7
    ("width=2&height=2&layout=2a&images=/x;/y;/z",             "images", "2 images for this layout"),
    ("width=2&height=2&layout=2a&images=/x;/y;/z;/z;/z",       "images", "at most 4 paths"),
    ("width=2&height=2&layout=2a&images=/x;http://e/y",        "images", "a path of this site"),
    ("width=0.5&height=2&layout=2a&images=/x;/y",              "width", "a whole number from 1 to 8192"),
    ("width=2&height=8193&layout=2a&images=/x;/y",             "height", "from 1 to 8192"),
    ("width=40&height=40&layout=2a&images=/x;/y&padding=10",   "padding", "at most 9 here"),              # of 20 px
    ("width=40&height=40&layout=2a&images=/x;/y&padding=-1",   "padding", "from 0"),
    ("width=40&height=40&layout=2a&images=/x;/y&format=bmp",   "format", "one of"),
]
# fmt: on


@pytest.mark.parametrize(("header", "parameter", "words"), MONTAGES_REFUSED)
def test_a_montage_is_refused(header: str, parameter: str, words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        order_of(montage=header)
    assert refused.value.parameter == parameter


def test_an_invalid_layout_is_refused_with_the_layouts() -> None:
    with pytest.raises(BadValue) as refused:
        order_of(montage="width=2&height=2&layout=5a&images=/x;/y")
    assert refused.value.fix == "write 2a for two images"


def test_a_montage_that_dpr_makes_too_large_is_unprocessable() -> None:
    with pytest.raises(OutputTooLarge, match="10000 by 10000"):
        order_of(montage="width=5000&height=5000&dpr=2&layout=2a&images=/x;/y")


@pytest.mark.parametrize("row", [*OVERLAY_PARAMETERS, *MONTAGE_PARAMETERS], ids=lambda row: row.name)
def test_a_parameter_reads_its_own_example(row: Parameter[object]) -> None:
    assert row.of(parse_params([row], {row.name: row.doc.example})) is not None
