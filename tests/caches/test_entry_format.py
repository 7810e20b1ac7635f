"""The form of a rendition outside memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.caches.entry_format import HEAD_BYTES, CorruptEntry, packed, record_of, unpacked
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
def test_any_rendition_comes_back_equal(kept: Rendition) -> None:
    data = b"".join(packed(KEY, kept))
    assert unpacked(KEY, data) == kept
    assert unpacked(KEY, bytearray(data)) == kept
    assert record_of(KEY, data) == kept.record


def test_the_body_comes_back_as_bytes() -> None:
    assert type(unpacked(KEY, bytearray(b"".join(packed(KEY, rendition())))).body) is bytes


@given(RENDITIONS, st.data())
@settings(max_examples=100, deadline=None)
def test_no_bit_may_differ(kept: Rendition, data: st.DataObject) -> None:
    whole = bytearray(b"".join(packed(KEY, kept)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptEntry):
        unpacked(KEY, whole)


def test_not_one_byte_of_a_file_may_differ() -> None:
    whole = b"".join(packed(KEY, rendition()))
    for at in range(len(whole)):
        flipped = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]
        with pytest.raises(CorruptEntry):
            unpacked(KEY, flipped)


def test_no_part_of_a_file_is_a_file() -> None:
    whole = b"".join(packed(KEY, rendition()))
    for length in range(len(whole)):
        with pytest.raises(CorruptEntry):
            unpacked(KEY, whole[:length])


# fmt: off
REFUSED = [
    # what                                            why
    (lambda whole: whole + b"\0",                     "body is not what was written"),
    (lambda whole: whole[: HEAD_BYTES - 1],           "shorter than a head"),
    (lambda whole: whole[: HEAD_BYTES + 5],           "shorter than its record"),
    (lambda whole: b"pickmark" + whole[8:],           "of another form"),
    (lambda whole: whole[:8] + b"\2\0" + whole[10:],  "of another form"),
    (lambda whole: b"\xff" * len(whole),              "of another form"),
    (lambda whole: b"",                               "shorter than a head"),
]
# fmt: on


@pytest.mark.parametrize(("change", "why"), REFUSED)
def test_what_is_no_whole_entry_is_refused(change, why) -> None:  # type: ignore[no-untyped-def]  # lambdas of a table
    with pytest.raises(CorruptEntry, match=why):
        unpacked(KEY, change(b"".join(packed(KEY, rendition()))))


def test_an_entry_is_of_its_key_only() -> None:
    with pytest.raises(CorruptEntry, match="another key"):
        unpacked(key_of("b"), b"".join(packed(KEY, rendition())))


def test_a_record_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        packed(KEY, rendition("lone \ud800 surrogate"))
