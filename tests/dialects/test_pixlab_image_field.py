"""The field `img`, and base64 decoded in pieces. The rules: https://pixlab.io/endpoints/crop."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.pixlab.image_field import Base64Text, decode_base64, read_image
from cropmark.model.problems import BadRequest, SourceForbidden
from cropmark.plan.source import WebUrl

# fmt: off
INPUTS = [
    # img                                        is
    ("https://host.example/a.jpg",               WebUrl("https://host.example/a.jpg")),
    ("http://host.example/?u=ftp://x",           WebUrl("http://host.example/?u=ftp://x")),
    ("HTTPS://host.example/a.jpg",               WebUrl("HTTPS://host.example/a.jpg")),
    ("  https://host.example/a.jpg \n",          WebUrl("https://host.example/a.jpg")),
    ("iVBORw0KGgo",                              Base64Text("iVBORw0KGgo")),
    (" /9j/4AAQ",                                Base64Text("/9j/4AAQ")),
    ("data:image/png;base64,iVBOR",              Base64Text("iVBOR")),
    ("data:;base64,iVBOR",                       Base64Text("iVBOR")),
    ("DATA:image/svg+xml;charset=utf-8;BASE64,PHN2Zw", Base64Text("PHN2Zw")),   # judged by the bytes, later
    ("data:image/png;base64,",                   Base64Text("")),                # the text may follow in pieces
    ("data:image/png;base64,http://",            Base64Text("http://")),
]
# fmt: on


@pytest.mark.parametrize(("text", "found"), INPUTS)
def test_img_becomes_a_source(text: str, found: WebUrl | Base64Text) -> None:
    assert read_image(text) == found


@pytest.mark.parametrize(
    "text", ["file:///etc/hostname", "ftp://h/a", "gopher://h", "://h", "x http://h", "javascript://"]
)
def test_only_http_is_fetched(text: str) -> None:
    with pytest.raises(SourceForbidden, match="http or https"):
        read_image(text)


@pytest.mark.parametrize(
    "text", ["data:", "data:image/png,a", "data:image/png;base64", "data:" + "x" * 300 + ";base64,YQ"]
)
def test_a_data_uri_is_base64(text: str) -> None:
    with pytest.raises(BadRequest, match="img: expected a data URI in base64"):
        read_image(text)


def test_a_text_is_never_shown() -> None:
    assert "iVBOR" not in repr(read_image("iVBORw0KGgo"))


# fmt: off
DECODED = [
    # text             bytes
    ("YWJj",           b"abc"),
    ("YWI=",           b"ab"),
    ("YQ==",           b"a"),
    ("YWI",            b"ab"),            # padding is optional
    ("YQ=",            b"a"),
    ("++//",           b"\xfb\xef\xff"),
    ("--__",           b"\xfb\xef\xff"),  # the URL-safe alphabet
    ("+-/_",           b"\xfb\xef\xff"),
    ("Y\nW\r\nJ\tj",   b"abc"),           # white space is dropped
    ("YW /",           b"ao\xbf"),        # a blank counts as +
    ("  YWJj",         b"abc"),           # but not before the text
    ("YWJj  \n",       b"abc"),           # nor behind its last group
    ("YWI= ",          b"ab"),
    ("YW/ ",           b"ao\xfe"),        # while it fills that
]
REFUSED = [
    # text             words
    ("",               "expected base64"),
    (" \n ",           "expected base64"),
    ("YWJjZ",          "complete base64"),
    ("Y",              "complete base64"),
    ("YWJj=",          "complete base64"),
    ("YQ===",          "complete base64"),
    ("=",              "complete base64"),
    ("YQ==YQ==",       "nothing after the padding"),
    ("YQ= =",          "nothing after the padding"),
    ("YWJ!",           "only base64"),
    ("YWJé",           "only base64"),
    ("YWJ\udcff",      "only base64"),
    ("photo.png",      "only base64"),
    ("YW%2B",          "only base64"),
]
# fmt: on


@pytest.mark.parametrize(("text", "data"), DECODED)
def test_base64_is_decoded_however_it_is_cut(text: str, data: bytes) -> None:
    assert b"".join(decode_base64([text])) == data
    assert b"".join(decode_base64(list(text))) == data
    assert b"".join(decode_base64([text.encode()])) == data


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_everything_else_is_refused_however_it_is_cut(text: str, words: str) -> None:
    for chunks in ([text], list(text)):
        with pytest.raises(BadRequest, match=f"img: expected.*{words}|img: {words}"):
            b"".join(decode_base64(chunks))


def test_pieces_come_as_they_are_decoded() -> None:
    pieces = decode_base64(iter(["YWJjZ", "GVm", "!"]))
    assert next(pieces) == b"abc"
    assert next(pieces) == b"def"
    with pytest.raises(BadRequest):
        next(pieces)


@given(
    data=st.binary(min_size=1, max_size=200),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    safe=st.booleans(),
    padded=st.booleans(),
)
def test_encode_then_decode(data: bytes, cuts: list[int], safe: bool, padded: bool) -> None:
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(data).decode()
    text = text if padded else text.rstrip("=")
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    assert b"".join(decode_base64(text[a:b] for a, b in pairwise(edges))) == data


@given(chunks=st.lists(st.one_of(st.text(max_size=9), st.text("AZ+/-_= \n", max_size=9)), max_size=6))
def test_no_text_does_anything_else_than_decode_or_be_refused(chunks: list[str]) -> None:
    def outcome(pieces: list[str]) -> bytes | None:
        try:
            return b"".join(decode_base64(pieces))
        except BadRequest:
            return None

    assert outcome(chunks) == outcome(["".join(chunks)])
