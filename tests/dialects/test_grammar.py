"""The shared readers: the value of each text, error messages, and the time that reading takes."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects import grammar
from cropmark.dialects.grammar import MAX_PAIRS, MAX_QUERY_CHARS, UnknownWord, WordList
from cropmark.model.problems import BadRequest, BadValue
from cropmark.model.values import Color, Length, Pixels, Ratio, Share
from cropmark.plan.steps import CENTERED, Align, Dimensions, Edges, Offset, Placement, Shape


def px(count: int | str) -> Pixels:
    return Pixels(Fraction(count))


def part(share: str) -> Share:
    return Share(Fraction(share))


# ------------------------------------------------------------------------------------------------ queries

# fmt: off
QUERIES = [
    # raw                          parameters
    ("width=200&height=100",       {"width": "200", "height": "100"}),
    ("crop=150%2C100%3A1",         {"crop": "150,100:1"}),
    ("a%2Db=1",                    {"a-b": "1"}),                       # names are decoded too
    ("a=1+2%202",                  {"a": "1 2 2"}),                     # + is a blank, %2B a plus
    ("a=%2B1",                     {"a": "+1"}),
    ("??crop=1:1",                 {"crop": "1:1"}),                    # Q6: marks at the start are skipped
    ("width=1&width=2",            {"width": "2"}),                     # the last one counts
    ("width=200&width=",           {"width": ""}),
    ("flag&width=1",               {"flag": "", "width": "1"}),
    ("a=b=c",                      {"a": "b=c"}),
    ("a=%FF",                      {"a": "�"}),
    ("a=1;b=2",                    {"a": "1;b=2"}),                     # only & separates
    ("",                           {}),
    ("&&=&",                       {"": ""}),
]
# fmt: on


@pytest.mark.parametrize(("raw", "parameters"), QUERIES)
def test_a_query_holds(raw: str, parameters: dict[str, str]) -> None:
    assert grammar.query_values(raw) == parameters


def test_a_query_is_bounded() -> None:
    with pytest.raises(BadRequest, match=f"more than {MAX_QUERY_CHARS}"):
        grammar.query_values("a" * (MAX_QUERY_CHARS + 1))
    with pytest.raises(BadRequest, match=f"more than {MAX_PAIRS} parameters"):
        grammar.query_values("a&" * MAX_PAIRS + "a")
    assert len(grammar.query_pairs("&".join(f"a{n}=1" for n in range(MAX_PAIRS)))) == MAX_PAIRS


BLANKS = [("", True), (" ", True), (":", True), (",", True), (",,:", True), (";", True), ("0", False), ("a,", False)]


@pytest.mark.parametrize(("text", "blank"), BLANKS)
def test_a_value_of_separators_is_blank(text: str, blank: bool) -> None:
    assert grammar.is_blank(text) is blank


# ------------------------------------------------------------------------------------------------ numbers

# fmt: off
DECIMALS = [
    ("0", Fraction(0)), ("12", Fraction(12)), ("007", Fraction(7)), ("12.", Fraction(12)), (".5", Fraction(1, 2)),
    ("106.66666666666667", Fraction(10666666666666667, 10**14)),       # exact as written
    ("50.000000", Fraction(50)),
]
NO_DECIMALS = [
    "", ".", "-1", "+1", "1e3", "1E3", "nan", "inf", "1_000", " 5", "5 ", "3/4", "0x10", "1,5", "1..2",
    "\u0661", "\uff15", "\u00b2", "5\n", "1" * 41,
]
# fmt: on


@pytest.mark.parametrize(("text", "number"), DECIMALS)
def test_a_decimal_is_exact(text: str, number: Fraction) -> None:
    assert grammar.parse_decimal(text) == number


@pytest.mark.parametrize("text", NO_DECIMALS)
def test_no_other_text_is_a_decimal(text: str) -> None:
    assert grammar.parse_decimal(text) is None


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1.", "\u0661", "1_0", "9" * 41])
def test_no_other_text_is_whole(text: str) -> None:
    assert grammar.parse_whole(text) is None


def test_a_sign_is_read_only_where_it_is_allowed() -> None:
    assert grammar.parse_decimal("-1.5", signed=True) == Fraction(-3, 2)
    assert grammar.parse_decimal("+2", signed=True) == 2
    assert grammar.parse_decimal("--2", signed=True) is None
    assert grammar.read_number("brightness", "-100", -100, 100) == -100


NUMBERS_REFUSED = [
    # text    least most  the message holds
    ("11", 1, 10, "dpr: expected a number from 1 to 10, got '11' | fix: write 10 in place of 11"),
    ("0.4", Fraction(1, 2), 1000, "expected a number from 0.5 to 1000, got '0.4' | fix: write 0.5 in place of 0.4"),
    ("-5", 0, 10, "expected a number from 0 to 10, got '-5' | fix: write such a number, or leave it out"),
    ("-101", -100, 100, "got '-101' | fix: write -100 in place of -101"),
    ("wide", 1, 10, "got 'wide' | fix: write such a number, or leave it out"),
]


@pytest.mark.parametrize(("text", "least", "most", "words"), NUMBERS_REFUSED)
def test_a_number_is_refused(text: str, least: Fraction | int, most: Fraction | int, words: str) -> None:
    with pytest.raises(BadValue) as refused:
        grammar.read_number("dpr", text, least, most)
    assert words in str(refused.value)


def test_a_whole_number_is_refused_with_a_fraction() -> None:
    with pytest.raises(BadValue, match=r"quality: expected a whole number from 1 to 100, got '85\.5'"):
        grammar.read_integer("quality", "85.5", 1, 100)


# ------------------------------------------------------------------------------------------------ lengths

# fmt: off
LENGTHS: list[tuple[str, Length]] = [
    ("200",   px(200)),
    ("320.5", px("320.5")),       # N1: a decimal of 1 or more is pixels
    ("1",     px(1)),
    ("1.0",   px(1)),             # one pixel, not the whole
    ("0.5",   part("0.5")),
    (".5",    part("0.5")),
    ("0.999", part("0.999")),
    ("50p",   part("0.5")),
    ("250p",  part("2.5")),
    ("0.5p",  part("0.005")),     # p ends the doubt
    ("0",     px(0)),
]
# fmt: on


@pytest.mark.parametrize(("text", "length"), LENGTHS)
def test_a_length_is(text: str, length: Length) -> None:
    assert grammar.read_length("width", text) == length


@pytest.mark.parametrize("text", ["", "p", "-1", "50%", "50P", "50pp", "1e2", "auto"])
def test_a_length_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match=r"width: expected a length: pixels \(200\), a part of the side \(0\.5\)"):
        grammar.read_length("width", text)


EXTENTS_REFUSED = [("0", "above 0"), ("0.0", "above 0"), ("0p", "above 0"), ("8193", "at most 8192 pixels")]


@pytest.mark.parametrize(("text", "words"), EXTENTS_REFUSED)
def test_an_extent_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        grammar.read_extent("width", text, 8192)


def test_a_percentage_has_no_most() -> None:
    assert grammar.read_extent("width", "99999p", 8192) == part("999.99")


# fmt: off
EDGES = [
    # text         top  right bottom left, as in CSS
    ("25,50,75,100", Edges(px(25), px(50), px(75), px(100))),
    ("25,50,75",     Edges(px(25), px(50), px(75), px(50))),
    ("25,50",        Edges(px(25), px(50), px(25), px(50))),
    ("25",           Edges(px(25), px(25), px(25), px(25))),
    ("0.30",         Edges(part("0.3"), part("0.3"), part("0.3"), part("0.3"))),
    ("25p, 0,25p,0", Edges(part("0.25"), px(0), part("0.25"), px(0))),     # blanks around items are dropped
]
EDGES_REFUSED = [
    ("1,2,3,4,5", "one to four lengths"), ("1,,3", "expected a length"), ("a", "expected a length"),
    (",".join("1" * 40), "at most 16 items"),
]
# fmt: on


@pytest.mark.parametrize(("text", "edges"), EDGES)
def test_edges_are(text: str, edges: Edges) -> None:
    assert grammar.read_edges("trim", text) == edges


@pytest.mark.parametrize(("text", "words"), EDGES_REFUSED)
def test_edges_are_refused(text: str, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        grammar.read_edges("trim", text)


# ------------------------------------------------------------------------------------------------ shapes and places

# fmt: off
SHAPES: list[tuple[str, Shape, tuple[str, ...]]] = [
    ("640,480",             Dimensions(px(640), px(480)), ()),
    ("300,0.5",             Dimensions(px(300), part("0.5")), ()),               # units may differ
    ("16:9",                Ratio(Fraction(16), Fraction(9)), ()),
    ("2.5:1,smart",         Ratio(Fraction(5, 2), Fraction(1)), ("smart",)),
    ("4.000000:3.000000",   Ratio(Fraction(4), Fraction(3)), ()),
    ("640,480, x10,safe",   Dimensions(px(640), px(480)), ("x10", "safe")),
]
SHAPES_REFUSED = [
    ("640", "a width and a height, or a ratio"),
    ("640,", "a length"), ("0,10", "above 0"), ("safe,smart", "a length"),
    ("16:0", "a ratio of numbers above 0"), ("0:9", "a ratio"), (":", "a ratio"), ("1:2:3", "a ratio"),
    ("-1:2", "a ratio"), ("16:", "a ratio"),
]
# fmt: on


@pytest.mark.parametrize(("text", "shape", "rest"), SHAPES)
def test_a_shape_is(text: str, shape: Shape, rest: tuple[str, ...]) -> None:
    assert grammar.read_shape("crop", text) == (shape, rest)


@pytest.mark.parametrize(("text", "words"), SHAPES_REFUSED)
def test_a_shape_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        grammar.read_shape("crop", text)


VALUED, FLAGS = ("x", "y", "offset-x", "offset-y"), ("safe", "smart")

# fmt: off
OPTIONS = [
    (("x10", "y20", "safe"), {"x": "10", "y": "20", "safe": ""}),
    (("offset-x0.25",),      {"offset-x": "0.25"}),        # not x with something before it
    (("x100", "x100"),       {"x": "100"}),                # K2: the same twice counts once
    (("x10", "x10.0"),       {"x": "10"}),
    (("y25p", "y25.p"),      {"y": "25p"}),
    ((),                     {}),
]
OPTIONS_REFUSED = [
    (("x10", "x20"),  "crop: expected x once, got 'x20' | fix: write x10 or x20"),
    (("x10", "x10p"),  "expected x once, got 'x10p'"),
    (("x", "x10"),    "expected x once, got 'x10'"),
    (("center",),     "expected one of x…, y…, offset-x…, offset-y…, safe, smart, got 'center'"),
    (("safe1",),      "got 'safe1'"),
    (("",),           "got ''"),
]
# fmt: on


@pytest.mark.parametrize(("words", "found"), OPTIONS)
def test_options_are(words: tuple[str, ...], found: dict[str, str]) -> None:
    assert grammar.read_options("crop", words, valued=VALUED, flags=FLAGS) == found


@pytest.mark.parametrize(("words", "message"), OPTIONS_REFUSED)
def test_options_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadValue) as refused:
        grammar.read_options("crop", words, valued=VALUED, flags=FLAGS)
    assert message in str(refused.value)


# fmt: off
PLACEMENTS: list[tuple[dict[str, str], Placement]] = [
    ({},                     CENTERED),
    ({"y": "20"},            CENTERED),                     # the other axis
    ({"x": "10"},            Offset(px(10))),
    ({"x": "75p"},           Offset(part("0.75"))),
    ({"offset-x": "10"},     Align(Fraction(1, 10))),
    ({"offset-x": "0.25"},   Align(Fraction(1, 4))),       # K1: below 1 it is a fraction
    ({"offset-x": "0.5p"},   Align(Fraction(1, 200))),     # K1: half a percent
    ({"offset-x": "10.5"},   Align(Fraction(21, 200))),
    ({"offset-x": "0"},      Align(Fraction(0))),
    ({"offset-x": "1"},      Align(Fraction(1, 100))),     # from 1 up it is a percentage
    ({"offset-x": "100"},    Align(Fraction(1))),
]
PLACEMENTS_REFUSED = [
    ({"x": "1", "offset-x": "2"}, "x or offset-x, not both"),
    ({"x": "-1"},                 "a length"),
    ({"offset-x": "101"},         "an offset from 0 to 100 percent"),
    ({"offset-x": "-1"},          "an offset from 0 to 100 percent"),
    ({"offset-x": ""},            "an offset"),
]
# fmt: on


@pytest.mark.parametrize(("found", "placement"), PLACEMENTS)
def test_a_placement_is(found: dict[str, str], placement: Placement) -> None:
    assert grammar.placement("crop", found, at="x", offset="offset-x") == placement


@pytest.mark.parametrize(("found", "words"), PLACEMENTS_REFUSED)
def test_a_placement_is_refused(found: dict[str, str], words: str) -> None:
    with pytest.raises(BadValue, match=words):
        grammar.placement("crop", found, at="x", offset="offset-x")


# ------------------------------------------------------------------------------------------------ colors and words

# fmt: off
COLORS = [
    ("f80",             Color(255, 136, 0)),
    ("FF8800",          Color(255, 136, 0)),
    ("255,136,0",       Color(255, 136, 0)),
    ("0,255,0,0.5",     Color(0, 255, 0, 128)),           # 127.5 goes up
    ("0,0,0,0",         Color(0, 0, 0, 0)),
    ("0, 0, 0, 1.0",    Color(0, 0, 0)),
]
COLORS_REFUSED = [
    ("#fff", "3 or 6 hex digits"), ("ff", "3 or 6 hex digits"), ("fffff", "hex"), ("ffff", "hex"), ("ggg", "hex"),
    ("256,0,0", "a whole number from 0 to 255"), ("1,2", "three parts"), ("1,2,3,4,5", "three parts"),
    ("1,2,3,1.5", "a number from 0 to 1"), ("-1,2,3", "0 to 255"), ("1.5,2,3", "0 to 255"), ("red", "hex"),
    ("\uff11\uff11\uff11", "hex"),
]
# fmt: on


@pytest.mark.parametrize(("text", "color"), COLORS)
def test_a_color_is(text: str, color: Color) -> None:
    assert grammar.read_color("bg-color", text) == color


@pytest.mark.parametrize(("text", "words"), COLORS_REFUSED)
def test_a_color_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        grammar.read_color("bg-color", text)


def test_hex_parts_keep_their_order_and_double_short_forms() -> None:
    assert grammar.parse_hex("f00f") == (255, 0, 0, 255)
    assert grammar.parse_hex("6600ff00") == (0x66, 0, 255, 0)
    assert grammar.parse_hex("12345") is None


def test_an_unknown_word_suggests_the_nearest_one() -> None:
    assert grammar.read_word("fit", "crop", {"crop": 1, "cover": 2}) == 1
    with pytest.raises(UnknownWord, match="fit: expected one of crop, cover, got 'corp'") as refused:
        grammar.read_word("fit", "corp", {"crop": 1, "cover": 2})
    assert refused.value.fix == "write crop"


def test_a_list_of_words_reports_unknown_words() -> None:
    assert grammar.read_words("auto", ",webp,x,,avif, ,webp", {"avif": 1, "webp": 2}) == WordList((2, 1), ("x",))


# ------------------------------------------------------------------------------------------------ laws

READERS = [
    lambda text: grammar.read_number("p", text, -10, 10),
    lambda text: grammar.read_integer("p", text, 0, 10),
    lambda text: grammar.read_extent("p", text, 100),
    lambda text: grammar.read_ratio("p", text),
    lambda text: grammar.read_edges("p", text),
    lambda text: grammar.read_shape("p", text),
    lambda text: grammar.read_options("p", grammar.split_items("p", text), valued=VALUED, flags=FLAGS),
    lambda text: grammar.placement("p", {"x": text}, at="x", offset="offset-x"),
    lambda text: grammar.read_offset("p", text),
    lambda text: grammar.read_color("p", text),
    lambda text: grammar.read_word("p", text, {"a": 1}),
    lambda text: grammar.read_words("p", text, {"a": 1}),
    grammar.query_values,
]

near_misses = st.text(alphabet="0123456789.,:px-+ safetmroucolng#%&=?\u0661\udc80", max_size=30)


@pytest.mark.parametrize("read", READERS)
@given(text=st.text() | near_misses)
def test_a_reader_raises_nothing_but_a_problem(read, text: str) -> None:  # type: ignore[no-untyped-def]  # one table of readers of unlike types
    try:
        read(text)
    except BadRequest as problem:
        assert problem.detail


HOSTILE = ["0" * 100_000, "1," * 50_000, "1:" * 50_000, "offset-x" * 12_500, "p" * 100_000, "." * 100_000, "f" * 99_999]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", HOSTILE, ids=[text[:8] for text in HOSTILE])
def test_hostile_text_is_read_in_no_time(read, text: str) -> None:  # type: ignore[no-untyped-def]  # as above
    started = time.process_time()
    try:
        read(text)
    except BadRequest as problem:
        assert len(problem.detail) < 400
    assert time.process_time() - started < 0.2
