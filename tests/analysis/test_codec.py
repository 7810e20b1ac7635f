from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.analysis.codec import MAX_BYTES, MAX_FACES, VERSION, MalformedAnalysis, parse_analysis, serialize_analysis
from cropmark.geometry.findings import Analysis, Face, SaliencyMap

ANALYSIS = Analysis(
    version=VERSION,
    faces=(Face(0.25, 0.1, 0.125, 0.2, 0.91),),
    subject=SaliencyMap(2, 1, b"\x00\xff"),
    residual=SaliencyMap(2, 1, b"\x10\x20"),
)


def test_the_json_of_an_analysis() -> None:
    assert json.loads(serialize_analysis(ANALYSIS)) == {
        "version": VERSION,
        "grid": [2, 1],
        "faces": [[0.25, 0.1, 0.125, 0.2, 0.91]],
        "subject": "AP8=",
        "residual": "ECA=",
    }


def rounded(least: float, most: float) -> st.SearchStrategy[float]:
    return st.floats(least, most).map(lambda value: round(value, 4))


faces = st.builds(Face, rounded(-1, 1), rounded(-1, 1), rounded(0.001, 1), rounded(0.001, 1), rounded(0, 1))
sides = st.tuples(st.integers(1, 32), st.integers(1, 32))
analyses = sides.flatmap(
    lambda side: st.builds(
        Analysis,
        st.just(VERSION),
        st.lists(faces, max_size=MAX_FACES).map(tuple),
        *(st.binary(min_size=side[0] * side[1], max_size=side[0] * side[1]).map(lambda c: SaliencyMap(*side, c)),) * 2,
    )
)


@given(analyses)
def test_a_serialized_analysis_parses_to_the_same_value(analysis: Analysis) -> None:
    assert parse_analysis(serialize_analysis(analysis)) == analysis


def test_the_largest_analysis_is_small_enough() -> None:
    face = Face(-0.1234, -0.1234, 0.1234, 0.1234, 0.999)
    full = SaliencyMap(32, 32, bytes(range(256)) * 4)
    assert len(serialize_analysis(Analysis(VERSION, (face,) * MAX_FACES, full, full))) <= MAX_BYTES


def told(**changes: object) -> bytes:
    form = {**json.loads(serialize_analysis(ANALYSIS)), **changes}
    return json.dumps({name: value for name, value in form.items() if value is not None}).encode()


# fmt: off
REFUSED = [
    # bytes                                             words
    (b"",                                               "must be JSON"),
    (b"\xff\xfe",                                       "must be JSON"),
    (b"[" * 4000,                                       "must be JSON"),
    (b"[]",                                             "version, grid, faces"),
    (b" " * 5000,                                       "at most 4096 bytes"),
    (told(version=1),                                   f"expected version {VERSION}, got 1"),
    (told(version="1"),                                 "version, grid, faces"),
    (told(faces=None),                                  "version, grid, faces"),
    (told(more=1),                                      "version, grid, faces"),
    (told(grid=[2, 1, 1]),                              "version, grid, faces"),
    (told(grid=[0, 1]),                                 "1 to 32 cells"),
    (told(grid=[33, 1]),                                "1 to 32 cells"),
    (told(grid=[2, 2]),                                 "one byte per cell"),
    (told(subject="A"),                                 "one byte per cell"),
    (told(subject="AP8=!"),                             "one byte per cell"),
    (told(residual=b64encode(b"abc").decode()),         "one byte per cell"),
    (told(faces=[[0, 0, 1, 1, 1]] * 25),                "at most 24 faces"),
    (told(faces=[[0, 0, 1, 1]]),                        "five numbers"),
    (told(faces=["12345"]),                             "five numbers"),
    (told(faces=[[0, 0, 1, 1, "1"]]),                   "five numbers"),
    (told(faces=[[0, 0, 0, 1, 1]]),                     "must be in the image"),
    (told(faces=[[0, 0, 1, 1, 1.5]]),                   "must be in the image"),
    (told(faces=[[float("nan"), 0, 1, 1, 1]]),          "must be in the image"),
    (told(faces=[[float("inf"), 0, 1, 1, 1]]),          "must be in the image"),
    (told(faces=[[10**400, 0, 1, 1, 1]]),               "must be in the image"),
]
# fmt: on


@pytest.mark.parametrize(("data", "words"), REFUSED)
def test_malformed_json_is_rejected(data: bytes, words: str) -> None:
    with pytest.raises(MalformedAnalysis, match=words):
        parse_analysis(data)


@given(st.binary(max_size=300))
def test_parsing_raises_only_malformed_analysis(data: bytes) -> None:
    with pytest.raises(MalformedAnalysis):
        parse_analysis(data)
