"""Hints: unknown names in a request that look like a parameter of the dialect."""

from __future__ import annotations

import pytest

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, OVERLAY_HEADER
from cropmark.dialects.hints import MAX_NAMES, hints

# fmt: off
QUERIES = [
    # dialect         query                            misspelt         meant
    ("fastly",        "wdith=300",                     "wdith",         "width"),
    ("fastly",        "width=300&amp;height=200",      "amp;height",    "height"),
    ("fastly",        "width=300&amp;hieght=200",      "amp;hieght",    "height"),
    ("fastly",        "overlay-algin=top",             "overlay-algin", "overlay-align"),
    ("fastly",        "??Width=300",                   "Width",         "width"),
    ("contentstack",  "environment=live?wdith=300",    "wdith",         "width"),
    ("contentstack",  "enviroment=live",               "enviroment",    "environment"),
    ("contentstack",  "width=3&amp;disable=upscale",   "amp;disable",   "disable"),
    ("kontent",       "w=300&fpx=0.5",                 "fpx",           "fp-x"),
    ("kontent",       "w=300&amp;h=200",               "amp;h",         "h"),
    ("kontent",       "losless=1",                     "losless",       "lossless"),
    ("pixlab",        "img=https://a/b&wdith=3",       "wdith",         "width"),
]
NONE = [
    ("fastly",        ""),
    ("fastly",        "width=300&height=200"),
    ("fastly",        "v=3&utm_source=mail&ixlib=js&s=1&store=en&type=a&_=1"),
    ("fastly",        "width=300&amp;v=3"),
    ("contentstack",  "environment=live&branch=main&v=3"),
    ("kontent",       "w=300&v=3"),
]
# fmt: on


@pytest.mark.parametrize(("dialect", "query", "name", "meant"), QUERIES)
def test_a_misspelt_parameter(dialect: str, query: str, name: str, meant: str) -> None:
    (hint,) = hints(dialect, ImageRequest("a.jpg", query))
    assert hint.parameter == name
    assert f"did you mean {meant}?" in hint.text
    assert ("in place of &amp;" in hint.text) is name.startswith("amp;")


@pytest.mark.parametrize(("dialect", "query"), NONE)
def test_other_names_give_none(dialect: str, query: str) -> None:
    assert hints(dialect, ImageRequest("a.jpg", query)) == ()


@pytest.mark.parametrize("header", [OVERLAY_HEADER, MONTAGE_HEADER])
def test_headers_that_hold_a_query_count(header: str) -> None:
    (hint,) = hints("fastly", ImageRequest("a.jpg", "", {header: "layout=2a&paddding=3"}))
    assert "did you mean padding?" in hint.text


def test_fields_of_a_body_count() -> None:
    (hint,) = hints("pixlab", ImageRequest("crop", "", fields={"heigth": "3"}))
    assert "did you mean height?" in hint.text


def test_few_names_are_compared() -> None:
    query = "&".join(f"x{number}=1" for number in range(MAX_NAMES))
    assert hints("fastly", ImageRequest("a.jpg", f"{query}&wdith=3")) == ()
    assert len(hints("fastly", ImageRequest("a.jpg", f"wdith=3&{query}"))) == 1


def test_a_query_that_is_too_long_gives_none() -> None:
    assert hints("kontent", ImageRequest("a.jpg", "wdith=1&" * 300)) == ()
