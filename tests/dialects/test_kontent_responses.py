"""Kontent.ai: the format of the output, limits, headers, error responses, and the reference.

The tables follow https://kontent.ai/learn/docs/apis/image-transformation-api.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, urlencode

import pytest

from cropmark.dialects.dialect import Dialect, ImageRequest, Result
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.kontent.settings import KontentSettings
from cropmark.model.formats import Format, Info
from cropmark.model.problems import MethodNotAllowed, Overloaded, Problem, SourceFailed, SourceNotFound, SourceTimeout
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, Fallback, Order, OverLimit, Plan, RequestWarning, TriState
from cropmark.plan.source import SitePath, SourceFilter, SourceRequest

CHROME = "image/avif,image/webp,image/apng,*/*;q=0.8"
OLD_BROWSER = "image/png,image/*;q=0.8,*/*;q=0.5"


def order(query: str, accept: str = "") -> Order:
    return Kontent().order(ImageRequest("flower.jpg", query, {"accept": accept}))


def plan(query: str, accept: str = "") -> Plan:
    found = order(query, accept).plan
    assert found is not None, f"{query} orders the original"
    return found


# ---------------------------------------------------------------------------------------------- encodings


def made(query: str, source: Info, accept: str = "") -> EncodingChoice:
    """The first choice of the plan that is not skipped for the source."""
    choices = plan(query, accept).output.choices
    return next(c for c in choices if not any(kind.matches(source) for kind in c.skipped_for))


def source_info(kind: Format, frames: int = 1) -> Info:
    return Info(kind, Size(40, 30), 1000, frames=frames)


JPEG, PNG, WEBP, GIF = (source_info(kind) for kind in (Format.JPEG, Format.PNG, Format.WEBP, Format.GIF))
MOVING_GIF, MOVING_WEBP = source_info(Format.GIF, 4), source_info(Format.WEBP, 4)

# fmt: off
ENCODINGS = [
    # query                    source       Accept        becomes
    ("w=9",                    JPEG,        CHROME,       EncodingChoice()),
    ("w=9",                    MOVING_GIF,  CHROME,       EncodingChoice()),
    ("fm=jpg",                 PNG,         "",           EncodingChoice(Format.JPEG)),
    ("fm=JPEG",                PNG,         "",           EncodingChoice(Format.JPEG)),              # unpic's spelling
    ("fm=pjpg",                PNG,         "",           EncodingChoice(Format.JPEG, progressive=TriState.YES)),
    ("fm=png",                 JPEG,        "",           EncodingChoice(Format.PNG)),
    ("fm=png8",                JPEG,        "",           EncodingChoice(Format.PNG, palette=True)),
    ("fm=gif",                 MOVING_GIF,  "",           EncodingChoice(Format.GIF)),
    ("fm=gif",                 MOVING_WEBP, "",           EncodingChoice(Format.GIF, first_frame=True)),
    ("fm=webp",                JPEG,        "",           EncodingChoice(Format.WEBP)),
    ("fm=webp",                GIF,         CHROME,       EncodingChoice()),   # a GIF never becomes WebP
    ("fm=webp",                MOVING_GIF,  "",           EncodingChoice()),
    ("fm=avif&w=9",            JPEG,        CHROME,       EncodingChoice()),   # no AVIF in this dialect
    ("fm=png&auto=format",     JPEG,        CHROME,       EncodingChoice(Format.WEBP)),              # beats fm
    ("fm=png&auto=format",     JPEG,        OLD_BROWSER,  EncodingChoice(Format.PNG)),
    ("fm=png&auto=format",     GIF,         CHROME,       EncodingChoice(Format.PNG)),
    ("auto=format&w=9",        JPEG,        OLD_BROWSER,  EncodingChoice()),
    ("auto=format&w=9",        JPEG,        "image/webp;q=0, */*", EncodingChoice()),
    ("auto=compress,Format",   JPEG,        CHROME,       EncodingChoice(Format.WEBP)),
    ("auto=format",            MOVING_GIF,  CHROME,       EncodingChoice()),
    ("auto=webp&w=9",          JPEG,        CHROME,       EncodingChoice()),
]
# fmt: on


@pytest.mark.parametrize(("query", "source", "accept", "choice"), ENCODINGS)
def test_the_type_of_the_response(query: str, source: Info, accept: str, choice: EncodingChoice) -> None:
    found = made(query, source, accept)
    assert (found.format, found.progressive, found.palette, found.first_frame) == (
        choice.format,
        choice.progressive,
        choice.palette,
        choice.first_frame,
    )


# fmt: off
QUALITIES = [
    # query               quality  lossless
    ("fm=webp",           None,    TriState.AS_SOURCE),   # the default, 85, is the encoders'
    ("fm=webp&q=40",      40,      TriState.AS_SOURCE),
    ("q=20",              20,      TriState.AS_SOURCE),
    ("q=0",               1,       TriState.AS_SOURCE),   # libvips has no quality 0
    ("q=79.5",            80,      TriState.AS_SOURCE),
    ("q=-7",              1,       TriState.AS_SOURCE),
    ("q=1000",            100,     TriState.AS_SOURCE),
    ("q=high&w=9",        None,    TriState.AS_SOURCE),
    ("lossless=1&q=10",   10,      TriState.YES),
    ("lossless=TRUE",     None,    TriState.YES),
    ("lossless=0&q=40",   40,      TriState.NO),
    ("lossless=false",    None,    TriState.NO),
    ("lossless=2&w=9",    None,    TriState.AS_SOURCE),
]
# fmt: on


@pytest.mark.parametrize(("query", "quality", "lossless"), QUALITIES)
def test_quality_and_lossless(query: str, quality: int | None, lossless: TriState) -> None:
    found = made(query, JPEG)
    assert (found.quality, found.lossless) == (quality, lossless)


def test_the_source_type_is_the_last_resort() -> None:
    assert [c.format for c in plan("fm=png&auto=format", CHROME).output.choices] == [Format.WEBP, Format.PNG, None]


# ---------------------------------------------------------------------------------------------- all plans alike


def test_a_source_that_cannot_be_transformed_is_sent_unchanged() -> None:
    found = plan("w=100")
    assert found.reads == {Format.JPEG, Format.PNG, Format.GIF, Format.WEBP}
    assert (found.on_unsupported, found.on_unusable) == (Fallback.ORIGINAL, Fallback.ORIGINAL)
    assert found.output.same_is_original == (SourceFilter(),)


def test_limits_are_those_of_the_page() -> None:
    limits = plan("w=100").limits
    assert limits.source_bytes == 52_428_799  # under 50 MB
    assert limits.source_side == 12_000
    assert (limits.side, limits.over_limit) == (8192, OverLimit.SHRINK)


def test_only_auto_format_is_negotiated() -> None:
    queries = ("auto=format&w=9", "auto=format&rect=0,0,1,1&fit=crop", "auto=webp&w=9", "fm=webp", "")
    assert [order(q, CHROME).delivery.negotiated for q in queries] == [True, True, False, False, False]


def test_a_url_is_versioned_unless_the_site_says_otherwise() -> None:
    request = ImageRequest("flower.jpg", "w=9")
    assert Kontent().order(request).delivery.versioned
    assert not Kontent(KontentSettings(versioned=False)).order(request).delivery.versioned


def test_the_source_is_at_the_path() -> None:
    assert order("w=9").sources == (SourceRequest(SitePath("flower.jpg")),)


def test_it_is_a_dialect() -> None:
    dialect: Dialect = Kontent()
    assert (dialect.name, dialect.request_headers) == ("kontent", ())


# ---------------------------------------------------------------------------------------------- answers

JSON_PROBLEMS = [
    (SourceNotFound("no such image"), 404),
    (SourceFailed("the origin answered 500"), 502),
    (SourceTimeout("the origin did not answer"), 504),
    (Overloaded("too much to do", retry_after_s=2), 503),
    (MethodNotAllowed("expected GET"), 405),
]


@pytest.mark.parametrize(("problem", "status"), JSON_PROBLEMS)
def test_a_problem_as_json(problem: Problem, status: int) -> None:
    answer = Kontent().error_response(problem, ImageRequest("a.jpg"))
    assert (answer.status, answer.media_type) == (status, "application/json")
    assert problem.detail in json.loads(answer.body)["message"]
    headers = dict(answer.headers)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "no-store"
    assert headers.get("Allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)
    assert headers.get("Retry-After") == ("2" if status == 503 else None)


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "get", ""])
def test_other_methods_are_not_allowed(method: str) -> None:
    with pytest.raises(MethodNotAllowed, match="expected GET or HEAD"):
        Kontent().order(ImageRequest("a.jpg", "w=9", method=method))


def test_image_headers_have_warnings_and_allow_every_cors_origin() -> None:
    warnings = (
        RequestWarning("w", "ignored\r\nSet-Cookie: a=b"),
        RequestWarning("q", "300 counts as 100"),
        RequestWarning("fm", "é"),
    )
    headers = Kontent().image_headers(order("w=9"), Result(9, Format.JPEG, Size(3, 3), None, warnings))
    assert headers == (
        ("Access-Control-Allow-Origin", "*"),
        ("X-Cropmark-Warning", "w: ignored Set-Cookie: a=b"),
        ("X-Cropmark-Warning", "q: 300 counts as 100"),
        ("X-Cropmark-Warning", "fm: ?"),
    )


def test_warnings_are_bounded() -> None:
    warnings = tuple(RequestWarning("w", f"{n}" + "x" * 5000) for n in range(50))
    report = Kontent().image_headers(order(""), Result(9, None, None, None, warnings))[1:]
    assert len(report) == 8
    assert all(len(value) == 200 for _, value in report)


# ---------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("param", Kontent.params, ids=lambda p: p.name)
def test_every_example_of_the_reference_does_what_it_says(param: object) -> None:
    row = next(p for p in Kontent.params if p is param)
    values = dict(parse_qsl(row.example))
    assert row.name in values
    assert re.fullmatch(row.pattern, values[row.name])
    assert order(row.example, CHROME).plan is not None
    assert order(row.example, CHROME).warnings == ()


# fmt: off
PATTERNS = [
    # parameter  holds                                          holds not
    ("w",        ["300", "0.5", ".5", "+3"],                    ["-3", "3.", "1e2", "", "wide"]),
    ("rect",     ["1,1,0.7,0.7", "0,0,5,5"],                    ["1,2,3", "1,2,3,4,5", "-1,2,3,4"]),
    ("fit",      ["clip", "Scale", "CROP"],                     ["fill"]),
    ("crop",     ["focalpoint", "Smart"],                       ["edges"]),
    ("bg",       ["C0D", "f00f", "00ff00", "6600ff00", "#fff"], ["red", "12345", "1234567"]),
    ("fm",       ["png", "PNG8", "jpg", "pjpg", "jpeg", "webp", "gif"], ["avif", "auto", "pjpeg"]),
    ("lossless", ["1", "true", "0", "False"],                   ["yes"]),
    ("auto",     ["format", "compress,format", "Format"],       ["webp", "formats"]),
]
# fmt: on


@pytest.mark.parametrize(("name", "good", "bad"), PATTERNS)
def test_a_pattern_holds_what_the_reader_takes(name: str, good: list[str], bad: list[str]) -> None:
    pattern = next(p.pattern for p in Kontent.params if p.name == name)
    assert [bool(re.search(pattern, text)) for text in (*good, *bad)] == [True] * len(good) + [False] * len(bad)
    assert [any(w.parameter == name and "ignored" in w.text for w in order(urlencode({name: t})).warnings)
            for t in (*good, *bad) if t] == [False] * len(good) + [True] * len([t for t in bad if t])  # fmt: skip
