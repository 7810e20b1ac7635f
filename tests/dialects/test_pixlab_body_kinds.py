"""Bodies of a POST: their kinds, and JSON as fields. The rules: https://pixlab.io/api."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.endpoints import BodyKind, EndpointName, body_kind, body_rejection
from cropmark.dialects.pixlab.json_body import fields_of_json
from cropmark.model.problems import BadRequest, UnsupportedMediaType
from cropmark.model.values import Pixels
from cropmark.plan.steps import Resize

# fmt: off
KINDS = [
    # Content-Type                                       kind
    ("application/json",                                 BodyKind.JSON),
    ("application/json; charset=utf-8",                  BodyKind.JSON),
    ("Application/JSON ;charset=UTF-8",                  BodyKind.JSON),
    ("multipart/form-data; boundary=x",                  BodyKind.MULTIPART),
    ("application/x-www-form-urlencoded",                BodyKind.FORM),
]
# fmt: on


@pytest.mark.parametrize(("content_type", "kind"), KINDS)
def test_kind_of_body(content_type: str, kind: BodyKind) -> None:
    assert body_kind(content_type) is kind


# fmt: off
OTHERS = [
    # Content-Type                     received
    ("",                               "no Content-Type"),
    ("text/plain; charset=utf-8",      "text/plain"),
    ("image/png",                      "image/png"),
    ("application/jsonp",              "application/jsonp"),
    ("multipart/mixed",                "multipart/mixed"),
    ("a\x00\nb",                       "a b"),
    ("x" * 100,                        "x" * 77 + "..."),
]
# fmt: on


@pytest.mark.parametrize(("content_type", "received"), OTHERS)
def test_other_bodies_are_415(content_type: str, received: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        body_kind(content_type)
    expected = "application/json or multipart/form-data or application/x-www-form-urlencoded"
    assert caught.value.detail == f"expected a body of {expected}, got {received}"
    assert PixLab().error_response(caught.value, ImageRequest("crop", method="POST")).status == 415


def test_store_takes_multipart_only() -> None:
    assert body_rejection(EndpointName.STORE, BodyKind.MULTIPART) is None
    assert body_rejection(EndpointName.CROP, BodyKind.JSON) is None
    for kind in (BodyKind.JSON, BodyKind.FORM):
        assert "store: expected a body of multipart/form-data" in str(body_rejection(EndpointName.STORE, kind))


def test_merge_takes_json_only() -> None:
    assert body_rejection(EndpointName.MERGE, BodyKind.JSON) is None
    for kind in (BodyKind.MULTIPART, BodyKind.FORM):
        assert "merge: expected a body of application/json" in str(body_rejection(EndpointName.MERGE, kind))


# fmt: off
OBJECTS = [
    # JSON                                      fields
    ('{"x": 30, "y": "40"}',                    {"x": "30", "y": "40"}),
    ('{"x": -3, "y": 164.7}',                   {"x": "-3", "y": "164.7"}),
    ('{"x": 1e2, "y": 1.5E1}',                  {"x": "100", "y": "15"}),
    ('{"x": 1e999, "y": 1e-99}',                {"x": "1e999", "y": "1e-99"}),         # their readers refuse them
    ('{"x": 1e99999999999999999999}',           {"x": "1e99999999999999999999"}),
    ('{"blob": true, "count": false}',          {"blob": "true", "count": "false"}),
    ('{"blob": 2, "count": 0}',                 {"blob": "true", "count": "false"}),   # a number but 0 is true
    ('{"blob": 0.5, "count": 0.0}',             {"blob": "true", "count": "false"}),
    ('{"blob": "2"}',                           {"blob": "2"}),                        # other texts are false
    ('{"x": null, "y": [1], "z": {"a": 1}}',    {}),
    ('{"cord": [{"x": 1e9, "c": true}, "\u00e9"]}',  {"cord": '[{"x":1e9,"c":true},"\\u00e9"]'}),  # stays JSON
    ('{"cord": {"x": 1}}',                      {}),
    ('{"x": 1, "x": 2}',                        {"x": "2"}),
    ('{"img": "a\\/b\\u002b"}',                 {"img": "a/b+"}),                      # as PHP and .NET escape
    ('{}',                                      {}),
    ('\ufeff{"x": 1}',                          {"x": "1"}),
]
NO_OBJECTS = ["", "[]", "1", '"x"', "null", "{", '{"x": NaN}', '{"x": -Infinity}', "{'x': 1}", "[" * 100_000, "x=1"]
# fmt: on


@pytest.mark.parametrize(("text", "fields"), OBJECTS)
def test_json_becomes_fields(text: str, fields: dict[str, str]) -> None:
    assert fields_of_json(text.encode()) == fields


@pytest.mark.parametrize("text", NO_OBJECTS)
def test_json_that_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"expected a (body in JSON|JSON object)"):
        fields_of_json(text.encode())


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(BadRequest, match="expected a body in JSON"):
        fields_of_json(b'{"x": "\xff\xfe"}')


def test_a_number_of_many_digits_does_no_harm() -> None:
    assert fields_of_json(b'{"x": ' + b"9" * 100_000 + b"}").keys() == {"x"}


def test_fields_of_a_body_make_an_order() -> None:
    body = b'{"img": "https://pics.example/a.png", "width": 50.9, "blob": true}'
    plan = PixLab().order(ImageRequest("resize", method="POST", fields=fields_of_json(body))).plan
    assert plan is not None
    (step,) = plan.steps
    assert isinstance(step, Resize)
    assert (step.width, step.height) == (Pixels(Fraction(50)), Pixels(Fraction(50)))


VALID_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | VALID_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(VALID_TEXT, inner),
    max_leaves=8,
)


@given(value=JSON)
def test_every_object_becomes_fields_and_nothing_else_does(value: object) -> None:
    body = json.dumps(value).encode()
    if not isinstance(value, dict):
        with pytest.raises(BadRequest):
            fields_of_json(body)
        return
    fields = fields_of_json(body)
    assert fields.keys() == {name for name, member in value.items() if isinstance(member, bool | int | float | str)}


@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        assert isinstance(fields_of_json(body), dict)
    except BadRequest as problem:
        assert problem.detail
