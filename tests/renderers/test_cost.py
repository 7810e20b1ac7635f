"""Estimated times of tasks: within a factor of two before the first measurement, then corrected by measurements."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cropmark.engine.load import info_of
from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.model.formats import Format, Info
from cropmark.model.values import WHITE, Pixels, Size
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import AnyStep, Blur, Crop, Dimensions, Dither, Monochrome, Offset, Resize, Sharpen, TrimBorder
from cropmark.renderers.cost import CostModel, CostSource
from cropmark.renderers.tasks import Analyze, Compare, DrawOverlay, Inspect, Render, Task


def PX(count: int) -> Pixels:  # noqa: N802 - a table reads better with two letters
    return Pixels(Fraction(count))


MOVING = CostSource("moving", 4_500_000, Format.WEBP)
MP12 = CostSource("photo 1", 4_500_000, Format.JPEG)


def to(kind: Format | None, width: int = 800, height: int = 533) -> Render:
    return Render(Plan((Resize(PX(width), PX(height)),), Output((EncodingChoice(kind),))))


def enlarged(*steps: AnyStep) -> Render:
    """8192 px square, then the steps, as WebP."""
    resize = Resize(PX(8192), PX(8192), enlarge=True)
    return Render(Plan((resize, *steps), Output((EncodingChoice(Format.WEBP),))))


PHOTOS = Path(__file__).parents[1] / "data" / "corpus" / "photos"
NO_ANALYSIS = Analysis(1, (), SaliencyMap(1, 1, b"\0"), SaliencyMap(1, 1, b"\0"))
LARGE = enlarged()
SOFT = enlarged(Sharpen(Fraction(10), PX(100), 0), Blur(PX(90)))


GIF_ALONE = EncodingChoice(Format.GIF, skipped_for=(SourceFilter(frozenset({Format.JPEG, Format.PNG})),))
ANIMATIONS = EncodingChoice(Format.GIF, skipped_for=(SourceFilter(animated=False),))
NOT_STILL = EncodingChoice(Format.GIF, skipped_for=(SourceFilter(frozenset({Format.JPEG}), animated=False),))


def first_of(*choices: EncodingChoice) -> Render:
    return Render(Plan((Resize(PX(800), PX(533)),), Output(choices)))


# fmt: off
ESTIMATES = [
    # task                     source                                     between, in ms
    (to(Format.JPEG),          MP12,                                       40,    75),    # 47 measured
    (to(Format.WEBP),          MP12,                                       55,    90),    # 61
    (to(Format.AVIF),          MP12,                                       65,   110),    # 72
    (to(Format.GIF),           MP12,                                      150,   400),
    (to(None),                 MP12,                                       40,    75),    # as the source
    (to(Format.JPEG, 300, 200), CostSource("small", 300_000, Format.JPEG),            3,    12),    # 6.2
    (LARGE,                    MP12,                                     4000,  9000),
    (SOFT,                     MP12,                                     6000, 14000),    # 9500
    (Render(Plan()),           MP12,                                      200,   600),    # at the source's size
    (first_of(GIF_ALONE, EncodingChoice(Format.JPEG)), MP12,          40,    75),    # a JPEG never becomes a GIF
    (first_of(ANIMATIONS, EncodingChoice(Format.JPEG)), MP12,         40,    75),    # nor does a still format
    (first_of(NOT_STILL, EncodingChoice(Format.JPEG)), MP12,                       40,    75),
    (first_of(ANIMATIONS, EncodingChoice(Format.JPEG)), MOVING, 300, 800),    # WebP may be animated
    (first_of(GIF_ALONE),      MP12,                                       40,    75),
    (Inspect(),                MP12,                                        1,     5),
    (Analyze(Plan()),                MP12,                                      140,   250),
]
# fmt: on


@pytest.mark.parametrize(("task", "source", "least", "most"), ESTIMATES)
def test_estimate(task: Task, source: CostSource, least: float, most: float) -> None:
    assert least <= CostModel().estimate(task, [source]).ms <= most


# fmt: off
STEPS = [
    # step                                          more than the resize alone, in ms of 8192 x 8192 pixels
    (Blur(PX(10)),                                  3000),
    (Blur(PX(1000)),                                1000),
    (Sharpen(Fraction(10), PX(10), 0),              3000),
    (Monochrome(Dither.ATKINSON),                   1500),
]
# fmt: on


@pytest.mark.parametrize(("step", "least_ms"), STEPS)
def test_every_step_counts(step: AnyStep, least_ms: float) -> None:
    """check_54: so the queue knows that such a request is expensive."""
    costs = CostModel()
    assert costs.estimate(enlarged(step), [MP12])[1] - costs.estimate(LARGE, [MP12])[1] >= least_ms


def test_a_palette_counts() -> None:
    plain, palette = (
        Render(Plan((Resize(PX(4000), None),), Output((EncodingChoice(Format.PNG, palette=each),))))
        for each in (False, True)
    )
    assert CostModel().estimate(palette, [MP12])[1] > CostModel().estimate(plain, [MP12])[1]


def test_a_plan_that_needs_pixels_or_is_impossible_has_a_cost() -> None:
    trim = Render(Plan((TrimBorder(WHITE), Resize(PX(800), None))))
    outside = Render(Plan((Crop(Dimensions(PX(9), PX(9)), x=Offset(PX(90_000))),)))
    for task in (trim, outside):
        assert CostModel().estimate(task, [MP12])[1] > 40


def test_a_known_header_replaces_the_guess() -> None:
    """The pool reads no header: 20 kB may be 64 MP of one color."""
    costs, task = CostModel(), Render(Plan((Blur(PX(10)),), Output((EncodingChoice(Format.PNG),))))
    plain = CostSource("plain", 20_000, Format.PNG)
    before_ms = costs.estimate(task, [plain])[1]
    costs.record_header("plain", Info(Format.PNG, Size(8000, 8000), 20_000))
    assert before_ms < 20
    assert costs.estimate(task, [plain])[1] > 5000
    assert costs.estimate(task, [CostSource("other", 20_000, Format.PNG)])[1] == before_ms


def test_every_source_counts() -> None:
    task = to(Format.JPEG)
    assert CostModel().estimate(task, [MP12, MP12])[1] > CostModel().estimate(task, [MP12])[1] + 40


def test_measurements_correct_the_estimate() -> None:
    costs, task = CostModel(), to(Format.JPEG)
    estimate = costs.estimate(task, [MP12])
    costs.record(estimate, estimate.ms + 80)
    assert costs.estimate(task, [MP12]).ms == estimate.ms + 20  # slower: a quarter, since load may be the cause
    costs.record(estimate, estimate.ms - 20)
    assert costs.estimate(task, [MP12]).ms == estimate.ms  # faster: half of the difference
    costs.record(estimate, estimate.ms + 40)
    assert costs.estimate(task, [MP12]).ms == estimate.ms + 10


def test_a_burst_on_a_busy_machine_moves_the_estimate_by_a_quarter() -> None:
    costs, task = CostModel(), to(Format.JPEG)
    estimate = costs.estimate(task, [MP12])
    costs.record(estimate, 10 * estimate.ms)
    assert costs.estimate(task, [MP12]).ms == pytest.approx(3.25 * estimate.ms)


# fmt: off
OTHERS = [
    ("another source",  to(Format.JPEG),           CostSource("photo 2", 4_500_000, Format.JPEG)),
    ("another format",  to(Format.AVIF),           MP12),
    ("another size",    to(Format.JPEG, 4000, 3000), MP12),
    ("another task",    Inspect(),                 MP12),
]
# fmt: on


@pytest.mark.parametrize(("difference", "task", "source"), OTHERS)
def test_a_measurement_does_not_apply_to(difference: str, task: Task, source: CostSource) -> None:
    costs = CostModel()
    costs.record(costs.estimate(to(Format.JPEG), [MP12]), 9999.0)
    assert costs.estimate(task, [source])[1] < 1000


def test_measurements_are_bounded() -> None:
    costs = CostModel()
    for i in range(20_000):
        costs.record(costs.estimate(Inspect(), [CostSource(str(i), 1, None)]), 1.0)
    assert costs.estimate(Inspect(), [CostSource("19999", 1, None)]).ms == 1.5
    assert costs.estimate(Inspect(), [CostSource("0", 1, None)])[1] == 2.0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.sampled_from(Format))
@example(20_971_520, 58_720_256, Format.BMP)
def test_more_bytes_never_cost_less(few: int, more: int, kind: Format | None) -> None:
    """As long as the Plan reads a file of this length: its limit is set to the largest here."""
    few, more = sorted((few, more))
    plan = to(Format.WEBP).plan
    task = Render(replace(plan, limits=replace(plan.limits, source_bytes=10**9)))
    cheap, expensive = (CostModel().estimate(task, [CostSource("a", count, kind)])[1] for count in (few, more))
    assert 0 < cheap <= expensive


def test_a_file_above_the_limit_costs_no_more_than_its_decoding() -> None:
    """It is rejected by its length, so it may cost less than a smaller file."""
    limit = to(Format.WEBP).plan.limits.source_bytes
    read, rejected = (
        CostModel().estimate(to(Format.WEBP), [CostSource("a", count, Format.BMP)])[1]
        for count in (limit, limit + 2**23)
    )
    assert 0 < rejected < read


def test_check_43_the_pace_of_the_machine_is_learned() -> None:
    """On a machine that takes three times as long, the estimates of other images become three times as long too."""
    costs, task = CostModel(), to(Format.JPEG)
    before_ms = costs.estimate(task, [MP12]).ms
    for number in range(100):
        estimate = costs.estimate(task, [replace(MP12, name=f"other {number}")])
        costs.record_pace(estimate, 3 * estimate.model_ms)
    assert costs.estimate(task, [MP12]).ms == pytest.approx(3 * before_ms, rel=0.02)
    costs.record_pace(estimate, 1e9)  # one that was stopped by the debugger
    assert costs.estimate(task, [MP12]).ms < 4 * before_ms


def test_memory_is_estimated_by_the_header() -> None:
    costs, task = CostModel(), to(Format.PNG, 4000, 4000)
    guessed = costs.estimate(task, [CostSource("plain", 20_000, Format.PNG)]).bytes
    costs.record_header("plain", Info(Format.PNG, Size(8000, 8000), 20_000))
    assert costs.estimate(task, [CostSource("plain", 20_000, Format.PNG)]).bytes > guessed + 64_000_000 * 3


@pytest.mark.parametrize("path", sorted(PHOTOS.glob("*.jpg")), ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "task", [to(Format.JPEG, 64, 64), to(Format.JPEG), to(Format.WEBP, 1920, 1280), to(Format.AVIF, 640, 427)]
)
def test_a_new_photograph_gets_enough_memory_at_once(task: Task, path: Path) -> None:
    """With less, its task would start twice: once to learn the size in its header, once more with enough memory."""
    data, costs = path.read_bytes(), CostModel()
    source = CostSource(path.name, len(data), Format.JPEG)
    guessed = costs.estimate(task, [source]).bytes
    costs.record_header(path.name, info_of(data))
    assert costs.estimate(task, [source]).bytes <= guessed


def test_memory_that_was_too_little_is_learned() -> None:
    costs, task = CostModel(), to(Format.JPEG)
    estimate = costs.estimate(task, [MP12])
    costs.record_oom(estimate, 400_000_000)
    assert costs.estimate(task, [MP12]).bytes == 600_000_000
    assert costs.estimate(task, [replace(MP12, name="other")]).bytes == estimate.bytes


@pytest.mark.parametrize(
    "task", [Inspect(), Analyze(Plan()), DrawOverlay(NO_ANALYSIS, None), Compare(), to(Format.PNG)]
)
def test_every_task_has_an_estimate_of_its_memory(task: Task) -> None:
    assert CostModel().estimate(task, [MP12]).bytes >= MP12.bytes * 7 // 8  # of a guessed header
