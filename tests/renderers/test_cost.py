"""Estimated times of tasks: within a factor of two before the first measurement, then corrected by measurements."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.formats import Format
from cropmark.model.values import FULL_LENGTH, Pixels, Ratio, Share, Size
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import Canvas, Crop, Dimensions, Edges, Montage, Pad, Resize
from cropmark.renderers.cost import CostModel, CostSource, requested_pixels
from cropmark.renderers.tasks import Analyze, Inspect, Render, Task


def PX(count: int) -> Pixels:  # noqa: N802 - a table reads better with two letters
    return Pixels(Fraction(count))


MOVING = CostSource("moving", 4_500_000, Format.WEBP)
MP12 = CostSource("photo 1", 4_500_000, Format.JPEG)


def to(kind: Format | None, width: int = 800, height: int = 533) -> Render:
    return Render(Plan((Resize(PX(width), PX(height)),), Output((EncodingChoice(kind),))))


GIF_ALONE = EncodingChoice(Format.GIF, skipped_for=(SourceFilter(frozenset({Format.JPEG, Format.PNG})),))
ANIMATIONS = EncodingChoice(Format.GIF, skipped_for=(SourceFilter(animated=False),))
NOT_STILL = EncodingChoice(Format.GIF, skipped_for=(SourceFilter(frozenset({Format.JPEG}), animated=False),))


def first_of(*choices: EncodingChoice) -> Render:
    return Render(Plan((Resize(PX(800), PX(533)),), Output(choices)))


# fmt: off
REQUESTED = [
    # steps                                                               most pixels requested
    ((),                                                                  None),
    ((Crop(Ratio(Fraction(4), Fraction(3))),),                            None),
    ((Resize(PX(800), PX(600)),),                                         480_000),
    ((Resize(PX(800), None),),                                            640_000),
    ((Resize(None, PX(600)),),                                            360_000),
    ((Resize(PX(400), PX(300), dpr=Fraction(2)),),                        480_000),
    ((Resize(Share(Fraction(1, 2)), None),),                              None),
    ((Resize(PX(9000), PX(9000)), Resize(PX(8), PX(8))),                  81_000_000),  # it is rendered too
    ((Canvas(Dimensions(PX(1000), PX(10))),),                                   10_000),
    ((Canvas(Dimensions(FULL_LENGTH, FULL_LENGTH)),),                                       None),
    ((Montage(Size(300, 200), ()),),                                      60_000),
    ((Pad(Edges(top=PX(10))),),                                           None),
]

ESTIMATES = [
    # task                     source                                     between, in ms
    (to(Format.JPEG),          MP12,                                       40,    75),    # 47 measured
    (to(Format.WEBP),          MP12,                                       55,    90),    # 61
    (to(Format.AVIF),          MP12,                                       65,   110),    # 72
    (to(Format.GIF),           MP12,                                      150,   400),
    (to(None),                 MP12,                                       40,    75),    # as the source
    (to(Format.JPEG, 300, 200), CostSource("small", 300_000, Format.JPEG),            3,    12),    # 6.2
    (to(Format.AVIF, 8192, 8192), MP12,                                  5000, 12000),
    (Render(Plan()),           MP12,                                      200,   600),    # at the source's size
    (first_of(GIF_ALONE, EncodingChoice(Format.JPEG)), MP12,          40,    75),    # a JPEG never becomes a GIF
    (first_of(ANIMATIONS, EncodingChoice(Format.JPEG)), MP12,         40,    75),    # nor does a still format
    (first_of(NOT_STILL, EncodingChoice(Format.JPEG)), MP12,                       40,    75),
    (first_of(ANIMATIONS, EncodingChoice(Format.JPEG)), MOVING, 400, 800),    # WebP may be animated
    (first_of(GIF_ALONE),      MP12,                                       40,    75),
    (Inspect(),                MP12,                                        1,     5),
    (Analyze(),                MP12,                                      140,   250),
]
# fmt: on


@pytest.mark.parametrize(("steps", "pixels"), REQUESTED)
def test_requested_pixels(steps: tuple[Resize, ...], pixels: int | None) -> None:
    assert requested_pixels(Plan(steps)) == pixels


@pytest.mark.parametrize(("task", "source", "least", "most"), ESTIMATES)
def test_estimate(task: Task, source: CostSource, least: float, most: float) -> None:
    _, ms = CostModel().estimate(task, [source])
    assert least <= ms <= most


def test_every_source_counts() -> None:
    task = to(Format.JPEG)
    assert CostModel().estimate(task, [MP12, MP12])[1] > CostModel().estimate(task, [MP12])[1] + 40


def test_a_measurement_replaces_the_estimate() -> None:
    costs, task = CostModel(), to(Format.JPEG)
    key, _ = costs.estimate(task, [MP12])
    costs.record(key, 300.0)
    assert costs.estimate(task, [MP12])[1] == 300.0
    costs.record(key, 100.0)
    assert costs.estimate(task, [MP12])[1] == 200.0  # faster: half of the difference
    costs.record(key, 600.0)
    assert costs.estimate(task, [MP12])[1] == 300.0  # slower: a quarter, since load may be the cause


# fmt: off
OTHERS = [
    ("another source",  to(Format.JPEG),           CostSource("photo 2", 4_500_000, Format.JPEG)),
    ("another format",  to(Format.AVIF),           MP12),
    ("another size",    to(Format.JPEG, 80, 53),   MP12),
    ("another task",    Inspect(),                 MP12),
]
# fmt: on


@pytest.mark.parametrize(("difference", "task", "source"), OTHERS)
def test_a_measurement_does_not_apply_to(difference: str, task: Task, source: CostSource) -> None:
    costs = CostModel()
    costs.record(costs.estimate(to(Format.JPEG), [MP12])[0], 9999.0)
    assert costs.estimate(task, [source])[1] < 1000


def test_measurements_are_bounded() -> None:
    costs = CostModel()
    for i in range(20_000):
        costs.record(costs.estimate(Inspect(), [CostSource(str(i), 1, None)])[0], 7.0)
    assert costs.estimate(Inspect(), [CostSource("19999", 1, None)])[1] == 7.0
    assert costs.estimate(Inspect(), [CostSource("0", 1, None)])[1] == 2.0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.sampled_from(Format))
def test_more_bytes_never_cost_less(few: int, more: int, kind: Format | None) -> None:
    few, more = sorted((few, more))
    cheap, expensive = (
        CostModel().estimate(to(Format.WEBP), [CostSource("a", count, kind)])[1] for count in (few, more)
    )
    assert 0 < cheap <= expensive
