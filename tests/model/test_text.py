"""Valid text: no NUL and no lone surrogate, in any part of JSON either."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.text import clean_text, is_valid_text, parse_json

# fmt: off
TEXTS = [
    # text               cleaned
    ("",                 ""),
    ("a b\n",            "a b\n"),
    ("\U0001f600 ä",     "\U0001f600 ä"),
    ("\ufffd",           "\ufffd"),
    ("a\0b",             "a\ufffdb"),
    ("\udcff",           "\ufffd"),           # a byte that is not UTF-8, by os.fsdecode()
    ("\ud83d\ude00",     "\ufffd\ufffd"),     # Python does not join two halves
]
INVALID_JSON = [
    rb'"\ud800"', rb'"a\udc00"', rb'"\u0000"', rb'["a", {"b": ["\u0000"]}]',
    rb'{"a": {"\udfff": 1}}', rb'{"\u0000": 1}',
    b'"\xed\xa0\x80"',                        # json.loads() decodes a surrogate that is encoded in UTF-8
    '["\\ud800"]'.encode("utf-16"),           # it also detects UTF-16
    b"nonsense", b'"\xff"', b"",
]
# fmt: on


@pytest.mark.parametrize(("text", "cleaned"), TEXTS)
def test_cleaned_text(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned
    assert is_valid_text(text) is (text == cleaned)


@given(st.text(st.characters(codec=None)))
def test_cleaned_text_can_be_encoded(text: str) -> None:
    assert "\0" not in clean_text(text)
    assert clean_text(text).encode("utf-8").decode("utf-8") == clean_text(clean_text(text))


@pytest.mark.parametrize("body", INVALID_JSON)
def test_invalid_json(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(body)


def test_valid_json() -> None:
    parsed = {"a": ["ä", 1, None, True, {"b": "\U0001f600"}]}
    assert parse_json(json.dumps(parsed)) == parsed  # a pair of escapes is one character
    assert parse_json("1.5", parse_float=str) == "1.5"
