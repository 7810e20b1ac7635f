"""Properties that hold for every Plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from hypothesis import event, given, settings
from hypothesis import strategies as st

from cropmark.geometry.findings import Analysis, Face, Findings, SaliencyMap
from cropmark.geometry.frame_state import FrameState
from cropmark.geometry.placement import crop_box
from cropmark.geometry.recipe import Need, OriginalBytes, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import READABLE, TRAITS, Format, Info
from cropmark.model.problems import Problem
from cropmark.model.values import Box, Color, Pixels, Point, Ratio, Share, Size
from cropmark.plan.plan import EncodingChoice, Fallback, Limits, Output, OverLimit, Plan, TriState
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import (
    Adjust,
    Align,
    AnyStep,
    AutoColor,
    Blur,
    Canvas,
    Cell,
    Crop,
    Dimensions,
    Dither,
    Edges,
    Filter,
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
from tests.geometry.plans import frame_at_the_end, is_opaque


def fractions(least: int | Fraction, most: int) -> st.SearchStrategy[Fraction]:
    return st.fractions(min_value=least, max_value=most, max_denominator=60)


FEW = Fraction(1, 50)
parts = fractions(0, 1)
lengths = st.one_of(st.builds(Pixels, fractions(FEW, 500)), st.builds(Share, fractions(FEW, 4)))
distances = st.one_of(st.builds(Pixels, fractions(0, 400)), st.builds(Share, fractions(0, 2)))
shapes = st.one_of(
    st.builds(Dimensions, lengths, lengths),
    st.builds(Ratio, fractions(Fraction(1, 10), 10), fractions(Fraction(1, 10), 10)),
)
placements = st.one_of(st.builds(Offset, distances), st.builds(Align, parts))
edges = st.builds(Edges, distances, distances, distances, distances)
colors = st.builds(Color, *[st.integers(0, 255)] * 4)
points = st.builds(Point, parts, parts)
smart = st.sampled_from([None, Focus.SMART])
kinds = st.lists(st.builds(SourceFilter, animated=st.booleans(), alpha=st.booleans()), max_size=1).map(tuple)
amounts = fractions(-100, 100)
texts = st.sampled_from([None, "left out"])

crops = st.builds(
    Crop, shapes, placements, placements, smart, st.sampled_from(Overflow), skipped_for=kinds, warning_if_skipped=texts
)
resizes = st.builds(
    Resize,
    st.none() | lengths,
    st.none() | lengths,
    st.sampled_from(Fit),
    st.booleans(),
    fractions(Fraction(1, 4), 4),
    st.sampled_from(Filter),
    st.one_of(smart, points),
    fractions(1, 5),
    skipped_for=kinds,
)
others = st.one_of(
    st.builds(Orient, st.sampled_from(Orientation)),
    st.builds(TrimBorder, st.one_of(colors, st.just(AutoColor.TOP_LEFT)), parts),
    st.builds(TrimEdges, edges),
    st.builds(Pad, edges, st.none() | colors),
    st.builds(Canvas, shapes, placements, placements, st.none() | colors, st.booleans()),
    st.builds(Flatten, colors),
    st.builds(Adjust, amounts, amounts, amounts),
    st.builds(Sharpen, fractions(0, 10), lengths, st.integers(0, 255)),
    st.builds(Blur, lengths),
    st.builds(Monochrome, st.one_of(st.builds(Threshold), st.just(Dither.ATKINSON))),
    st.builds(
        Overlay,
        st.integers(1, 2),
        st.none() | lengths,
        st.none() | lengths,
        st.builds(Align, parts),
        st.builds(Align, parts),
        edges,
        st.booleans(),
    ),
    st.builds(
        Montage,
        st.builds(Size, st.integers(1, 300), st.integers(1, 300)),
        st.just((Cell(0, *map(Fraction, (0, 0, 1, 1))), Cell(1, Fraction(1, 3), *map(Fraction, (0, 1, 1))))),
        st.integers(0, 30),
    ),
)
steps: st.SearchStrategy[AnyStep] = st.one_of(crops, resizes, others)
choices = st.builds(
    EncodingChoice,
    st.none() | st.sampled_from(Format),
    st.none() | st.integers(1, 100),
    st.sampled_from(TriState),
    st.sampled_from(TriState),
    palette=st.booleans(),
    keep_animation=st.booleans(),
    first_frame=st.booleans(),
    skipped_for=kinds,
    refuse_over_limit=st.booleans(),
    warning_if_skipped=texts,
)
outputs = st.builds(
    Output,
    st.lists(choices, max_size=3).map(tuple),
    first_frame=st.booleans(),
    same_is_original=st.sampled_from([(), (SourceFilter(),)]),
    larger_is_original=st.booleans(),
)
limits = st.builds(
    Limits,
    source_side=st.sampled_from([250, 12_000]),
    source_pixels=st.sampled_from([40_000, 150_000_000]),
    side=st.sampled_from([100, 1000, 8192]),
    over_limit=st.sampled_from(OverLimit),
    animation_area=st.none() | st.integers(1, 10**6),
    avif_area=st.none() | st.integers(1, 10**5),
)
plans = st.builds(
    Plan,
    st.lists(steps, max_size=5).map(tuple),
    outputs,
    limits=limits,
    on_unsupported=st.sampled_from(Fallback),
    on_unusable=st.sampled_from(Fallback),
)
sizes = st.builds(Size, st.integers(1, 300), st.integers(1, 300))
infos = st.builds(
    Info,
    st.sampled_from([*READABLE] * 3 + [Format.SVG]),
    sizes,
    st.just(1000),
    st.integers(1, 8),
    st.sampled_from([1, 1, 2, 30]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
sources = st.tuples(infos, st.none() | infos)
floats, lengths_of_faces = st.floats(0, 1), st.floats(0.01, 1)
analyses = st.none() | st.builds(
    Analysis,
    st.just(1),
    st.lists(st.builds(Face, floats, floats, lengths_of_faces, lengths_of_faces, floats), max_size=3).map(tuple),
    *[st.binary(min_size=64, max_size=64).map(lambda cells: SaliencyMap(8, 8, cells))] * 2,
)


def resolved(plan: Plan, sources: Sequence[Info | None], data: st.DataObject) -> Recipe | OriginalBytes | None:
    """The outcome of a plan with arbitrary boxes as findings; None for a Problem. Each Need must occur once."""
    findings = Findings(analysis=data.draw(analyses))
    searches = sum(isinstance(step, TrimBorder) for step in plan.steps)
    try:
        for _ in range(searches + 1):
            found = resolve(plan, sources, findings)
            if not isinstance(found, Need):
                event(type(found).__name__)
                return found
            assert sources[0] is not None
            frame = frame_at_the_end(found.ops, sources[0].size, sources)
            findings = replace(findings, borders=(*findings.borders, data.draw(boxes_in(frame))))
    except Problem as problem:
        event(type(problem).__name__)
        return None
    raise AssertionError("the same Need was returned twice")


@st.composite
def boxes_in(draw: st.DrawFn, frame: Size) -> Box | None:
    left, top = draw(st.integers(0, frame.width - 1)), draw(st.integers(0, frame.height - 1))
    width, height = draw(st.integers(1, frame.width - left)), draw(st.integers(1, frame.height - top))
    return draw(st.sampled_from([Box(left, top, width, height)] * 9 + [None]))


@settings(max_examples=300, deadline=None)
@given(plans, sources, st.data())
def test_every_plan_comes_to_a_recipe_that_holds_or_a_problem(
    plan: Plan, sources: tuple[Info, Info | None], data: st.DataObject
) -> None:
    recipe = resolved(plan, sources, data)
    if not isinstance(recipe, Recipe):
        return
    info, written, limits = sources[0], TRAITS[recipe.encoding.format], plan.limits
    assert frame_at_the_end(recipe.ops, info.size, sources) == recipe.size
    assert max(recipe.size.width, recipe.size.height) <= limits.side
    assert written.writable
    assert recipe.frames == 1 or (recipe.frames == info.frames and written.animated)
    assert written.alpha or is_opaque(recipe.ops, alpha=info.alpha)
    if recipe.frames > 1 and limits.animation_area is not None:
        assert recipe.frames * recipe.size.area <= limits.animation_area
    if recipe.encoding.format is Format.AVIF and limits.avif_area is not None:
        assert recipe.size.area <= limits.avif_area


@settings(deadline=None)
@given(plans, sources, outputs)
def test_a_need_is_the_same_for_every_output(plan: Plan, sources: tuple[Info, Info | None], output: Output) -> None:
    try:
        found = resolve(plan, sources)
    except Problem:
        return
    if isinstance(found, Need):
        assert resolve(replace(plan, output=output), sources) == found


@settings(deadline=None)
@given(crops, sizes)
def test_a_crop_never_leaves_its_frame(crop: Crop, frame: Size) -> None:
    try:
        box = crop_box(crop, frame)
    except Problem:
        assert crop.overflow in (Overflow.REFUSE, Overflow.CLIP_OR_REFUSE)
        return
    assert box is None or box.within(frame)


@settings(deadline=None)
@given(st.lists(st.one_of(crops, resizes, st.builds(Orient, st.sampled_from(Orientation))), max_size=4), sizes)
def test_cropped_scaled_and_rotated_frames_show_a_part_of_the_source(steps: list[AnyStep], size: Size) -> None:
    info = Info(Format.PNG, size, 1000)
    try:
        recipe = resolve(Plan(tuple(steps)), [info])
    except Problem:
        return
    if not isinstance(recipe, Recipe):
        return
    view = FrameState.from_info(info).apply(*recipe.ops).view
    assert view is not None
    assert view.shown.left >= 0
    assert view.shown.top >= 0
    assert view.shown.right <= 1
    assert view.shown.bottom <= 1
