"""Suggestions: the known word that a misspelt one is probably meant to be."""

from __future__ import annotations

import time

import pytest

from cropmark.dialects.suggestions import nearest

KNOWN = ("width", "height", "dpr", "fit", "fp-x", "bg-color", "bw", "frame", "resize-filter", "trim")

# fmt: off
WORDS = [
    ("wdith",            "width"),
    ("Width",            "width"),
    ("hieght",           "height"),
    ("heigth",           "height"),
    ("widht",            "width"),
    ("dor",              None),               # one letter of three is another one
    ("drp",              "dpr"),              # all letters, in another order
    ("fti",              "fit"),
    ("fpx",              "fp-x"),
    ("bg_color",         "bg-color"),
    ("bgcolor",          "bg-color"),
    ("resizefilter",     "resize-filter"),
    ("w",                None),
    ("v",                None),
    ("name",             None),
    ("utm_source",       None),
    ("",                 None),
]
# fmt: on


@pytest.mark.parametrize(("word", "meant"), WORDS)
def test_nearest(word: str, meant: str | None) -> None:
    assert nearest(word, KNOWN) == meant


def test_a_long_text_takes_no_long_time() -> None:
    started_s = time.process_time()
    assert nearest("width" * 6000, KNOWN) is None
    assert time.process_time() - started_s < 0.1
