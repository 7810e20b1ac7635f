"""Contentstack: which format comes out of which source for which client, and the rules for GIFs."""

from __future__ import annotations

import pytest

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.dialect import ImageRequest
from cropmark.geometry.recipe import OriginalBytes
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, Order, Output, TriState
from cropmark.plan.source import matches_any

BROWSER = "image/avif,image/webp,image/apng,*/*;q=0.8"
WEBP_ONLY = "image/webp,*/*"
OLD = "image/jpeg,image/png,*/*;q=0.5"

PNG = Info(Format.PNG, Size(400, 300), 1000, lossless=True)
CUTOUT = Info(Format.PNG, Size(400, 300), 1000, lossless=True, alpha=True)
JPEG = Info(Format.JPEG, Size(400, 300), 1000)
GIF = Info(Format.GIF, Size(400, 300), 1000, lossless=True)
ANIMATED_GIF = Info(Format.GIF, Size(400, 300), 1000, frames=4, lossless=True)
WEBP = Info(Format.WEBP, Size(400, 300), 1000)
CLEAR_WEBP = Info(Format.WEBP, Size(400, 300), 1000, alpha=True)
ANIMATED_WEBP = Info(Format.WEBP, Size(400, 300), 1000, frames=4)
AVIF = Info(Format.AVIF, Size(400, 300), 1000)


def order_of(query: str, accept: str = "", settings: ContentstackSettings | None = None) -> Order:
    return Contentstack(settings or ContentstackSettings()).order(ImageRequest("a.png", query, {"accept": accept}))


def output_of(query: str, accept: str = "", settings: ContentstackSettings | None = None) -> Output:
    plan = order_of(query, accept, settings).plan
    assert plan is not None
    return plan.output


def taken(output: Output, source: Info) -> EncodingChoice:
    """The first choice that is not skipped, without limits."""
    for choice in output.choices:
        named = choice.format or source.format
        loses = source.animated and not (output.first_frame or choice.first_frame or TRAITS[named].animated)
        kept = not (choice.keep_animation and loses)
        if TRAITS[named].writable and kept and not matches_any(choice.skipped_for, source):
            return choice
    raise AssertionError(f"no choice for {source}")


def described(choice: EncodingChoice, source: Info) -> str:
    """A choice in a few words: webpll, jpeg~ 85 (progressive as the source), gif/1 (the first frame)."""
    assert choice.format is not None
    lossless = choice.lossless is TriState.YES or (choice.lossless is TriState.AS_SOURCE and source.lossless)
    word = choice.format.value + ("ll" if lossless else "") + ("/1" if choice.first_frame else "")
    word += {TriState.YES: "+", TriState.NO: "", TriState.AS_SOURCE: "~"}[choice.progressive]
    return f"{word} {choice.quality}" if choice.quality and not lossless else word


# fmt: off
OUTPUTS = [
    # query                          Accept     source         becomes
    ("width=9",                      BROWSER,   PNG,           "png"),
    ("width=9",                      "",        JPEG,          "jpeg~ 85"),
    ("width=9",                      "",        WEBP,          "webp 85"),
    ("width=9",                      "",        AVIF,          "avif 64"),
    ("width=9&quality=30",           "",        JPEG,          "jpeg~ 30"),
    ("quality=30",                   "",        PNG,           "png"),
    ("format=jpg&quality=30",        "",        PNG,           "jpeg 30"),        # the output's type decides
    ("format=jpg",                   "",        JPEG,          "jpeg 85"),        # baseline
    ("format=jpeg",                  "",        JPEG,          "jpeg 85"),
    ("format=pjpg",                  "",        PNG,           "jpeg+ 85"),
    ("format=pjpeg",                 "",        PNG,           "jpeg+ 85"),
    ("format=png",                   "",        JPEG,          "png"),
    ("format=gif",                   "",        PNG,           "gif"),
    ("format=webp",                  "",        JPEG,          "webp 85"),
    ("format=webp",                  "",        PNG,           "webpll"),         # lossless source, no quality
    ("format=webp&quality=80",       "",        PNG,           "webp 80"),
    ("format=webply",                "",        PNG,           "webp 85"),
    ("format=webpll&quality=10",     "",        JPEG,          "webpll"),
    ("format=avif&quality=50",       "",        PNG,           "avif 50"),
    ("format=avif",                  "",        ANIMATED_WEBP, "avif 64"),        # all frames, with the extra motion
    ("format=gif",                   "",        ANIMATED_WEBP, "gif"),
    # auto
    ("auto=webp",                    WEBP_ONLY, JPEG,          "webp 85"),
    ("auto=webp",                    WEBP_ONLY, PNG,           "webpll"),
    ("auto=webp&format=pjpg",        "image/webp", JPEG,       "webp 85"),        # the page's example
    ("auto=webp&format=pjpg",        "image/png",  JPEG,       "jpeg+ 85"),
    ("auto=webp",                    "*/*,image/*", JPEG,      "jpeg~ 85"),       # a wildcard does not count as support
    ("auto=webp",                    "image/webp;q=0", JPEG,   "jpeg~ 85"),
    ("auto=avif",                    WEBP_ONLY, JPEG,          "jpeg~ 85"),       # not a «best of»
    ("auto=avif,webp",               WEBP_ONLY, JPEG,          "webp 85"),
    ("auto=webp,avif",               BROWSER,   JPEG,          "avif 64"),        # AVIF first
    ("auto=avif",                    BROWSER,   ANIMATED_WEBP, "webp 85"),
    ("format=avif&auto=webp",        WEBP_ONLY, JPEG,          "webp 85"),        # unpic's trap
    ("auto=webp&quality=85,75",      WEBP_ONLY, JPEG,          "webp 75"),
    ("auto=webp&quality=85,75",      OLD,       JPEG,          "jpeg~ 85"),
    ("auto=webp&quality=75&optimize={medium}", WEBP_ONLY, JPEG, "webp 75"),       # in the wild
    # format=auto
    ("format=auto",                  BROWSER,   JPEG,          "avif 64"),
    ("format=auto",                  WEBP_ONLY, PNG,           "webp 85"),
    ("format=auto&auto=webp",        "image/avif,image/webp", JPEG, "avif 64"),   # format=auto decides
    ("format=auto&quality=100",      WEBP_ONLY, PNG,           "webpll"),
    ("format=auto",                  OLD,       JPEG,          "jpeg~ 85"),
    ("format=auto",                  OLD,       PNG,           "png"),
    ("format=auto",                  OLD,       WEBP,          "jpeg~ 85"),
    ("format=auto",                  OLD,       CLEAR_WEBP,    "png"),
    ("format=auto",                  "image/avif", ANIMATED_WEBP, "gif"),
    # GIFs are not converted; frame is for them only
    ("auto=webp",                    WEBP_ONLY, ANIMATED_GIF,  "gif"),
    ("auto=webp",                    WEBP_ONLY, GIF,           "gif"),
    ("format=jpg",                   "",        GIF,           "gif"),
    ("format=auto",                  BROWSER,   GIF,           "gif"),
    ("frame=1",                      "",        ANIMATED_GIF,  "gif/1"),
    ("frame=1&format=webp",          "",        ANIMATED_GIF,  "gif/1"),
    ("frame=1",                      "",        ANIMATED_WEBP, "webp 85"),        # ignored for other types
    ("frame=1",                      "",        JPEG,          "jpeg~ 85"),
]
LIFTED = [
    ("auto=webp",                    WEBP_ONLY, ANIMATED_GIF,  "webpll"),
    ("format=jpg",                   "",        ANIMATED_GIF,  "jpeg 85"),
    ("frame=1",                      "",        ANIMATED_GIF,  "gif/1"),
    ("frame=1&format=webp",          "",        ANIMATED_GIF,  "webpll/1"),
    ("frame=1&format=webp",          "",        ANIMATED_WEBP, "webp 85"),
    ("width=9",                      "",        ANIMATED_GIF,  "gif"),
]
# fmt: on


@pytest.mark.parametrize(("query", "accept", "source", "becomes"), OUTPUTS)
def test_output(query: str, accept: str, source: Info, becomes: str) -> None:
    assert described(taken(output_of(query, accept), source), source) == becomes


@pytest.mark.parametrize(("query", "accept", "source", "becomes"), LIFTED)
def test_output_with_gif_conversion(query: str, accept: str, source: Info, becomes: str) -> None:
    assert described(taken(output_of(query, accept, ContentstackSettings(gif_resize=True)), source), source) == becomes


# fmt: off
GIFS_THEMSELVES = [
    # query                    GIFs may be resized, the file's own bytes
    ("width=50",               False, True),
    ("width=50&height=9&dpr=2&fit=crop", False, True),
    ("auto=webp",              False, True),
    ("format=png",             False, True),
    ("format=auto",            False, True),
    ("quality=50",             False, True),
    ("trim=0",                 False, True),
    ("pad=0",                  False, True),
    ("crop=1:1",               False, False),
    ("brightness=5",           False, False),
    ("frame=1",                False, False),
    ("width=50",               True,  False),
    ("width=400",              True,  False),
]
# fmt: on


@pytest.mark.parametrize(("query", "lifted", "itself"), GIFS_THEMSELVES)
def test_a_gif_is_sent_unchanged_if_no_parameter_applies_to_it(query: str, lifted: bool, itself: bool) -> None:
    plan = order_of(query, BROWSER, ContentstackSettings(gif_resize=lifted)).plan
    assert plan is not None
    found = resolve(plan, [ANIMATED_GIF])
    assert isinstance(found, OriginalBytes) is itself


# fmt: off
NEGOTIATED = [
    ("auto=webp", True), ("auto=avif&format=jpg", True), ("format=auto", True), ("format=webp", False),
    ("width=9", False),
]
SETTLED = [
    # GIFs may be converted  source        Accept changes nothing
    (False,                  GIF,          True),
    (False,                  ANIMATED_GIF, True),
    (False,                  PNG,          False),
    (True,                   GIF,          False),
]
AS_IT_IS = [
    # quality alone: the original is sent if the result is larger
    ("quality=100", True), ("quality=100&environment=production", True), ("quality=80&resize-filter=nearest", True),
    ("quality=100&width=9", False), ("quality=100&format=jpg", False), ("frame=1", False), ("crop=1:1", False),
]
# fmt: on


@pytest.mark.parametrize(("query", "negotiated"), NEGOTIATED)
@pytest.mark.parametrize("accept", [BROWSER, OLD])
def test_vary_is_sent_whenever_accept_could_matter(query: str, negotiated: bool, accept: str) -> None:
    assert order_of(query, accept).delivery.negotiated is negotiated


@pytest.mark.parametrize(("lifted", "source", "settled"), SETTLED)
def test_vary_is_not_sent_for_sources_that_are_not_converted(lifted: bool, source: Info, settled: bool) -> None:
    order = order_of("auto=webp", settings=ContentstackSettings(gif_resize=lifted))
    assert matches_any(order.delivery.not_negotiated_for, source) is settled


@pytest.mark.parametrize(("query", "original"), AS_IT_IS)
def test_when_the_original_is_sent(query: str, original: bool) -> None:
    assert output_of(query).larger_is_original is original


def test_avif_past_its_area_is_refused_by_name_only() -> None:
    assert taken(output_of("format=avif"), JPEG).refuse_over_limit
    for query in ("auto=avif", "format=auto"):
        assert not taken(output_of(query, BROWSER), JPEG).refuse_over_limit
