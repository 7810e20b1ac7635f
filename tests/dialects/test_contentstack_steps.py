"""Contentstack: a query becomes Steps, in one order; unknown words are ignored with a warning, bad numbers refused."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.contentstack.params import PARAMETERS
from cropmark.dialects.contentstack.query import normalize_query
from cropmark.dialects.contentstack.settings import ContentstackSettings, FitCover
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.params import Parameter, parse_params
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import BadRequest, BadValue, NotFound, Problem
from cropmark.model.values import Color, Pixels, Ratio, Share
from cropmark.plan.plan import Fallback, Order, OverLimit, Plan
from cropmark.plan.source import PublishScope, SitePath, SourceFilter, SourceRequest
from cropmark.plan.steps import (
    Adjust,
    Align,
    AnyStep,
    Blur,
    Canvas,
    Crop,
    Dimensions,
    Edges,
    Filter,
    Fit,
    Flatten,
    Focus,
    Offset,
    Orient,
    Orientation,
    Overflow,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    TrimEdges,
)


def px(count: int | str) -> Pixels:
    return Pixels(Fraction(count))


def part(share: str) -> Share:
    return Share(Fraction(share))


def order_of(query: str, settings: ContentstackSettings | None = None, path: str = "a.png") -> Order:
    return Contentstack(settings or ContentstackSettings()).order(ImageRequest(path, query, base="/contentstack"))


def plan_of(query: str, settings: ContentstackSettings | None = None) -> Plan:
    plan = order_of(query, settings).plan
    assert plan is not None
    return plan


def steps_of(query: str, settings: ContentstackSettings | None = None) -> tuple[AnyStep, ...]:
    return plan_of(query, settings).steps


def warned(query: str) -> list[str]:
    return [each.parameter for each in order_of(query).warnings]


GIFS = SourceFilter(formats=frozenset({Format.GIF}))


def resize(width: Pixels | Share | None, height: Pixels | Share | None, **others: object) -> Resize:
    """A resize as this dialect has it: it may enlarge, and is left out for GIFs."""
    name = "width" if width else "height"
    known = {"enlarge": True, "parameter": name, "skipped_for": (GIFS,), "warning_if_skipped": "a GIF is not resized"}
    return Resize(width=width, height=height, **{**known, **others})  # type: ignore[arg-type]  # named fields of a step


SQUARE = Ratio(Fraction(1), Fraction(1))

# fmt: off
STEPS: list[tuple[str, tuple[AnyStep, ...]]] = [
    # crop: the examples of the page
    ("crop=400,300",                     (Crop(shape=Dimensions(px(400), px(300))),)),
    ("crop=0.50,0.60",                   (Crop(shape=Dimensions(part("0.5"), part("0.6"))),)),
    ("crop=300,0.60",                    (Crop(shape=Dimensions(px(300), part("0.6"))),)),
    ("crop=300,400,x150,y75",         (Crop(shape=Dimensions(px(300), px(400)), x=Offset(px(150)), y=Offset(px(75))),)),
    ("crop=300,400,x150.0,y75.0", (Crop(shape=Dimensions(px(300), px(400)), x=Offset(px(150)), y=Offset(px(75))),)),
    ("crop=50,75,x0.10,y0.20", (Crop(shape=Dimensions(px(50), px(75)), x=Offset(part("0.1")), y=Offset(part("0.2"))),)),
    ("crop=300,400,offset-x10.5,offset-y50",
        (Crop(shape=Dimensions(px(300), px(400)), x=Align(Fraction(21, 200)), y=Align(Fraction(1, 2))),)),
    ("crop=300,400,offset-x0.25",        (Crop(shape=Dimensions(px(300), px(400)), x=Align(Fraction(1, 4))),)),
    ("crop=500,400,x700,y200,safe",
        (Crop(shape=Dimensions(px(500), px(400)), x=Offset(px(700)), y=Offset(px(200)), overflow=Overflow.CLIP),)),
    ("crop=1:1,smart",                   (Crop(shape=SQUARE, focus=Focus.SMART),)),
    ("crop=300,400,smart",              (Crop(shape=Dimensions(px(300), px(400))),)),               # no effect
    ("crop=150%2C100",                  (Crop(shape=Dimensions(px(150), px(100))),)),               # the JavaScript SDK
    ("crop=1:1&width=200",               (Crop(shape=SQUARE), resize(px(200), None))),
    # trim
    ("trim=25,50,75",                    (TrimEdges(Edges(px(25), px(50), px(75), px(50))),)),
    ("trim=0.10",                        (TrimEdges(Edges(*[part("0.1")] * 4)),)),
    # orient
    ("orient=6",                         (Orient(Orientation.ROTATE_90),)),
    ("orient=hv",                        (Orient(Orientation.ROTATE_180),)),
    ("orient=1",                         ()),                                                  # upright, and no more
    # sizes
    ("width=0.25",                       (resize(part("0.25"), None),)),
    ("width=250p",                       (resize(part("2.5"), None),)),
    ("width=200&height=0.50",            (resize(px(200), part("0.5")),)),
    ("height=50&dpr=2",                  (resize(None, px(50), dpr=Fraction(2)),)),
    ("width=100&dpr=0.5",                (resize(px(100), None, dpr=Fraction(1, 2)),)),        # below 1 shrinks
    ("width=650&disable=upscale",        (resize(px(650), None, enlarge=False),)),
    ("width=9&height=9&fit=bounds",      (resize(px(9), px(9), fit=Fit.INSIDE),)),
    ("width=9&height=9&fit=crop",        (resize(px(9), px(9), fit=Fit.COVER),)),
    ("width=9&height=9&fit=cover",       (resize(px(9), px(9), fit=Fit.COVER),)),              # the section's wording
    ("width=9&fit=crop",                 (resize(px(9), None),)),                              # fit needs both sides
    ("width=9&resize-filter=bicubic",    (resize(px(9), None, filter=Filter.CUBIC),)),
    # room
    ("pad=25,50,75,100",                 (Pad(Edges(px(25), px(50), px(75), px(100))),)),
    ("pad=10&bg-color=FF0000",
        (Flatten(Color(255, 0, 0)), Pad(Edges(*[px(10)] * 4), Color(255, 0, 0)))),
    ("canvas=700,800,offset-x0.65",
        (Canvas(shape=Dimensions(px(700), px(800)), x=Align(Fraction(13, 20)), warn_if_cut=True),)),
    ("canvas=1:1&pad=50",                (Canvas(shape=SQUARE, warn_if_cut=True),)),
    ("bg-color=140,220,123,0.5",         (Flatten(Color(140, 220, 123, 128)),)),
    ("bg-color=%23ccc",                  (Flatten(Color(204, 204, 204)),)),
    ("bg-color=rgb:ff0000",              (Flatten(Color(255, 0, 0)),)),                       # W2: Gatsby
    # pixels
    ("saturation=-30&contrast=50&brightness=20", (Adjust(Fraction(20), Fraction(50), Fraction(-30)),)),
    ("sharpen=a5,r1000,t2",              (Sharpen(Fraction(5), px(1000), 2),)),
    ("sharpen=t2",                       (Sharpen(Fraction(1), px(1), 2),)),                   # missing ones a1, r1, t0
    ("sharpen=r5p",                      (Sharpen(Fraction(1), part("0.05"), 0),)),
    ("blur=10",                          (Blur(px(10), min_px=Fraction(1)),)),
    ("blur=2.5p",                        (Blur(part("0.025"), min_px=Fraction(1)),)),
    # overlay
    ("overlay=/v3/assets/a/b/c/d.png",   (Overlay(source=1, opaque_padding=True),)),
    ("overlay=/d.png&overlay-align=left,bottom&overlay-width=50p&overlay-repeat=y&overlay-pad=30,25,50",
        (Overlay(source=1, width=part("0.5"), x=Align(Fraction(0)), y=Align(Fraction(1)), repeat_down=True,
                 edges=Edges(px(30), px(25), px(50), px(25)), opaque_padding=True),)),
]
# fmt: on


@pytest.mark.parametrize(("query", "steps"), STEPS)
def test_a_query_becomes(query: str, steps: tuple[AnyStep, ...]) -> None:
    assert steps_of(query) == steps


def test_settings_lift_the_gif_rules_and_choose_a_cover() -> None:
    (step,) = steps_of("width=9&height=9&fit=cover", ContentstackSettings(gif_resize=True, fit_cover=FitCover.FASTLY))
    assert step == Resize(width=px(9), height=px(9), fit=Fit.OUTSIDE, enlarge=True)


EVERYTHING = (
    "trim=5", "crop=1:1", "orient=6", "width=200", "canvas=300,300", "bg-color=fff", "brightness=1",
    "sharpen=a1,r1,t1", "blur=2", "overlay=/l.png", "quality=50", "format=webp", "environment=production",
)  # fmt: skip
IN_ORDER = [TrimEdges, Crop, Orient, Resize, Flatten, Canvas, Adjust, Sharpen, Blur, Overlay]


@given(st.permutations(EVERYTHING))
def test_the_order_of_the_query_plays_no_part(query: list[str]) -> None:
    assert [type(step) for step in steps_of("&".join(query))] == IN_ORDER
    assert order_of("&".join(query)) == order_of("&".join(EVERYTHING))


def test_source_limits_and_fallbacks() -> None:
    plan = plan_of("width=200")
    assert {f.value for f in plan.reads if TRAITS[f].extra is None} == {"jpeg", "png", "webp", "gif", "avif"}
    assert (plan.on_unsupported, plan.on_unusable) == (Fallback.ORIGINAL, Fallback.PROBLEM)
    limits = plan.limits
    assert (limits.source_bytes, limits.source_side, limits.source_frames) == (50 * 2**20, 12_000, 1_000)
    assert (limits.side, limits.over_limit, limits.avif_area) == (8_192, OverLimit.SHRINK, 4_096**2)


# ------------------------------------------------------------------------------------------------ queries of SDKs

# fmt: off
MARKS = [
    # the query as it arrives                         as it is read
    ("environment=production?width=200&height=50",    "environment=production&width=200&height=50"),
    ("environment=production?width=200?crop=1:1",     "environment=production&width=200&crop=1:1"),
    ("overlay=/a.png?x=1?width=200",                  "overlay=/a.png?x=1?width=200"),
    ("branch=b?overlay=/a.png?x=1&width=200",         "branch=b&overlay=/a.png?x=1&width=200"),
    ("a=%3F1",                                        "a=%3F1"),             # encoded, it is part of the value
]
# fmt: on


@pytest.mark.parametrize(("raw", "read"), MARKS)
def test_a_second_question_mark_separates(raw: str, read: str) -> None:
    assert normalize_query(raw) == read


# fmt: off
UNTOUCHED = [
    # the stored bytes are sent
    "", "environment=production", "environment=production&branch=main", "access_token=cs1", "test=test", "foo=1&foo=2",
    "resize-filter=lanczos2",                       # 7.6: alone it is ignored and the original returned
    "dpr=2", "fit=crop", "disable=upscale", "overlay-align=top", "width=", "crop=", "crop=,", "canvas=:",
    "bg_color=fff&overlay_align=top",               # W3: snake case is unknown
    "padding=10&bgcolor=f00&filter=x&optimize={medium}&precrop=1&enable=upscale&metadata=x",   # not this API's
    "Width=100",                                    # names are in lower case
    "auto=format", "brightness=0",
]
# fmt: on


@pytest.mark.parametrize("query", UNTOUCHED)
def test_without_an_image_parameter_the_stored_bytes_are_sent(query: str) -> None:
    assert order_of(query).plan is None


# fmt: off
FORGIVEN = [
    ("width=9&height=9&fit=max",               "fit"),
    ("width=9&fit=Crop",                       "fit"),              # keywords are in lower case
    ("width=9&disable=false",                  "disable"),          # W4
    ("width=9&resize-filter=bilinare",         "resize-filter"),    # the Swift SDK's spelling
    ("width=9&auto=webp,jxl",                  "auto"),
    ("overlay=/l.png&overlay-align=middel",    "overlay-align"),    # the Swift SDK's spelling
    ("overlay=/l.png&overlay-repeat=z",        "overlay-repeat"),
    ("width=9&frame=2",                        "frame"),
    ("crop=300,400,smart",                     "crop"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter"), FORGIVEN)
def test_an_unknown_word_is_ignored_with_a_warning(query: str, parameter: str) -> None:
    assert warned(query) == [parameter]


def test_of_an_alignment_the_known_word_counts() -> None:
    (step,) = steps_of("overlay=/l.png&overlay-align=middel,left")
    assert isinstance(step, Overlay)
    assert (step.x, step.y) == (Align(Fraction(0)), Align(Fraction(1, 2)))


# fmt: off
REFUSED = [
    # query                               parameter      the message holds
    ("width=0",                           "width",       "above 0"),
    ("width=9000",                        "width",       "at most 8192 pixels"),
    ("width=undefined",                   "width",       "a length"),
    ("quality=0",                         "quality",     "from 1 to 100"),
    ("quality=101",                       "quality",     "from 1 to 100"),
    ("quality=high",                      "quality",     "whole number"),
    ("orient=9",                          "orient",      "expected one of 1"),
    ("blur=0.5",                          "blur",        "from 1 to 1000"),
    ("crop=300,400,x5,yundefined",        "crop",        "a length"),           # TypeScript SDK: region without yval
    ("crop=300,400,x20,offset-x25",       "crop",        "not both"),
    ("crop=none",                         "crop",        "a width and a height"),
    ("format=bmp",                        "format",      "one of auto"),
    ("format=JPG",                        "format",      "write jpg"),
    ("dpr=0",                             "dpr",         "above 0"),
    ("dpr=10001",                         "dpr",         "a number above 0, up to 10000"),
    ("trim=1,2,3,4,5",                    "trim",        "one to four"),
    ("bg-color=red",                      "bg-color",    "hex"),
    ("brightness=150",                    "brightness",  "from -100 to 100"),
    ("sharpen=a11",                       "sharpen",     "from 0 to 10"),
    ("sharpen=r0.5",                      "sharpen",     "from 1 to 1000"),
    ("sharpen=5",                         "sharpen",     "one of a…, r…, t…"),
    ("canvas=400,400,safe",               "canvas",      "got 'safe'"),
    ("overlay=https://e/l.png",           "overlay",     "a path of this site"),
    ("overlay-align=top,bottom",          "overlay-align", "one word for each axis"),
    ("environment=" + "e" * 300,          "environment", "at most 255"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter", "words"), REFUSED)
def test_a_bad_value_is_refused(query: str, parameter: str, words: str) -> None:
    with pytest.raises(BadValue) as refused:
        order_of(query)
    assert refused.value.parameter == parameter
    assert re.search(words, str(refused.value))
    assert refused.value.fix


# ------------------------------------------------------------------------------------------------ publishing


def test_every_file_is_published_in_the_configured_environments() -> None:
    settings = ContentstackSettings(environments=("production", "staging"), branches=("main", "dev"))
    for query in ("", "environment=staging", "environment=production&branch=dev", "environment="):
        assert order_of(query, settings).sources == (SourceRequest(SitePath("a.png")),)


# fmt: off
UNPUBLISHED = [
    ("environment=no-such-environment&width=200", "environment"),
    ("environment=Production",                    "environment"),      # compared exactly
    ("branch=dev",                                "branch"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter"), UNPUBLISHED)
def test_an_unknown_environment_or_branch_is_not_found(query: str, parameter: str) -> None:
    with pytest.raises(NotFound) as missing:
        order_of(query)
    assert missing.value.parameter == parameter
    assert missing.value.fix.startswith(f"leave out {parameter}")


def test_an_environment_may_be_required() -> None:
    strict = ContentstackSettings(require_environment=True)
    with pytest.raises(BadRequest, match="must name an environment") as refused:
        order_of("width=9", strict)
    assert refused.value.parameter == "environment"
    assert order_of("width=9&environment=production", strict).plan


LIBRARY = ContentstackSettings(environments=None)


def test_a_library_gets_a_scope_for_the_image_and_for_its_overlay() -> None:
    query = "environment=anything&branch=dev&access_token=secret&overlay=/contentstack/v3/assets/a/b/c/l.png"
    edition = PublishScope("anything", "dev", "secret")
    order = order_of(query, LIBRARY, "v3/assets/a/b/c/a.png")
    assert order.sources == (
        SourceRequest(SitePath("v3/assets/a/b/c/a.png", edition)),
        SourceRequest(
            SitePath("v3/assets/a/b/c/l.png", replace(edition, parent_stack="a")), optional=True, parameter="overlay"
        ),
    )
    assert "secret" not in repr(order)
    assert order_of("", LIBRARY).sources == (SourceRequest(SitePath("a.png", PublishScope(None, "main", None))),)


FILE = "v3/assets/blt0/blt1/" + "0123456789abcdef01234567" + "/owl.jpg"

# fmt: off
KEPT = [
    # settings               query                     path                            versioned  seconds
    (LIBRARY,                "environment=production", FILE,                           True,      None),
    (LIBRARY,                "",                       FILE,                           False,     300),
    (LIBRARY,                "environment=production", "v3/assets/blt0/blt1/slug",     False,     300),
    (ContentstackSettings(), "environment=production", FILE,                           False,     None),   # a folder
    (ContentstackSettings(), "",                       FILE,                           False,     300),
    (ContentstackSettings(), "environment=&width=9",   "owl.jpg",                      False,     300),
]
# fmt: on


@pytest.mark.parametrize(("settings", "query", "path", "versioned", "max_age_s"), KEPT)
def test_cache_lifetime_of_a_response(
    settings: ContentstackSettings, query: str, path: str, versioned: bool, max_age_s: int | None
) -> None:
    delivery = order_of(query, settings, path).delivery
    assert (delivery.versioned, delivery.max_age_s) == (versioned, max_age_s)


# ------------------------------------------------------------------------------------------------ the table and laws


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_a_parameter_reads_its_own_example(row: Parameter[object]) -> None:
    assert row.of(parse_params(PARAMETERS, {row.name: row.doc.example})) is not None
    assert re.search(row.doc.pattern, row.doc.example)


def test_the_table_is_complete_without_duplicates() -> None:
    assert " ".join(row.name for row in PARAMETERS) == (
        "environment branch access_token auto quality format width height disable dpr fit resize-filter crop trim "
        "orient overlay overlay-align overlay-repeat overlay-width overlay-height overlay-pad pad canvas bg-color "
        "brightness contrast saturation sharpen blur frame"
    )
    for param in Contentstack.params:
        assert param.grammar and param.default and param.about
        assert param.source.startswith("https://www.contentstack.com/")


names = st.sampled_from([row.name for row in PARAMETERS]) | st.text(max_size=5)
texts = st.text(alphabet="0123456789.,:px-+offset safmrtug%&=#?/", max_size=20) | st.text(max_size=20)
queries = st.lists(st.tuples(names, texts), max_size=8).map(lambda given: "&".join(f"{n}={t}" for n, t in given))


@pytest.mark.parametrize("query", ["?" * 100_000, "&" * 100_000, "overlay=?" * 11_000, "crop=" + "1," * 50_000])
def test_a_hostile_query_is_refused_in_no_time(query: str) -> None:
    started = time.process_time()
    with pytest.raises(BadRequest):
        order_of(query)
    assert time.process_time() - started < 0.2


@given(path=st.text(), query=queries | st.text(), accept=st.text())
def test_order_raises_nothing_but_a_problem(path: str, query: str, accept: str) -> None:
    try:
        order = Contentstack().order(ImageRequest(path, query, {"accept": accept}, base="/contentstack"))
    except Problem as problem:
        assert problem.status in (400, 404)
    else:
        assert order.plan is None or len(order.plan.fingerprint()) == 64
