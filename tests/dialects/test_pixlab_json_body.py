"""A JSON body read in pieces gives what json.loads gives, however it is cut."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cropmark.dialects.pixlab.json_body import MAX_DEPTH, MAX_OTHERS_BYTES, MAX_TOKENS, JsonBody, fields_of_json
from cropmark.model.problems import BadRequest
from tests.hostile.slowness import slowness


def read(pieces: list[bytes]) -> tuple[bytes, dict[str, str]]:
    body = JsonBody()
    image = b"".join(body.feed(piece) for piece in pieces)
    return image, body.fields()


def each_byte(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


# fmt: off
BODIES = [
    # body                                              img         the other fields
    (rb'{"img": "YWJj", "x": 1}',                       b"YWJj",    {"x": "1"}),
    (rb'{"x": 1, "img" : "YWJj" }',                     b"YWJj",    {"x": "1"}),
    (rb'{"img": "a\/b\/c"}',                            b"a/b/c",   {}),                       # as PHP escapes
    (rb'{"img": "a\u002Bb\u002f"}',                     b"a+b/",    {}),                       # as .NET does
    (rb'{"img": "a\"b\\\\"}',                           rb'a"b\\',  {}),
    (rb'{"img": "", "x": "2"}',                         b"",        {"x": "2"}),
    (rb'{"img": null, "blob": true}',                   b"",        {"blob": "true"}),
    (rb'{"img": 5}',                                    b"",        {"img": "5"}),
    (rb'{"note": "\"img\": \"no\"", "x": 3}',           b"",        {"note": '"img": "no"', "x": "3"}),
    (rb'{"deep": {"img": "no"}, "img": "yes"}',         b"yes",     {}),
    (rb'{"key": "img", "x": "img"}',                    b"",        {"key": "img", "x": "img"}),
]
NO_JSON = [b"", b"[]", b'["img", "a"]', b'{"img": "a', b'{"img": "a"', b'{"img": "a"}}', rb'{"img": "\q"}',
           rb'{"img": "\uZZZZ00"}', b'{"img": "a" "b"}', b'{"img": "a",}', b"{img: 3}", b'{"x": nul}']
# fmt: on


@pytest.mark.parametrize(("body", "image", "others"), BODIES)
def test_a_body_in_pieces(body: bytes, image: bytes, others: dict[str, str]) -> None:
    assert read([body]) == (image, others)
    assert read(each_byte(body)) == (image, others)


@pytest.mark.parametrize("body", NO_JSON)
def test_json_that_is_not_an_object_is_refused(body: bytes) -> None:
    for pieces in ([body], each_byte(body)):
        with pytest.raises(BadRequest, match=r"expected a (?:body in JSON|JSON object)"):
            read(pieces)


def test_only_img_may_be_long() -> None:
    long = b"x" * (MAX_OTHERS_BYTES + 1)
    assert read([b'{"img": "', long, b'", "x": 1}']) == (long, {"x": "1"})
    with pytest.raises(BadRequest, match="without img"):
        read([b'{"key": "', long, b'"}'])
    with pytest.raises(BadRequest, match="without img"):
        read([b'{"img": "a"', *[b" " * 60_000] * 20])


def test_64_kb_besides_img_are_enough_for_every_field() -> None:
    assert MAX_OTHERS_BYTES == 64 * 1024
    fields = {f"field{n}": "x" * 60 for n in range(256)}
    assert read([json.dumps(fields, indent=1).encode()]) == (b"", fields)


# fmt: off
DENSE = [
    b'{"a": [' + b"1," * MAX_TOKENS + b"1]}",                                    # a long list
    b"{" + b",".join(b'"%d":1' % n for n in range(MAX_TOKENS // 4 + 1)) + b"}",  # many fields
    b'{"a": ' + b"[" * MAX_DEPTH,                                                # not complete
    b'{"a": ' + b'{"a":' * MAX_DEPTH + b"1" + b"}" * (MAX_DEPTH + 1),
    b'{"img": "YQ==", "a": ' + b"[" * 60_000,                                    # after the image
]
# fmt: on


@pytest.mark.parametrize("body", DENSE, ids=range(len(DENSE)))
def test_tokens_and_depth_are_bounded_while_the_body_is_read(body: bytes) -> None:
    for pieces in ([body], each_byte(body)):
        reader = JsonBody()
        with pytest.raises(BadRequest, match="levels deep"):
            for piece in pieces:
                reader.feed(piece)


def test_objects_and_lists_of_the_allowed_depth_are_read() -> None:
    inner = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert read([b'{"a": ' + inner + b', "x": 1}']) == (b"", {"x": "1"})


def test_a_large_image_takes_linear_time() -> None:
    piece = b"abcdefgh\\/" * 10_000
    slow = slowness(time.process_time)
    started = time.process_time()
    image, _ = read([b'{"img": "', *[piece] * 200, b'"}'])
    assert len(image) == 9 * 10_000 * 200
    assert time.process_time() - started < 5 * slow


TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=12)
"""Valid text: a body with NUL is rejected (tests/model/test_text.py)."""
MEMBERS = st.dictionaries(st.sampled_from(["x", "key", "note", 'a"b']), st.one_of(TEXT, st.integers(), st.booleans()))


@given(
    members=MEMBERS,
    image=TEXT,
    first=st.booleans(),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
@example({"x": 1}, "\\", True, True, None, [9, 10, 11])
def test_it_is_what_json_loads_reads(
    members: dict[str, object], image: str, first: bool, ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    whole = {"img": image, **members} if first else {**members, "img": image}
    body = json.dumps(whole, ensure_ascii=ascii_only, indent=indent).encode()
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    found, others = read([body[a:b] for a, b in pairwise(edges)])
    assert found.decode() == image
    assert others == {name: text for name, text in fields_of_json(body).items() if name != "img"}


@given(
    pieces=st.lists(
        st.one_of(st.binary(max_size=9), st.sampled_from([b'{"img":"', b'"', b"\\", b"}", b","])), max_size=9
    )
)
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    try:
        image, others = read(pieces)
    except BadRequest as problem:
        assert problem.detail
    else:
        assert len(image) <= len(b"".join(pieces))
        assert all(isinstance(text, str) for text in others.values())
