# ruff: noqa: E501 - tables are read by their columns, one row a line
"""Translations to other dialects: queries, reasons for unsupported requests, and that equivalent means equivalent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.contentstack.settings import ContentstackSettings, FitCover
from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.geometry.normalize import SAMPLE_INFOS
from cropmark.geometry.recipe import OriginalBytes, Reason, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Info
from cropmark.model.problems import BadValue, Problem
from cropmark.model.values import Size
from cropmark.plan.plan import Order, Plan
from cropmark.plan.steps import Rounding
from cropmark.translation import CLIENTS, Translation, translations

DIALECTS: dict[str, Dialect] = {d.name: d for d in (Fastly(), Contentstack(), Kontent(), PixLab())}


def image_request(dialect: str, query: str) -> ImageRequest:
    return ImageRequest("crop" if dialect == "pixlab" else "a.jpg", query)


def translated(dialect: str, query: str, to: str, accept: str | None = None) -> Translation:
    return translations(image_request(dialect, query), DIALECTS[dialect], [DIALECTS[to]], accept=accept)[0]


# fmt: off
SAME = [
    # from           query                                      to              says
    ("fastly",       "crop=16:9",                               "contentstack", "crop=16:9"),
    ("fastly",       "crop=32:18,safe,offset-x10",              "contentstack", "crop=16:9,offset-x10p,safe"),
    ("fastly",       "crop=300,200,x7,y23,safe",                "contentstack", "crop=300,200,x7,y23,safe"),
    ("fastly",       "trim=10,5p&pad=20&bg-color=f80",          "contentstack", "trim=10,5p&bg-color=ff8800&pad=20"),
    ("fastly",       "bg-color=255,0,0,0.5",                    "contentstack", "bg-color=255,0,0,0.502"),     # level 128
    ("fastly",       "canvas=1:1,offset-y25&brightness=-12.5",  "contentstack", "canvas=1:1,offset-y25p&brightness=-12.5"),
    ("fastly",       "orient=r&sharpen=a5,r2,t1&blur=10",       "contentstack", "orient=6&sharpen=a5,r2,t1&blur=10"),
    ("contentstack", "environment=production",                  "kontent",      ""),                           # stored bytes
    ("contentstack", "crop=1:1,smart&quality=70",               "fastly",       "crop=1:1,smart&quality=70"),
    ("kontent",      "w=300&fm=jpg",                            "fastly",       "width=300&format=bjpg"),
    ("kontent",      "w=300&dpr=2&fm=pjpg&q=70",                "fastly",       "width=300&dpr=2&format=pjpg&quality=70"),
    ("kontent",      "w=300&h=200&dpr=0.5&fit=crop&fm=png",     "kontent",      "w=300&h=200&dpr=0.5&fit=crop&fm=png"),
    ("kontent",      "w=0.5&h=90&fm=png8",                      "fastly",       "width=50p&height=90&fit=bounds&format=png8"),
    ("kontent",      "w=300&h=200&fit=scale&fm=jpg&q=30",       "fastly",       "width=300&height=200&enable=upscale&format=bjpg&quality=30"),
    ("kontent",      "w=300&h=200&fit=crop&crop=smart",         "kontent",      "w=300&h=200&fit=crop&crop=smart"),
    ("kontent",      "fit=crop&crop=focalpoint&fp-x=.2&fp-z=3", "kontent",      "fit=crop&crop=focalpoint&fp-x=0.2&fp-z=3"),
    ("kontent",      "bg=80ff0000&fm=jpg",                      "fastly",       "bg-color=255,0,0,0.502&format=bjpg"),
    ("pixlab",       "img=https://a.example/b&x=1&y=2&width=9", "pixlab",       "img=https://a.example/b&x=1&y=2&width=9&height=9&blob=true"),
]

UNSAYABLE = [
    # from           query                                      to              names
    ("fastly",       "bw=atkinson",                             "contentstack", "Monochrome: this dialect has no such step"),
    ("fastly",       "precrop=1:1&crop=4:3",                    "contentstack", "Crop: this dialect does it elsewhere"),
    ("fastly",       "width=300&height=200&fit=cover",          "contentstack", "Resize.fit: this dialect has no word for outside"),
    ("fastly",       "blur=5p",                                 "contentstack", "Blur.min_px"),
    ("fastly",       "width=300&height=200",                    "kontent",      "Resize.enlarge: fit=scale always enlarges"),
    ("fastly",       "crop=4:3",                                "kontent",      "Crop.shape"),
    ("fastly",       "crop=300,200,safe",                       "kontent",      "Crop.x: a region is placed by its corner"),
    ("fastly",       "crop=9,9,x0,y0&width=5&height=5&fit=crop", "kontent",     "rect cannot be combined with fit=crop"),
    ("fastly",       "width=150p&enable=upscale",               "kontent",      "Resize.width: parts of a side are below 1"),
    ("fastly",       "width=300&format=avif",                   "kontent",      "Output: expected avif at 64, kontent gives jpeg"),
    ("fastly",       "width=300",                               "pixlab",       "Resize.enlarge"),
    ("fastly",       "crop=9,9,x0,y0&width=5",                  "pixlab",       "Plan.steps: a request has one step"),
    ("contentstack", "width=300",                               "kontent",      "Resize.enlarge: only fit=scale"),
    ("contentstack", "width=100&height=300&fit=crop&dpr=20",    "fastly",       "Resize.dpr: it is from 1 to 10 here"),
    ("contentstack", "overlay=/logo.png",                       "kontent",      "Overlay: this dialect has no such step"),
    ("contentstack", "sharpen=r5p",                             "fastly",       "Sharpen.radius: a radius is in pixels"),
    ("contentstack", "",                                        "fastly",       "Plan: the stored bytes cannot be requested"),
    ("kontent",      "w=9000&fm=jpg",                           "fastly",       "Resize.width: at most 8192"),
    ("fastly",       "crop=3:2&width=300&height=250",           "kontent",      "Crop.shape: a region has a width and a height"),
    ("fastly",       "crop=3:2,x0,smart&width=300",             "kontent",      "Crop.focus"),                # x has a meaning
    ("contentstack", "crop=3:2,smart&width=300",                "kontent",      "Resize.enlarge"),
    ("fastly",       "width=33.3p",                             "kontent",      "Resize.fit: expected stretch"),   # rounds otherwise
]

ALMOST = [
    # from           query                        to              says                            but
    ("fastly",       "width=300",                 "contentstack", "width=300&disable=upscale",    "Resize: contentstack leaves it out (from gif)"),
    ("fastly",       "width=300",                 "kontent",      "w=300",                        "kontent gives jpeg at 85 (from progressive jpeg)"),
    ("contentstack", "width=300&format=webply",   "fastly",       "width=300&enable=upscale&format=webply", "Resize: fastly adds it (from gif)"),
    ("kontent",      "rect=7,23,300,200&fm=jpg",  "fastly",       "crop=300,200,x7,y23,safe&format=bjpg",   "Crop.overflow: outside the image it is clipped, or gives the original"),
    ("fastly",       "crop=300,200,x7,y23",       "kontent",      "rect=7,23,300,200",            "Crop.overflow: outside the image it is refused"),
    ("pixlab",       "img=https://a.example/b&x=0&y=0&width=9", "kontent", "rect=0,0,9,9&q=92",  "Output.metadata: expected icc, kontent"),
    # A crop to a ratio with a resize, and a covering resize.
    ("kontent",      "w=300&h=200&fit=crop&crop=smart", "fastly", "crop=3:2,smart&width=300&height=200", "Crop: the window in fastly differs by less than a pixel"),
    ("kontent",      "w=90&h=90&dpr=2&fit=crop&crop=smart&fm=jpg", "fastly", "crop=1:1,smart&width=90&height=90&dpr=2&format=bjpg", "less than a pixel"),
    ("kontent",      "w=300&h=200&fit=crop&crop=smart", "contentstack", "crop=3:2,smart&width=300&height=200&disable=upscale", "less than a pixel"),
    ("fastly",       "crop=16:9,smart&width=640", "kontent",      "w=640&h=360&fit=crop&crop=smart", "less than a pixel"),
    ("fastly",       "crop=16:9&height=360&dpr=2", "kontent",     "w=640&h=360&dpr=2&fit=crop",   "less than a pixel"),
    ("contentstack", "crop=1:1,smart&width=300&disable=upscale", "kontent", "w=300&h=300&fit=crop&crop=smart", "less than a pixel"),
    # A negotiated format: the other dialect negotiates fewer formats, or sends the stored bytes to some clients.
    ("fastly",       "format=auto",               "kontent",      "auto=format&lossless=0",       "expected avif at 64, kontent gives jpeg at 85"),
    ("fastly",       "width=300&format=auto&quality=70", "kontent", "w=300&auto=format&q=70&lossless=0", "expected webp at 67, kontent gives webp at 70"),
    ("contentstack", "format=auto&width=300&disable=upscale", "kontent", "w=300&auto=format&lossless=0", "for clients that accept image/avif"),
    ("kontent",      "auto=format",               "contentstack", "auto=webp",                    "expected the stored bytes, contentstack gives jpeg at 85"),
    ("kontent",      "w=300&auto=format",         "fastly",       "width=300&auto=webp",          "expected gif, fastly gives lossless webp"),
    ("fastly",       "auto=avif,webp&width=300",  "kontent",      "w=300&auto=format",            "for clients that accept image/avif"),
    ("fastly",       "width=9&auto=webp",         "kontent",      "w=9&auto=format",              "for clients that accept image/webp"),   # GIF stays GIF
]
# fmt: on


@pytest.mark.parametrize(("dialect", "query", "to", "says"), SAME)
def test_equivalent_translations(dialect: str, query: str, to: str, says: str) -> None:
    found = translated(dialect, query, to)
    assert found.query is not None, found.differs
    assert (found.query.text, found.differs) == (says, ())
    assert found.same


@pytest.mark.parametrize(("dialect", "query", "to", "named"), UNSAYABLE)
def test_unsupported_requests_name_the_reason(dialect: str, query: str, to: str, named: str) -> None:
    found = translated(dialect, query, to)
    assert found.query is None
    assert not found.same
    assert any(named in sentence for sentence in found.differs), found.differs


@pytest.mark.parametrize(("dialect", "query", "to", "says", "but"), ALMOST)
def test_differences_are_listed(dialect: str, query: str, to: str, says: str, but: str) -> None:
    found = translated(dialect, query, to)
    assert found.query is not None, found.differs
    assert found.query.text == says
    assert not found.same
    assert any(but in sentence for sentence in found.differs), found.differs


def test_an_overlay_is_translated_to_fastlys_header_and_back() -> None:
    query = "overlay=/logos/a%20b.png&overlay-align=left,bottom&overlay-width=50p"
    found = translated("contentstack", query, "fastly").query
    assert found is not None
    assert dict(found.headers) == {
        "x-fastly-imageopto-overlay": "overlay=/logos/a%2520b.png&overlay-width=50p&overlay-align=bottom,left"
    }
    back = translations(ImageRequest("a.jpg", found.text, dict(found.headers)), Fastly(), [Contentstack()])[0]
    assert back.same
    assert back.query is not None
    assert Contentstack().order(ImageRequest("a.jpg", back.query.text)).sources[1].ref == _overlay_of(query)


def _overlay_of(query: str) -> object:
    return Contentstack().order(ImageRequest("a.jpg", query)).sources[1].ref


def test_an_overlay_is_unsupported_if_the_site_does_not_read_it() -> None:
    deaf = Fastly(FastlySettings(read_overlay_header=False))
    found = translations(ImageRequest("a.jpg", "overlay=/a.png"), Contentstack(), [deaf])[0]
    assert found.differs == ("Overlay: this site does not read overlays, neither in the header nor in the query",)


def test_a_sites_settings_change_its_queries() -> None:
    growing = Fastly(FastlySettings(upscale=True))
    as_fastly = Contentstack(ContentstackSettings(gif_resize=True, fit_cover=FitCover.FASTLY))
    request = ImageRequest("a.jpg", "width=300&height=200&fit=cover&format=jpg")
    found = translations(request, growing, [as_fastly, growing, Fastly()])
    assert [one.query and one.query.text for one in found] == [
        "width=300&height=200&fit=cover&format=jpg",
        "width=300&height=200&fit=cover&format=jpg",
        "width=300&height=200&fit=cover&enable=upscale&format=jpg",
    ]


def test_a_sites_rounding_is_listed_as_a_difference() -> None:
    down = Fastly(FastlySettings(rounding=Rounding.DOWN))
    (found,) = translations(ImageRequest("a.jpg", "crop=16:9&format=png"), down, [Fastly()])
    assert found.query is not None
    assert (found.query.text, found.differs) == (
        "crop=16:9&format=png",
        ("Crop.rounding: expected down, fastly has nearest",),
    )
    assert translations(ImageRequest("a.jpg", "crop=16,9,x1,y2&format=png"), down, [Fastly()])[0].same


def test_a_translation_for_one_client_can_be_the_same() -> None:
    """A client that does not accept WebP is not affected by the rule that a GIF never becomes WebP."""
    assert not translated("kontent", "fm=jpg&auto=format", "fastly").same
    assert translated("kontent", "fm=jpg&auto=format", "fastly", accept="").same


def test_a_request_that_is_refused_is_not_translated() -> None:
    with pytest.raises(BadValue, match="width: expected a length above 0"):
        translated("fastly", "width=0", "kontent")


def test_as_json() -> None:
    assert translated("fastly", "crop=1:1", "contentstack").to_json() == {
        "dialect": "contentstack",
        "same": True,
        "query": "crop=1:1",
    }
    assert translated("fastly", "crop=9,9,x0,y0,safe", "pixlab").to_json()["endpoint"] == "crop"
    assert translated("fastly", "bw=atkinson", "kontent").to_json() == {
        "dialect": "kontent",
        "same": False,
        "differs": ["Monochrome: this dialect has no such step"],
    }


# ------------------------------------------------------------------------------------------------ laws

# fmt: off
_SIDES = ["300", "40", "50p", "33.3p", "0.25", "8000"]
_CROPS = ["4:3", "16:9,offset-x10", "1:1,smart", "100,80", "100,80,x7,y3,safe", "50p,25p,x10p", "30,20,offset-x0,y0"]
TEXTS = {
    "fastly": {
        "width": _SIDES, "height": _SIDES, "fit": ["bounds", "cover", "crop"], "dpr": ["1.5", "2"], "enable": ["upscale"],
        "crop": _CROPS, "precrop": _CROPS, "trim": ["10", "5p,3"], "trim-color": ["auto,t0.1", "fff"], "orient": ["r", "2"],
        "pad": ["10,20", "5p"], "canvas": ["1:1", "500,400,x10,offset-y25"], "bg-color": ["f80", "1,2,3,0.25"],
        "brightness": ["-20"], "contrast": ["12.5"], "sharpen": ["a5,r2,t1"], "blur": ["10", "5p"],
        "bw": ["threshold,60", "atkinson"], "resize-filter": ["nearest"], "frame": ["1"], "metadata": ["copyright"],
        "format": ["jpg", "pjpg", "png", "png8", "webp", "webpll", "avif", "gif", "auto"], "auto": ["webp", "avif,webp"],
        "quality": ["70", "80,60"], "optimize": ["high"],
    },
    "contentstack": {
        "width": _SIDES, "height": _SIDES, "fit": ["bounds", "cover", "crop"], "dpr": ["0.5", "2"], "disable": ["upscale"],
        "crop": _CROPS, "trim": ["10", "5p,3"], "orient": ["6"], "pad": ["10,20"], "canvas": ["1:1,offset-x25"],
        "bg-color": ["f80", "1,2,3,0.25"], "saturation": ["-100"], "sharpen": ["a5,r2,t1", "r5p"], "blur": ["10", "5p"],
        "overlay": ["/logo.png"], "overlay-align": ["left,top"], "overlay-pad": ["5"], "overlay-repeat": ["both"],
        "format": ["jpg", "pjpg", "png", "webp", "avif", "auto"], "auto": ["webp", "avif"], "quality": ["70", "80,60"],
        "frame": ["1"], "environment": ["production"],
    },
    "kontent": {
        "w": ["300", "40", "0.25", "97.5"], "h": ["200", "0.5"], "fit": ["clip", "scale", "crop"], "dpr": ["1.5", "9"],
        "rect": ["7,23,100,80", "0,0,0.5,0.5"], "crop": ["focalpoint", "smart"], "fp-x": ["0.2"], "fp-z": ["2"],
        "bg": ["f80", "80ff0000"], "fm": ["jpg", "pjpg", "png", "png8", "webp", "gif"], "q": ["70"],
        "lossless": ["1", "0"], "auto": ["format"],
    },
    "pixlab": {"x": ["0", "7"], "y": ["3"], "width": ["40"], "height": ["30"], "img": ["https://a.example/b.jpg"]},
}
# fmt: on


@st.composite
def queries(draw: st.DrawFn, dialect: str) -> str:
    texts = TEXTS[dialect]
    names = draw(st.lists(st.sampled_from(sorted(texts)), unique=True, max_size=6))
    return "&".join(f"{name}={draw(st.sampled_from(texts[name]))}" for name in names)


requests = st.sampled_from(sorted(TEXTS)).flatmap(lambda name: st.tuples(st.just(name), queries(name)))


def plan_of(dialect: str, request: ImageRequest, client: str) -> Plan | None:
    order = DIALECTS[dialect].order(replace(request, headers={**request.headers, "accept": client}))
    assert isinstance(order, Order)
    return order.plan


def again_of(found: Translation) -> ImageRequest:
    assert found.query is not None
    return ImageRequest(found.query.endpoint or "a.jpg", found.query.text, dict(found.query.headers))


@given(requests)
@example(("fastly", "auto=webp&canvas=1:1,offset-x25&quality=80,60"))
@example(("contentstack", "quality=80,60&auto=webp&format=jpg"))
@settings(max_examples=60, deadline=None)
def test_every_dialect_can_express_its_own_requests(request: tuple[str, str]) -> None:
    dialect, query = request
    try:
        found = translated(dialect, query, dialect)
    except Problem:
        assume(False)  # a PixLab request without its needed fields, a Contentstack one past its bounds
    original = plan_of(dialect, image_request(dialect, query), "") is None
    assert found.same or (original and dialect == "pixlab"), (query, found.differs)


@given(requests, st.sampled_from(sorted(DIALECTS)))
@settings(max_examples=80, deadline=None)
def test_there_and_back_is_the_same(request: tuple[str, str], to: str) -> None:
    dialect, query = request
    try:
        there = translated(dialect, query, to)
    except Problem:
        assume(False)
    assume(there.same)
    back = translations(again_of(there), DIALECTS[to], [DIALECTS[dialect]])[0]
    assert back.same, (query, there.query, back.differs)


@given(requests, st.sampled_from(sorted(DIALECTS)), st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=80, deadline=None)
def test_equivalent_requests_resolve_to_the_same_ops(
    request: tuple[str, str], to: str, width: int, height: int
) -> None:
    """Plans that are equal in the normal form of translations resolve to the same Ops."""
    dialect, query = request
    try:
        there = translated(dialect, query, to)
    except Problem:
        assume(False)
    assume(there.same)
    for client in CLIENTS:
        one, two = plan_of(dialect, image_request(dialect, query), client), plan_of(to, again_of(there), client)
        assert (one is None) is (two is None)
        if one is None or two is None:
            continue
        for info in SAMPLE_INFOS:
            if info.format in one.reads & two.reads:
                sized = replace(info, stored_size=Size(width, height))
                assert made(one, sized) == made(two, sized), (query, there.query, sized)


def made(plan: Plan, info: Info) -> object:
    """The Ops and the size of the result, or the reason without them."""
    logo = replace(info, stored_size=Size(50, 40))
    try:
        found = resolve(plan, [info, logo])
    except Problem as problem:
        return type(problem)
    match found:
        case Recipe():
            return found.ops, found.size
        case OriginalBytes(Reason.NOTHING_TO_DO):
            return (), info.size
        case _:
            return found
