"""Fastly: a query becomes Steps in the documented order; malformed parameters are refused, ignored ones warn."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.params import PARAMETERS
from cropmark.dialects.fastly.settings import FastlySettings, OnMalformed
from cropmark.dialects.params import Parameter, parse_params
from cropmark.model.formats import TRAITS
from cropmark.model.problems import BadRequest, BadValue, Problem
from cropmark.model.values import FULL_LENGTH, Color, Pixels, Ratio, Share
from cropmark.plan.plan import Fallback, Order, Plan
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.plan.steps import (
    Adjust,
    Align,
    AnyStep,
    AutoColor,
    Blur,
    Canvas,
    Crop,
    Dimensions,
    Dither,
    Edges,
    Filter,
    Fit,
    Flatten,
    Focus,
    Monochrome,
    Offset,
    Orient,
    Orientation,
    Overflow,
    Pad,
    Resize,
    Rounding,
    Sharpen,
    Threshold,
    TrimBorder,
    TrimEdges,
)


def px(count: int | str) -> Pixels:
    return Pixels(Fraction(count))


def part(share: str) -> Share:
    return Share(Fraction(share))


def order_of(query: str, settings: FastlySettings | None = None) -> Order:
    return Fastly(settings or FastlySettings()).order(ImageRequest("a.png", query))


def plan_of(query: str, settings: FastlySettings | None = None) -> Plan:
    plan = order_of(query, settings).plan
    assert plan is not None
    return plan


def steps_of(query: str, settings: FastlySettings | None = None) -> tuple[AnyStep, ...]:
    return plan_of(query, settings).steps


def warned(query: str, settings: FastlySettings | None = None) -> list[str]:
    return [each.parameter for each in order_of(query, settings).warnings]


SQUARE = Ratio(Fraction(1), Fraction(1))

# fmt: off
CROPS = [
    # the worked examples of the specification, as Steps
    ("crop=640,480",                     Crop(shape=Dimensions(px(640), px(480)))),
    ("crop=640,480,x10,y20",             Crop(shape=Dimensions(px(640), px(480)), x=Offset(px(10)), y=Offset(px(20)))),
    ("crop=640,480,x10",                 Crop(shape=Dimensions(px(640), px(480)), x=Offset(px(10)))),
    ("crop=0.5,0.25",                    Crop(shape=Dimensions(part("0.5"), part("0.25")))),
    ("crop=25p,100p,x75p",               Crop(shape=Dimensions(part("0.25"), part("1")), x=Offset(part("0.75")))),
    ("crop=640,50p,offset-x0",           Crop(shape=Dimensions(px(640), part("0.5")), x=Align(Fraction(0)))),
    ("crop=400,300,offset-x30,offset-y60",
        Crop(shape=Dimensions(px(400), px(300)), x=Align(Fraction(3, 10)), y=Align(Fraction(3, 5)))),
    ("crop=400,300,x200,offset-y60",
        Crop(shape=Dimensions(px(400), px(300)), x=Offset(px(200)), y=Align(Fraction(3, 5)))),
    ("crop=400,300,offset-x0.3",         Crop(shape=Dimensions(px(400), px(300)), x=Align(Fraction(3, 10)))),   # K1
    ("crop=2.5:1",                       Crop(shape=Ratio(Fraction(5, 2), Fraction(1)))),
    ("crop=1:1,offset-x100",             Crop(shape=SQUARE, x=Align(Fraction(1)))),
    ("crop=2000,500,safe",               Crop(shape=Dimensions(px(2000), px(500)), overflow=Overflow.CLIP)),
    ("?crop=3000,600,x100,x100,safe",                                                                     # Q6, K2
        Crop(shape=Dimensions(px(3000), px(600)), x=Offset(px(100)), overflow=Overflow.CLIP)),
    ("crop=1:1,smart",                   Crop(shape=SQUARE, focus=Focus.SMART)),
    ("crop=1:1,smart,safe,y10",                                                                           # K5, K6
        Crop(shape=SQUARE, y=Offset(px(10)), focus=Focus.SMART, overflow=Overflow.CLIP)),
    ("crop=300,200,smart",               Crop(shape=Dimensions(px(300), px(200)))),                           # K5: idle
    ("crop=4.000000:3.000000,offset-x10.000000,y0.000000p",                                               # its SDK
        Crop(shape=Ratio(Fraction(4), Fraction(3)), x=Align(Fraction(1, 10)), y=Offset(part("0")))),
    ("crop=400%2C300%2Cx10%2Cy20",       Crop(shape=Dimensions(px(400), px(300)), x=Offset(px(10)), y=Offset(px(20)))),
    ("CROP=1:1&crop=1:1,SMART",          Crop(shape=SQUARE, focus=Focus.SMART)),                          # Q1
    ("precrop=1:1",                      Crop(shape=SQUARE, parameter="precrop")),
]

STEPS: list[tuple[str, tuple[AnyStep, ...]]] = [
    ("",                                 ()),
    ("trim=25,50,75,100",                (TrimEdges(Edges(px(25), px(50), px(75), px(100))),)),
    ("trim=25p,0,25p,0",                 (TrimEdges(Edges(part("0.25"), px(0), part("0.25"), px(0))),)),    # W5
    ("orient=r",                         (Orient(Orientation.ROTATE_90),)),
    ("orient=R",                         (Orient(Orientation.ROTATE_90),)),
    ("orient=2",                         (Orient(Orientation.FLIP_HORIZONTAL),)),  # table, not the slip in an example
    ("orient=vr",                        (Orient(Orientation.TRANSPOSE),)),      # the flip comes first, as for 5
    ("orient=1",                         ()),
    ("width=400",                        (Resize(width=px(400), height=None),)),
    ("height=0.3",                       (Resize(width=None, height=part("0.3"), parameter="height"),)),
    ("width=33.3p",                      (Resize(width=part("0.333"), height=None),)),
    ("width=200&height=0.50",            (Resize(width=px(200), height=part("0.5")),)),                     # forced
    ("height=106.66666666666666",        (Resize(width=None, height=px("106.66666666666666"), parameter="height"),)),
    ("width=400&height=400&fit=bounds",  (Resize(width=px(400), height=px(400), fit=Fit.INSIDE),)),
    ("width=400&height=400&fit=cover",   (Resize(width=px(400), height=px(400), fit=Fit.OUTSIDE),)),
    ("width=300&height=100&fit=crop&dpr=2",
        (Resize(width=px(300), height=px(100), fit=Fit.COVER, dpr=Fraction(2)),)),
    ("width=200&fit=crop",               (Resize(width=px(200), height=None),)),           # fit needs both sides
    ("width=200&dpr=1.500000",           (Resize(width=px(200), height=None, dpr=Fraction(3, 2)),)),
    ("dpr=2",                            ()),                                              # R2: shows only when growing
    ("dpr=2&enable=upscale",
        (Resize(width=FULL_LENGTH, height=None, dpr=Fraction(2), enlarge=True, parameter="dpr"),)),
    ("width=2000&enable=upscale",        (Resize(width=px(2000), height=None, enlarge=True),)),
    ("width=2000&enable=upscale&disable=upscale", (Resize(width=px(2000), height=None),)), # R4
    ("width=9&resize-filter=cubic",      (Resize(width=px(9), height=None, filter=Filter.CUBIC),)),
    ("width=9&resize-filter=bilinear",   (Resize(width=px(9), height=None, filter=Filter.LINEAR),)),
    ("resize-filter=nearest&fit=crop",   ()),
    ("pad=20,10",                        (Pad(Edges(px(20), px(10), px(20), px(10))),)),
    ("pad=10&bg-color=0,255,0,0.5",                                                        # applied once, not twice
        (Flatten(Color(0, 255, 0, 128)), Pad(Edges(px(10), px(10), px(10), px(10)), Color(0, 255, 0, 128)))),
    ("canvas=1200,800,x25p,y50p",
        (Canvas(shape=Dimensions(px(1200), px(800)), x=Offset(part("0.25")), y=Offset(part("0.5"))),)),
    ("canvas=1:1,offset-y25",            (Canvas(shape=SQUARE, y=Align(Fraction(1, 4))),)),
    ("canvas=300,300&pad=50",            (Canvas(shape=Dimensions(px(300), px(300))),)),         # canvas beats pad
    ("bg-color=F80",                     (Flatten(Color(255, 136, 0)),)),
    ("brightness=20&contrast=-10.5&saturation=5", (Adjust(Fraction(20), Fraction(-21, 2), Fraction(5)),)),
    ("brightness=0",                     ()),
    ("sharpen=a5,r2,t1",                 (Sharpen(Fraction(5), px(2), 1),)),
    ("sharpen=t0,r2.000000,a5.000000",   (Sharpen(Fraction(5), px(2), 0),)),               # any order, its SDK's zeros
    ("sharpen=a0,r2,t1",                 ()),                                              # X4: does nothing
    ("blur=0.5",                         (Blur(px("0.5")),)),                              # a radius, not a part
    ("blur=1p",                          (Blur(part("0.01")),)),
    ("bw=threshold",                     (Monochrome(Threshold(Fraction(50))),)),          # X6
    ("bw=threshold,75.5",                (Monochrome(Threshold(Fraction(151, 2))),)),
    ("bw=Atkinson",                      (Monochrome(Dither.ATKINSON),)),
]
# fmt: on


@pytest.mark.parametrize(("query", "crop"), CROPS)
def test_a_crop_is(query: str, crop: Crop) -> None:
    assert steps_of(query) == (crop,)


@pytest.mark.parametrize(("query", "steps"), STEPS)
def test_a_query_becomes(query: str, steps: tuple[AnyStep, ...]) -> None:
    assert steps_of(query) == steps


# fmt: off
BORDERS = [
    ("auto",                 AutoColor.TOP_LEFT, Fraction(0)),
    ("auto,t0.1",            AutoColor.TOP_LEFT, Fraction(1, 10)),
    ("FFFFFF,t0.1",          Color(255, 255, 255), Fraction(1, 10)),
    ("1,2,3",                Color(1, 2, 3), Fraction(0)),
    ("1,2,3,0.5,t1",         Color(1, 2, 3, 128), Fraction(1)),
]
# fmt: on


@pytest.mark.parametrize(("text", "color", "tolerance"), BORDERS)
def test_a_border_to_trim_is(text: str, color: Color | AutoColor, tolerance: Fraction) -> None:
    (step,) = steps_of(f"trim-color={text}")
    assert isinstance(step, TrimBorder)
    assert (step.color, step.tolerance) == (color, tolerance)
    # Not on GIF: the format of the source is only known from its header.
    assert [kind.formats and [f.value for f in kind.formats] for kind in step.skipped_for] == [["gif"]]
    assert step.warning_if_skipped


EVERYTHING = (
    "trim-color=auto", "precrop=90p,90p", "trim=5", "crop=1:1", "orient=r", "width=200", "canvas=300,300",
    "bg-color=fff", "brightness=1", "sharpen=a1,r1,t1", "blur=2", "bw=atkinson", "quality=50", "format=webp",
)  # fmt: skip
IN_ORDER = [TrimBorder, Crop, TrimEdges, Crop, Orient, Resize, Flatten, Canvas, Adjust, Sharpen, Blur, Monochrome]


def test_the_steps_are_in_the_documents_order() -> None:
    assert [type(step) for step in steps_of("&".join(EVERYTHING))] == IN_ORDER
    assert [step.parameter for step in steps_of("&".join(EVERYTHING)) if isinstance(step, Crop)] == ["precrop", "crop"]


@given(st.permutations(EVERYTHING))
def test_the_order_of_the_query_plays_no_part(query: list[str]) -> None:
    assert plan_of("&".join(query)) == plan_of("&".join(EVERYTHING))


def test_source_limits_and_fallbacks() -> None:
    plan = plan_of("width=200")
    assert {f.value for f in plan.reads if TRAITS[f].extra is None} == {"jpeg", "png", "webp", "gif", "avif"}
    assert (plan.on_unsupported, plan.on_unusable) == (Fallback.ORIGINAL, Fallback.ORIGINAL)
    assert (plan.limits.source_bytes, plan.limits.source_side, plan.limits.source_frames) == (50 * 2**20, 12_000, 1_000)
    assert (plan.limits.side, plan.limits.animation_area, plan.limits.avif_area) == (8_192, 8_192**2, 4_096**2)
    assert order_of("width=200").sources == (SourceRequest(SitePath("a.png")),)


# ---------------------------------------------------------------------------------- absent, ignored, refused

# fmt: off
ABSENT = [
    "height=&width=&canvas=:",                                # W1: Magento's templates
    "crop=none", "crop=false", "width=undefined", "width=NaN", "width=null", "crop=,", "crop=None", "width=+",
    "width=200&width=",                                       # Q3: the last one, which is absent
    "region=us_east&foo=bar&s=1&ixlib=2&store=x",             # Q4, W6: unknown names
    "Width=200",                                              # Q1: names are matched exactly
    "level=4.0&profile=main&viewbox=1&frame=1",               # Q5: checked, without effect on the Steps
]
# fmt: on


@pytest.mark.parametrize("query", ABSENT)
def test_without_effect_or_warning(query: str) -> None:
    assert steps_of(query) == ()
    assert warned(query) == []


# fmt: off
FORGIVEN = [
    # query                                  warns of
    ("fit=max&width=9&height=9",             "fit"),            # W3: imgix's words
    ("fit=clip&width=9&height=9",            "fit"),
    ("resize-filter=mitchell",               "resize-filter"),
    ("optimize={medium}",                    "optimize"),
    ("metadata=all",                         "metadata"),
    ("profile=ultra",                        "profile"),
    ("level=9.9",                            "level"),
    ("auto=compress",                        "auto"),           # W2
    ("crop=300,200,smart",                   "crop"),           # K5
    ("format=mp4",                           "format"),         # F10
    ("format=svg",                           "format"),         # F16
    ("metadata=c2pa",                        "metadata"),       # F15
    ("overlay-base64=L2EucG5n",              "overlay-base64"), # W6
    ("overlay-align=top",                    "overlay-align"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter"), FORGIVEN)
def test_ignored_with_a_warning(query: str, parameter: str) -> None:
    assert warned(query) == [parameter]


# fmt: off
REFUSED = [
    # query                          parameter     the message holds
    ("width=wide",                   "width",      "expected a length"),
    ("width=0",                      "width",      "above 0"),
    ("width=8193",                   "width",      "at most 8192 pixels, got '8193'"),
    ("width=-5",                     "width",      "a length"),
    ("height=1e3",                   "height",     "a length"),
    ("dpr=11",                       "dpr",        "from 1 to 10"),
    ("dpr=0.5",                      "dpr",        "from 1 to 10"),
    ("dpr=2p",                       "dpr",        "from 1 to 10"),
    ("crop=640",                     "crop",       "a width and a height, or a ratio"),
    ("crop=0,10",                    "crop",       "above 0"),
    ("crop=16:0",                    "crop",       "a ratio of numbers above 0, got '16:0'"),
    ("crop=400,200,x100,offset-x10", "crop",       "x or offset-x, not both"),
    ("crop=400,200,offset-x101",     "crop",       "0 to 100 percent"),
    ("crop=400,200,x-1",             "crop",       "a length"),
    ("crop=300,200,x10,x20",         "crop",       "x once"),
    ("crop=1:1,center",              "crop",       "got 'center'"),
    ("precrop=1:1,middle",           "precrop",    "got 'middle'"),
    ("canvas=400,400,safe",          "canvas",     "got 'safe'"),                # C5
    ("canvas=400,400,smart",         "canvas",     "got 'smart'"),
    ("trim=1,2,3,4,5",               "trim",       "one to four lengths"),
    ("pad=-5",                       "pad",        "a length"),
    ("trim-color=#fff",              "trim-color", "hex"),
    ("trim-color=fff,t2",            "trim-color", "from 0 to 1"),
    ("trim-color=t0.5",              "trim-color", "hex"),
    ("orient=9",                     "orient",     "expected one of"),
    ("enable=everything",            "enable",     "one of upscale"),
    ("bg-color=%23fff",              "bg-color",   "hex"),
    ("bg-color=300,0,0",             "bg-color",   "0 to 255"),
    ("brightness=101",               "brightness", "from -100 to 100"),
    ("contrast=low",                 "contrast",   "from -100 to 100"),
    ("sharpen=a5,r2",                "sharpen",    "an amount, a radius and a threshold"),
    ("sharpen=a11,r2,t1",            "sharpen",    "from 0 to 10"),
    ("sharpen=a1,r0.4,t1",           "sharpen",    "from 0.5 to 1000"),
    ("sharpen=a1,r1,t1.5",           "sharpen",    "whole number"),
    ("blur=0.4",                     "blur",       "from 0.5 to 1000"),
    ("blur=1001",                    "blur",       "from 0.5 to 1000"),
    ("bw=atkinson,50",               "bw",         "atkinson alone"),
    ("bw=threshold,101",             "bw",         "from 0 to 100"),
    ("bw=gray",                      "bw",         "threshold"),
    ("format=bmp",                   "format",     "got 'bmp'"),
    ("frame=2",                      "frame",      "one of 1"),
    ("quality=0",                    "quality",    "from 1 to 100"),
    ("quality=101",                  "quality",    "from 1 to 100"),
    ("quality=85,70,60",             "quality",    "one or two"),
    ("quality=85.5",                 "quality",    "whole number"),
    ("viewbox=2",                    "viewbox",    "one of 1"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter", "words"), REFUSED)
def test_malformed(query: str, parameter: str, words: str) -> None:
    with pytest.raises(BadValue) as refused:
        order_of(query)
    assert refused.value.parameter == parameter
    assert words in refused.value.detail
    assert refused.value.fix


@pytest.mark.parametrize(("query", "parameter", "words"), REFUSED)
def test_malformed_is_ignored_where_the_operator_says_so(query: str, parameter: str, words: str) -> None:
    lenient = FastlySettings(on_malformed=OnMalformed.IGNORE)
    assert steps_of(query, lenient) == ()
    assert warned(query, lenient) == [parameter]


def test_a_parameter_without_effect_is_still_checked() -> None:
    with pytest.raises(BadValue, match="viewbox"):
        order_of("width=100&viewbox=no")


def test_the_rounding_of_crops_is_a_setting() -> None:
    down = FastlySettings(rounding=Rounding.DOWN)
    crops = [step for step in steps_of("precrop=4:3&crop=16:9", down) if isinstance(step, Crop)]
    assert [crop.rounding for crop in crops] == [Rounding.DOWN] * 2


def test_the_service_may_enlarge_and_resample_otherwise() -> None:
    settings = FastlySettings(upscale=True, resize_filter=Filter.CUBIC)
    assert steps_of("width=9", settings) == (Resize(width=px(9), height=None, enlarge=True, filter=Filter.CUBIC),)
    (held,) = steps_of("width=9&disable=upscale&resize-filter=nearest", settings)
    assert isinstance(held, Resize)
    assert (held.enlarge, held.filter) == (False, Filter.NEAREST)


# ------------------------------------------------------------------------------------------------ the table and laws


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_a_parameter_reads_its_own_example(row: Parameter[object]) -> None:
    assert row.of(parse_params(PARAMETERS, {row.name: row.doc.example})) is not None
    assert re.search(row.doc.pattern, row.doc.example)


def test_the_table_is_complete_without_duplicates() -> None:
    assert " ".join(row.name for row in PARAMETERS) == (
        "auto bg-color blur brightness bw canvas contrast crop disable dpr enable fit format frame height level "
        "metadata optimize orient pad precrop profile quality resize-filter saturation sharpen trim trim-color viewbox "
        "width"
    )
    assert Fastly.params == tuple(row.doc for row in PARAMETERS)
    for param in Fastly.params:
        assert param.grammar and param.default and param.about
        assert param.source.startswith("https://www.fastly.com/")


names = st.sampled_from([row.name for row in PARAMETERS]) | st.text(max_size=5)
texts = st.text(alphabet="0123456789.,:px-+offset safmrtug%&=#", max_size=20) | st.text(max_size=20)
queries = st.lists(st.tuples(names, texts), max_size=8).map(lambda given: "&".join(f"{n}={t}" for n, t in given))
headers = st.dictionaries(st.sampled_from([*Fastly.request_headers, "accept"]), queries | texts)


@given(path=st.text(), query=queries | st.text(), headers=headers)
def test_order_raises_nothing_but_a_problem(path: str, query: str, headers: dict[str, str]) -> None:
    try:
        order = Fastly().order(ImageRequest(path, query, headers, base="/fastly"))
    except Problem as problem:
        assert isinstance(problem, BadRequest) or problem.status == 400
    else:
        assert order.plan is not None
        assert len(order.plan.fingerprint()) == 64


@given(query=queries)
def test_a_lenient_service_accepts_every_query(query: str) -> None:
    assert plan_of(query, FastlySettings(on_malformed=OnMalformed.IGNORE)).on_unusable is Fallback.ORIGINAL


def test_equal_queries_make_equal_plans() -> None:
    spellings = ["crop=1:1&width=50p", "width=50.0p&crop=1%3A1", "width=.5&crop=1:1", "crop=1.0:1&width=0.50&foo=1"]
    for one, other in permutations(spellings, 2):
        assert plan_of(one).fingerprint() == plan_of(other).fingerprint()
