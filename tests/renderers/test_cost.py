"""Guesses of a task's time: orders of magnitude, from what the front can know, and from what it has seen."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.formats import Format
from cropmark.model.values import WHOLE, Pixels, Ratio, Share, Size
from cropmark.plan.plan import Choice, Output, Plan
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import Canvas, Crop, Dimensions, Edges, Montage, Pad, Resize
from cropmark.renderers.cost import CostModel, asked_pixels
from cropmark.renderers.tasks import Analyze, Inspect, Render, Task


def PX(count: int) -> Pixels:  # noqa: N802 - a table reads better with two letters
    return Pixels(Fraction(count))


MP12 = ("photo 1", 4_500_000, Format.JPEG)


def to(kind: Format | None, width: int = 800, height: int = 533) -> Render:
    return Render(Plan((Resize(PX(width), PX(height)),), Output((Choice(kind),))))


GIF_ALONE = Choice(Format.GIF, skipped_for=(SourceFilter(frozenset({Format.JPEG, Format.PNG})),))
ANIMATIONS = Choice(Format.GIF, skipped_for=(SourceFilter(animated=False),))
NOT_STILL = Choice(Format.GIF, skipped_for=(SourceFilter(frozenset({Format.JPEG}), animated=False),))


def first_of(*choices: Choice) -> Render:
    return Render(Plan((Resize(PX(800), PX(533)),), Output(choices)))


# fmt: off
ASKED = [
    # steps                                                               most pixels asked for
    ((),                                                                  None),
    ((Crop(Ratio(Fraction(4), Fraction(3))),),                            None),
    ((Resize(PX(800), PX(600)),),                                         480_000),
    ((Resize(PX(800), None),),                                            640_000),
    ((Resize(None, PX(600)),),                                            360_000),
    ((Resize(PX(400), PX(300), dpr=Fraction(2)),),                        480_000),
    ((Resize(Share(Fraction(1, 2)), None),),                              None),
    ((Resize(PX(9000), PX(9000)), Resize(PX(8), PX(8))),                  81_000_000),    # it is done all the same
    ((Canvas(Dimensions(PX(1000), PX(10))),),                                   10_000),
    ((Canvas(Dimensions(WHOLE, WHOLE)),),                                       None),
    ((Montage(Size(300, 200), ()),),                                      60_000),
    ((Pad(Edges(top=PX(10))),),                                           None),
]

GUESSES = [
    # task                     source                                     between, in ms
    (to(Format.JPEG),          MP12,                                       40,    75),    # 47 measured
    (to(Format.WEBP),          MP12,                                       55,    90),    # 61
    (to(Format.AVIF),          MP12,                                       65,   110),    # 72
    (to(Format.GIF),           MP12,                                      150,   400),
    (to(None),                 MP12,                                       40,    75),    # as the source
    (to(Format.JPEG, 300, 200), ("small", 300_000, Format.JPEG),            3,    12),    # 6.2
    (to(Format.AVIF, 8192, 8192), MP12,                                  5000, 12000),
    (Render(Plan()),           MP12,                                      200,   600),    # at its own size
    (first_of(GIF_ALONE, Choice(Format.JPEG)), MP12,                       40,    75),    # no GIF is made of a JPEG
    (first_of(ANIMATIONS, Choice(Format.JPEG)), MP12,                      40,    75),    # nor of what cannot move
    (first_of(NOT_STILL, Choice(Format.JPEG)), MP12,                       40,    75),
    (first_of(ANIMATIONS, Choice(Format.JPEG)), ("moving", 4_500_000, Format.WEBP), 400, 800),    # this one can
    (first_of(GIF_ALONE),      MP12,                                       40,    75),
    (Inspect(),                MP12,                                        1,     5),
    (Analyze(),                MP12,                                      140,   250),
]
# fmt: on


@pytest.mark.parametrize(("steps", "pixels"), ASKED)
def test_asked_pixels(steps: tuple[Resize, ...], pixels: int | None) -> None:
    assert asked_pixels(Plan(steps)) == pixels


@pytest.mark.parametrize(("task", "source", "least", "most"), GUESSES)
def test_guess(task: Task, source: tuple[str, int, Format | None], least: float, most: float) -> None:
    _, ms = CostModel().guess_ms(task, [source])
    assert least <= ms <= most


def test_every_source_counts() -> None:
    task = to(Format.JPEG)
    assert CostModel().guess_ms(task, [MP12, MP12])[1] > CostModel().guess_ms(task, [MP12])[1] + 40


def test_what_was_seen_replaces_the_guess() -> None:
    costs, task = CostModel(), to(Format.JPEG)
    sort, _ = costs.guess_ms(task, [MP12])
    costs.learn(sort, 300.0)
    assert costs.guess_ms(task, [MP12])[1] == 300.0
    costs.learn(sort, 100.0)
    assert costs.guess_ms(task, [MP12])[1] == 200.0  # quicker: half of the way
    costs.learn(sort, 600.0)
    assert costs.guess_ms(task, [MP12])[1] == 300.0  # slower: a quarter, for it may be the load


# fmt: off
APART = [
    ("another source",  to(Format.JPEG),           ("photo 2", 4_500_000, Format.JPEG)),
    ("another format",  to(Format.AVIF),           MP12),
    ("another size",    to(Format.JPEG, 80, 53),   MP12),
    ("another task",    Inspect(),                 MP12),
]
# fmt: on


@pytest.mark.parametrize(("what", "task", "source"), APART)
def test_it_says_nothing_of(what: str, task: Task, source: tuple[str, int, Format | None]) -> None:
    costs = CostModel()
    costs.learn(costs.guess_ms(to(Format.JPEG), [MP12])[0], 9999.0)
    assert costs.guess_ms(task, [source])[1] < 1000


def test_the_memory_of_it_is_bounded() -> None:
    costs = CostModel()
    for i in range(20_000):
        costs.learn(costs.guess_ms(Inspect(), [(str(i), 1, None)])[0], 7.0)
    assert costs.guess_ms(Inspect(), [("19999", 1, None)])[1] == 7.0
    assert costs.guess_ms(Inspect(), [("0", 1, None)])[1] == 2.0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.sampled_from(Format))
def test_more_bytes_never_cost_less(few: int, more: int, kind: Format | None) -> None:
    few, more = sorted((few, more))
    cheap, dear = (CostModel().guess_ms(to(Format.WEBP), [("a", count, kind)])[1] for count in (few, more))
    assert 0 < cheap <= dear
