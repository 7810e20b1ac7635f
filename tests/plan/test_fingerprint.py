"""The fingerprint: equal for equal Plans, different for different ones, the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from enum import Enum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.formats import Format
from cropmark.model.values import Color, Pixels, Point, Ratio, Share, Size
from cropmark.plan.plan import EncodingChoice, Fallback, KeepMetadata, Limits, Output, OverLimit, Plan, TriState
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import (
    Adjust,
    Align,
    AutoColor,
    Blur,
    Canvas,
    Cell,
    Crop,
    Dimensions,
    Dither,
    Edges,
    Fit,
    Flatten,
    Focus,
    Monochrome,
    Montage,
    Offset,
    Orient,
    Orientation,
    Overflow,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    Threshold,
    TrimBorder,
    TrimEdges,
)

# ------------------------------------------------------------------------------------------------ any plan

fractions = st.fractions(0, 5, max_denominator=4)
above_0 = st.fractions(Fraction(1, 4), 5, max_denominator=4)
lengths = st.builds(Pixels, fractions) | st.builds(Share, fractions)
parts = st.integers(0, 255)
colors = st.builds(Color, parts, parts, parts, parts)
ratios = st.builds(Ratio, above_0, above_0)
shapes = st.builds(Dimensions, lengths, lengths) | ratios
spares = st.builds(Align, fractions)
placements = spares | st.builds(Offset, lengths)
edges = st.builds(Edges, lengths, lengths, lengths, lengths)
kinds = st.builds(
    SourceFilter,
    st.none() | st.frozensets(st.sampled_from(Format), max_size=2),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
)
skipped = {"skipped_for": st.lists(kinds, max_size=1).map(tuple), "warning_if_skipped": st.none() | st.text(max_size=3)}
maybe_length, maybe_color = st.none() | lengths, st.none() | colors
cells = st.builds(Cell, st.integers(0, 3), fractions, fractions, fractions, fractions)

steps = st.one_of(
    st.builds(Orient, st.sampled_from(Orientation), **skipped),
    st.builds(TrimBorder, colors | st.just(AutoColor.TOP_LEFT), fractions, **skipped),
    st.builds(TrimEdges, edges, **skipped),
    st.builds(Crop, shapes, placements, placements, st.none() | st.just(Focus.SMART), st.sampled_from(Overflow)),
    st.builds(
        Resize,
        maybe_length,
        maybe_length,
        st.sampled_from(Fit),
        st.booleans(),
        above_0,
        focus=st.none() | st.builds(Point, fractions, fractions),
    ),
    st.builds(Pad, edges, maybe_color),
    st.builds(Canvas, shapes, placements, placements, maybe_color, st.booleans()),
    st.builds(Flatten, colors),
    st.builds(Adjust, fractions, fractions, fractions),
    st.builds(Sharpen, fractions, lengths, parts),
    st.builds(Blur, lengths),
    st.builds(Monochrome, st.builds(Threshold, fractions) | st.just(Dither.ATKINSON)),
    st.builds(Overlay, st.integers(1, 2), maybe_length, maybe_length, spares, spares, edges, st.booleans()),
    st.builds(Montage, st.builds(Size, above_0.map(int).map(lambda n: n + 1), st.just(3)), st.tuples(cells, cells)),
)
choices = st.builds(
    EncodingChoice,
    st.none() | st.sampled_from(Format),
    st.none() | st.integers(1, 3),
    st.sampled_from(TriState),
    st.sampled_from(TriState),
    skipped_for=st.lists(kinds, max_size=1).map(tuple),
    warning_if_skipped=st.none() | st.text(max_size=3),
)
plans = st.builds(
    Plan,
    st.lists(steps, max_size=3).map(tuple),
    st.builds(
        Output,
        st.lists(choices, min_size=1, max_size=2).map(tuple),
        st.frozensets(st.sampled_from(KeepMetadata)),
        st.booleans(),
    ),
    st.frozensets(st.sampled_from(Format), min_size=1),
    st.builds(Limits, side=st.integers(1, 3), over_limit=st.sampled_from(OverLimit)),
    st.sampled_from(Fallback),
    st.sampled_from(Fallback),
)


@given(plans, plans)
def test_plans_are_equal_if_and_only_if_their_fingerprints_are(one: Plan, other: Plan) -> None:
    assert (one == other) == (one.fingerprint() == other.fingerprint())
    assert replace(one).fingerprint() == one.fingerprint()


# fmt: off
NEIGHBORS: list[tuple[Plan, Plan]] = [
    # plans that a careless serialization would not distinguish
    (Plan((Pad(Edges()),)),                      Plan((TrimEdges(Edges()),))),
    (Plan((Resize(Pixels(Fraction(1)), None),)), Plan((Resize(Share(Fraction(1)), None),))),   # a pixel, the whole
    (Plan((Resize(Pixels(Fraction(1)), None),)), Plan((Resize(None, Pixels(Fraction(1))),))),
    (Plan((Blur(Pixels(Fraction(3, 2))),)),      Plan((Blur(Pixels(Fraction(31, 20))),))),
    (Plan((Blur(Pixels(Fraction(1))), Flatten(Color(0, 0, 0)))),
     Plan((Flatten(Color(0, 0, 0)), Blur(Pixels(Fraction(1)))))),                                  # their order counts
    (Plan((Crop(shape=Ratio(Fraction(2), Fraction(1))),)), Plan((Crop(shape=Ratio(Fraction(4), Fraction(2))),))),
    (Plan(output=Output((EncodingChoice(warning_if_skipped="a"), EncodingChoice()))),
     Plan(output=Output((EncodingChoice(), EncodingChoice(warning_if_skipped="a"))))),
    (Plan(output=Output((EncodingChoice(warning_if_skipped="None"),))), Plan(output=Output((EncodingChoice(),)))),
    (Plan(output=Output((EncodingChoice(quality=1),))), Plan(output=Output((EncodingChoice(lossless=TriState.YES),)))),
    (Plan((Crop(shape=Dimensions(Pixels(Fraction(1)), Pixels(Fraction(1))), parameter="a,b"),)),
     Plan((Crop(shape=Dimensions(Pixels(Fraction(1)), Pixels(Fraction(1))), parameter="a"),))),
]
# fmt: on


@pytest.mark.parametrize(("one", "other"), NEIGHBORS)
def test_similar_plans_have_different_fingerprints(one: Plan, other: Plan) -> None:
    assert one.fingerprint() != other.fingerprint()


def _changes(value: Any) -> list[Any]:
    """Copies of a dataclass value that each differ in one field."""
    return [replace(value, **{each.name: _another(getattr(value, each.name))}) for each in fields(value)]


def _another(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case tuple():
            return (*value, EncodingChoice(quality=99)) if value else (Blur(Pixels(Fraction(1))),)
        case frozenset():
            return value ^ {next(iter(value))} if value else frozenset({KeepMetadata.ICC})
        case Output() | Limits():
            return _changes(value)[0]
        case None:
            return 7
        case Enum():
            members = [*type(value)]
            return members[(members.index(value) + 1) % len(members)]
        case _:
            raise AssertionError(f"no other value than {value!r} is known")


@pytest.mark.parametrize("changed", [*_changes(Plan()), *[Plan(output=o) for o in _changes(Output())]])
def test_every_field_changes_the_fingerprint(changed: Plan) -> None:
    assert changed.fingerprint() != Plan().fingerprint()


@pytest.mark.parametrize("limits", _changes(Limits()))
def test_every_limit_changes_the_fingerprint(limits: Limits) -> None:
    assert Plan(limits=limits).fingerprint() != Plan().fingerprint()


IN_ANOTHER_PROCESS = """
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
query = "crop=4:3,smart&width=33.3p&bg-color=fff&auto=webp,avif"
request = ImageRequest("a.png", query, {"accept": "image/webp,image/avif"})
print(Fastly().order(request).plan.fingerprint())
"""


def test_it_is_the_same_in_every_process() -> None:
    report = {
        subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()
        for seed in ("0", "1", "4242")
    }
    assert len(report) == 1
    assert len(report.pop()) == 64


def test_a_plan_holds_values_only() -> None:
    with pytest.raises(TypeError, match="unexpected float in a Plan"):
        Plan((Blur(Pixels(1.5)),)).fingerprint()  # type: ignore[arg-type]  # forbidden by the type, and rejected at run time too
