"""The serialized form of a rendition."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.caches.entry_format import HEAD_BYTES, CorruptEntry, decode, decode_record, encode
from cropmark.model.values import Size
from cropmark.ports import Record, Rendition
from tests.adapters.renditions import key_of, rendition

KEY = key_of("a")

SIDES = st.integers(1, 2**31)
st.register_type_strategy(Size, st.builds(Size, SIDES, SIDES))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

RENDITIONS = st.builds(Rendition, st.binary(max_size=2_000), record=st.from_type(Record))


@given(RENDITIONS)
@settings(max_examples=300, deadline=None)
def test_a_decoded_rendition_is_equal(original: Rendition) -> None:
    data = b"".join(encode(KEY, original))
    assert decode(KEY, data) == original
    assert decode(KEY, bytearray(data)) == original
    assert decode_record(KEY, data) == original.record


def test_a_decoded_body_is_bytes() -> None:
    assert type(decode(KEY, bytearray(b"".join(encode(KEY, rendition())))).body) is bytes


@given(RENDITIONS, st.data())
@settings(max_examples=100, deadline=None)
def test_any_changed_bit_is_detected(original: Rendition, data: st.DataObject) -> None:
    whole = bytearray(b"".join(encode(KEY, original)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptEntry):
        decode(KEY, whole)


def test_a_change_of_any_byte_is_detected() -> None:
    whole = b"".join(encode(KEY, rendition()))
    for at in range(len(whole)):
        flipped = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]
        with pytest.raises(CorruptEntry):
            decode(KEY, flipped)


def test_a_truncated_file_is_detected() -> None:
    whole = b"".join(encode(KEY, rendition()))
    for length in range(len(whole)):
        with pytest.raises(CorruptEntry):
            decode(KEY, whole[:length])


# fmt: off
CORRUPT = [
    # change                                          message
    (lambda whole: whole + b"\0",                     "checksum of the body"),
    (lambda whole: whole[: HEAD_BYTES - 1],           "shorter than a header"),
    (lambda whole: whole[: HEAD_BYTES + 5],           "shorter than its record"),
    (lambda whole: b"pickmark" + whole[8:],           "another format"),
    (lambda whole: whole[:8] + b"\2\0" + whole[10:],  "another format"),
    (lambda whole: b"\xff" * len(whole),              "another format"),
    (lambda whole: b"",                               "shorter than a header"),
]
# fmt: on


@pytest.mark.parametrize(("change", "message"), CORRUPT)
def test_a_corrupt_entry_is_rejected(change, message) -> None:  # type: ignore[no-untyped-def]  # lambdas of a table
    with pytest.raises(CorruptEntry, match=message):
        decode(KEY, change(b"".join(encode(KEY, rendition()))))


def test_an_entry_of_another_key_is_rejected() -> None:
    with pytest.raises(CorruptEntry, match="another key"):
        decode(key_of("b"), b"".join(encode(KEY, rendition())))


def test_a_record_that_json_cannot_represent_is_rejected() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode(KEY, rendition("lone \ud800 surrogate"))
