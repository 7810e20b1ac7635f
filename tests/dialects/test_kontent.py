"""Kontent.ai: the Order of a query, contradictions, and ignored parameters.

The tables follow https://kontent.ai/learn/docs/apis/image-transformation-api.
"""

from __future__ import annotations

from fractions import Fraction
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest, Result
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.model.formats import Format, Info
from cropmark.model.values import FULL_LENGTH, ZERO_LENGTH, Color, Length, Pixels, Point, Share, Size
from cropmark.plan.plan import Order, Plan
from cropmark.plan.steps import AnyStep, Crop, Dimensions, Fit, Flatten, Focus, Offset, Overflow, Resize

CHROME = "image/avif,image/webp,image/apng,*/*;q=0.8"
OLD_BROWSER = "image/png,image/*;q=0.8,*/*;q=0.5"


def order(query: str, accept: str = "") -> Order:
    return Kontent().order(ImageRequest("flower.jpg", query, {"accept": accept}))


def plan(query: str, accept: str = "") -> Plan:
    found = order(query, accept).plan
    assert found is not None, f"{query} orders the original"
    return found


def steps(query: str) -> tuple[AnyStep, ...]:
    found = order(query).plan
    return found.steps if found else ()


def px(count: float | str) -> Pixels:
    return Pixels(Fraction(str(count)))


def part(share: str) -> Share:
    return Share(Fraction(share))


def clip(width: Length | None, height: Length | None = None, dpr: str = "1") -> Resize:
    return Resize(width, height, Fit.INSIDE, dpr=Fraction(dpr), parameter="w")


def scale(width: Length, height: Length, dpr: str = "1") -> Resize:
    return Resize(width, height, Fit.STRETCH, enlarge=True, dpr=Fraction(dpr), parameter="w")


def crop(
    width: Length | None,
    height: Length | None,
    focus: tuple[str, str] | Focus | None = None,
    zoom: str = "1",
    dpr: str = "1",
    parameter: str = "w",
) -> Resize:
    point = Point(Fraction(focus[0]), Fraction(focus[1])) if isinstance(focus, tuple) else focus
    return Resize(width, height, Fit.COVER, dpr=Fraction(dpr), focus=point, zoom=Fraction(zoom), parameter=parameter)


def rect(x: Length, y: Length, width: Length, height: Length) -> Crop:
    return Crop(Dimensions(width, height), Offset(x), Offset(y), overflow=Overflow.CLIP_OR_ORIGINAL, parameter="rect")


MIDDLE = ("1/2", "1/2")
FOCAL = "fit=crop&crop=focalpoint"

# ---------------------------------------------------------------------------------------------- steps

# fmt: off
STEPS: list[tuple[str, tuple[AnyStep, ...]]] = [
    # query                                   does
    ("w=300",                                 (clip(px(300)),)),
    ("h=0.1",                                 (clip(None, part("0.1")),)),
    ("w=.5",                                  (clip(part("0.5")),)),
    ("w=1",                                   (clip(px(1)),)),                           # one pixel, not 100 %
    ("w=+300",                                (clip(px(300)),)),
    ("w=%2B300",                              (clip(px(300)),)),
    ("w=97.55",                               (clip(px("97.55")),)),                     # the .NET SDK's tests send it
    ("w=9000",                                (clip(px(9000)),)),                        # the limit is the result's
    ("w=400&h=0.5",                           (clip(px(400), part("0.5")),)),
    ("h=100&fit=CLIP&w=200",                  (clip(px(200), px(100)),)),                # neither order nor case
    ("w=300&dpr=2",                           (clip(px(300), dpr="2"),)),
    ("w=300&dpr=0.5",                         (clip(px(300), dpr="0.5"),)),
    ("w=100&dpr=9",                           (clip(px(100), dpr="5"),)),                # above 5 counts as 5
    ("w=100&dpr=0",                           (clip(px(100)),)),
    ("w=100&fit=fill",                        (clip(px(100)),)),                         # unknown: clip
    ("w=1200&h=150&fit=scale",                (scale(px(1200), px(150)),)),
    ("w=0.5&h=0.25&fit=scale&dpr=2",          (scale(part("0.5"), part("0.25"), "2"),)),
    ("w=1200&fit=scale",                      (clip(px(1200)),)),                        # one side: nothing to distort
    ("w=300&h=150&fit=crop",                  (crop(px(300), px(150)),)),
    ("w=300&fit=crop",                        (crop(px(300), None),)),
    ("w=200&h=100&dpr=1.5&fit=crop",          (crop(px(200), px(100), dpr="1.5"),)),
    ("fit=clip&w=9&h=9&fit=crop",             (crop(px(9), px(9)),)),                    # of a repeated one the last
    ("w=9&h=9&fit=crop&fp-x=0.9&fp-z=4",      (crop(px(9), px(9)),)),                    # needs crop=focalpoint
    ("w=9&h=9&fit=crop&crop=edges",           (crop(px(9), px(9)),)),
    (f"w=9&h=9&{FOCAL}",                      (crop(px(9), px(9), MIDDLE),)),
    (f"w=9&h=9&{FOCAL}&fp-x=0.7",             (crop(px(9), px(9), ("0.7", "1/2")),)),
    (f"w=9&{FOCAL}&fp-y=0&fp-z=2.5",          (crop(px(9), None, ("1/2", "0"), "2.5"),)),
    (f"w=9&h=9&{FOCAL}&fp-x=560&fp-y=-3",     (crop(px(9), px(9), ("1", "0")),)),        # held within 0 and 1
    (f"w=9&h=9&{FOCAL}&fp-x=left&fp-z=0.5",   (crop(px(9), px(9), MIDDLE),)),
    (f"{FOCAL}&fp-z=3",                       (crop(FULL_LENGTH, FULL_LENGTH, MIDDLE, "3", parameter="fp-z"),)),
    (f"{FOCAL}&fp-z=3&dpr=2",                 (crop(FULL_LENGTH, FULL_LENGTH, MIDDLE, "3", parameter="fp-z"),)),
    ("w=9&h=12&fit=crop&crop=smart",          (crop(px(9), px(12), Focus.SMART),)),
    ("w=9&h=12&fit=crop&crop=SMART&dpr=2",    (crop(px(9), px(12), Focus.SMART, dpr="2"),)),
    ("w=9&h=12&crop=smart",                   (clip(px(9), px(12)),)),                   # needs fit=crop
    ("rect=0,0,700,466",                      (rect(ZERO_LENGTH, ZERO_LENGTH, px(700), px(466)),)),
    ("rect=1,1,0.7,0.7",                      (rect(px(1), px(1), part("0.7"), part("0.7")),)),
    ("rect=0%2C0%2C0.5%2C0.5",                (rect(ZERO_LENGTH, ZERO_LENGTH, part("0.5"), part("0.5")),)),
    ("w=9&fit=clip&rect=-0,.5,9000,1",        (rect(ZERO_LENGTH, part(".5"), px(9000), px(1)), clip(px(9)))),
    ("rect=7,23,30,20&w=9&h=9&fit=scale",     (rect(px(7), px(23), px(30), px(20)), scale(px(9), px(9)))),
    ("rect=0,0,10,10&fp-x=0.5",               (rect(ZERO_LENGTH, ZERO_LENGTH, px(10), px(10)),)),  # no contradiction
    ("%77=300",                               (clip(px(300)),)),                         # names are decoded too
]
# fmt: on


@pytest.mark.parametrize(("query", "expected"), STEPS)
def test_a_query_becomes_these_steps(query: str, expected: tuple[AnyStep, ...]) -> None:
    assert plan(query).steps == expected


# fmt: off
BACKGROUNDS = [
    # bg           red green blue alpha
    ("C0D",      Color(204, 0, 221)),
    ("6600ff00", Color(0, 255, 0, 102)),     # AARRGGBB: alpha comes first
    ("f00f",     Color(0, 0, 255)),          # ARGB: opaque blue
    ("800F",     Color(0, 0, 255, 136)),
    ("00ff00",   Color(0, 255, 0)),
    ("%2300ff00", Color(0, 255, 0)),         # the sign that CSS writes before a color
]
# fmt: on


@pytest.mark.parametrize(("text", "color"), BACKGROUNDS)
def test_bg_is_applied_after_the_resize(text: str, color: Color) -> None:
    resized, flattened = plan(f"bg={text}&w=100").steps
    assert resized == clip(px(100))
    assert isinstance(flattened, Flatten)
    assert flattened.color == color


def test_bg_is_skipped_without_transparency() -> None:
    (flattened,) = plan("bg=00f").steps
    opaque, clear = (Info(Format.PNG, Size(9, 9), 99, alpha=alpha) for alpha in (False, True))
    assert [any(kind.matches(info) for kind in flattened.skipped_for) for info in (opaque, clear)] == [True, False]


# ---------------------------------------------------------------------------------------------- the original

# fmt: off
CONTRADICTIONS = [
    # query                                            parameter    words
    ("rect=0,0,5,5&w=2&h=2&fit=crop",                  "rect",   "fit=crop"),          # I1
    ("rect=0,0,500,500&fit=crop&fm=png&q=3",           "rect",   "fit=crop"),          # also without w and h
    ("rect=0,0,5,5&w=2&crop=focalpoint",               "rect",   "crop=focalpoint"),   # I2, also without fit=crop
    ("rect=0,0,5,5&crop=smart",                        "rect",   "crop=smart"),        # I3
    ("w=0.5&h=0.5&fit=crop&fm=webp",                   "fit",    "whole pixels"),      # I4
    ("w=300&h=0.5&fit=crop",                           "fit",    "whole pixels"),
    ("w=.5&fit=crop&crop=focalpoint",                  "fit",    "whole pixels"),
    ("w=9&h=9&fit=crop&crop=smart&fp-x=0.2",           "crop",   "fp-x"),              # I5
    ("w=9&h=9&fit=crop&crop=smart&fp-z=none",          "crop",   "fp-x"),              # usable or not
    ("w=9&fit=crop&crop=smart",                        "crop",   "both w and h"),      # I6
    ("w=9&h=0&fit=crop&crop=smart",                    "crop",   "both w and h"),
    ("fit=crop&crop=smart",                            "crop",   "both w and h"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter", "words"), CONTRADICTIONS)
def test_a_contradiction_gives_the_original(query: str, parameter: str, words: str) -> None:
    found = order(query, CHROME)
    assert found.plan is None
    assert any(warned.parameter == parameter and words in warned.text for warned in found.warnings)


NO_CONTRADICTION = [
    "rect=0,0,0,5&w=9&h=9&fit=crop",  # an unusable rect contradicts nothing
    "rect=0,0,5,5&w=9&h=9&fit=crop&fit=clip",
    "rect=0,0,5,5&fp-x=0.5&fp-z=2",
    "w=9&h=9&fit=crop&crop=smart&fp-x=",  # empty is absent
    "w=0.5&h=0.5&crop=focalpoint&rect=1,2,3",
    "w=0.5&h=0.5&fit=scale",
]


@pytest.mark.parametrize("query", NO_CONTRADICTION)
def test_queries_without_contradiction_are_executed(query: str) -> None:
    assert order(query).plan is not None


NOTHING_ASKED = [
    "",
    "foo=bar&v=2",
    "w=abc",
    "w=&h=",
    "w=300&w=",  # the last one counts, and it is empty
    "W=300",  # names are lower case
    "dpr=2",
    "fit=crop",
    "fit=scale&dpr=3&fp-x=0.1",
    "crop=smart",
    "crop=focalpoint&fp-z=3",
    "fm=avif",
    "auto=webp",  # what old SDKs sent, and it did nothing
    "rect=1,2,3",
    "bg=12345",
    "bg=00123456",  # wholly clear
    "w=300.",
    "w=1e2",
    "w=" + "9" * 5000,
    "w=３００",
    "w=1_000",
]


@pytest.mark.parametrize("query", NOTHING_ASKED)
def test_a_query_without_an_effect_gives_the_original(query: str) -> None:
    assert order(query).plan is None


# ---------------------------------------------------------------------------------------------- warnings

# fmt: off
WARNINGS = [
    # query                     parameter           words
    ("w=abc",                   "w",                "a number above 0"),
    ("h=-3",                    "h",                "a number above 0"),
    ("dpr=7&w=3",               "dpr",              "7 counts as 5"),
    ("fit=fill&w=3",            "fit",              "clip, scale, crop"),
    ("rect=1,2,3",              "rect",             "x,y,width,height"),
    ("rect=1,2,3,4,5",          "rect",             "x,y,width,height"),
    ("rect=1,2,3,0",            "rect",             "above 0"),
    ("rect=1,-2,3,4",           "rect",             "x,y,width,height"),
    ("bg=red",                  "bg",               "hex digits"),
    ("fm=avif&w=3",             "fm",               "gif, png, png8, jpg"),
    ("q=101",                   "q",                "101 counts as 100"),
    ("q=best",                  "q",                "a number"),
    ("lossless=yes&w=3",        "lossless",         "1, true, 0, false"),
    ("auto=compress",           "auto",             "format"),
    ("dpr=2",                   "dpr",              "without w or h"),
    ("fit=crop",                "fit",              "without w or h"),
    ("crop=smart&w=3",          "crop",             "without fit=crop"),
    ("w=3&h=3&fit=crop&fp-x=1", "fp-x, fp-y, fp-z", "without fit=crop&crop=focalpoint"),
    ("&".join(["a=1"] * 300),   "query",            "parameters"),
]
# fmt: on


@pytest.mark.parametrize(("query", "parameter", "words"), WARNINGS)
def test_ignored_or_clamped_values_give_warnings(query: str, parameter: str, words: str) -> None:
    report = [warned.text for warned in order(query).warnings if warned.parameter == parameter]
    assert len(report) == 1
    assert words in report[0]


@pytest.mark.parametrize("query", ["", "w=3", "v=2", "q=75&w=640&lossless=true&auto=format", "w=&fit="])
def test_an_ordinary_query_has_no_warnings(query: str) -> None:
    assert order(query).warnings == ()


# ---------------------------------------------------------------------------------------------- laws

NAMES = st.sampled_from([param.name for param in Kontent.params])
VALUES = st.one_of(
    st.text(max_size=12),
    st.decimals(allow_nan=True).map(str),
    st.sampled_from(["crop", "clip", "smart", "focalpoint", "0,0,9,9", "webp", "true", "format", "0.5", "300"]),
)
QUERIES = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(lambda pairs: urlencode(pairs, errors="replace"))


@given(query=st.one_of(QUERIES, st.text()), accept=st.text(max_size=40))
def test_no_query_is_an_error(query: str, accept: str) -> None:
    found = order(query, accept)
    assert found.plan is None or found.plan.fingerprint()
    assert all(
        value.isprintable() for _, value in Kontent().image_headers(found, Result(1, None, None, None, found.warnings))
    )


@given(query=QUERIES)
def test_the_order_of_different_parameters_means_nothing(query: str) -> None:
    once = dict(parse_qsl(query))
    there, back = urlencode(once), urlencode(dict(reversed(once.items())))
    assert order(there).plan == order(back).plan
