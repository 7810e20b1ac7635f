from __future__ import annotations

from fractions import Fraction

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.formats import Format, Info
from cropmark.geometry.decode import Decoding, decoding, shrunk_size
from cropmark.geometry.recipe import Encoding, Extract, Op, Recipe, Rotate, Scale, Under
from cropmark.geometry.region import Region
from cropmark.geometry.turning import mirrored
from cropmark.plan.steps import AnyStep, Filter, Turn
from cropmark.values import WHITE, Box, Size
from tests.geometry.plans import COVER, frame_at_the_end, header, is_near, plan, px, recipe_of, shown, to

JPEG, WEBP, PNG = Format.JPEG, Format.WEBP, Format.PNG
LARGE = Size(4000, 3000)


def recipe(*ops: Op, frames: int = 1) -> Recipe:
    return Recipe(ops, Size(1, 1), frames, Encoding(JPEG, 85))


def read(info: Info, *ops: Op) -> Decoding:
    return decoding(recipe(*ops), info)


def scaled(width: int, height: int) -> Scale:
    return Scale(Size(width, height))


# fmt: off
SHRINKS = [
    # ops                                                            smaller   since
    ([scaled(1000, 750)],                                            2),       # twice the result remains
    ([scaled(1001, 751)],                                            1),       # it would not
    ([scaled(500, 375)],                                             4),
    ([scaled(250, 187)],                                             8),
    ([scaled(10, 8)],                                                8),       # JPEG knows no smaller
    ([scaled(250, 3000)],                                            1),       # on both axes
    ([Extract(Box(0, 0, 1000, 1000)), scaled(250, 250)],             2),       # of what the cut leaves
    ([scaled(100, 75), Under(WHITE)],                                8),
    ([],                                                             1),
    ([Extract(Box(0, 0, 9, 9))],                                     1),
    ([Rotate(Turn.RIGHT), scaled(10, 10)],                           1),       # another op first
    ([Under(WHITE), scaled(10, 10)],                                 1),
    ([Scale(Size(10, 10), Filter.LANCZOS2)],                         8),
    ([Scale(Size(10, 10), Filter.CUBIC)],                            8),
    ([Scale(Size(10, 10), Filter.LINEAR)],                           1),       # R9: it reads single pixels
    ([Scale(Size(10, 10), Filter.NEAREST)],                          1),
]

SOURCES = [
    # header                            smaller
    (header(LARGE, JPEG),               8),
    (header(LARGE, WEBP),               8),
    (header(LARGE, PNG),                1),
    (header(LARGE, Format.AVIF),        1),
    (header(LARGE, WEBP, frames=2),     1),
]

REWRITTEN = [
    # of a JPEG of 4001x3003, read 8 times smaller: 500x375, its last column and three rows are no whole block
    ([scaled(250, 187)],                                      [scaled(250, 187)]),
    ([Extract(Box(800, 400, 1600, 1600)), scaled(100, 100)],  [Extract(Box(100, 50, 200, 200)), scaled(100, 100)]),
    # a cut between the blocks: those it touches are scaled, the rest is cut after it
    ([Extract(Box(804, 404, 1600, 1600)), scaled(100, 100)],
     [Extract(Box(100, 50, 201, 201)), scaled(101, 101), Extract(Box(0, 0, 100, 100))]),
    # what comes after stays, and a second cut joins the first
    ([Extract(Box(804, 404, 1600, 1600)), scaled(100, 100), Extract(Box(5, 5, 50, 50)), Under(WHITE)],
     [Extract(Box(100, 50, 201, 201)), scaled(101, 101), Extract(Box(5, 5, 50, 50)), Under(WHITE)]),
]
# fmt: on


@pytest.mark.parametrize(("ops", "shrink"), SHRINKS)
def test_how_much_smaller(ops: list[Op], shrink: int) -> None:
    assert read(header(LARGE, JPEG), *ops).shrink == shrink


@pytest.mark.parametrize(("info", "shrink"), SOURCES)
def test_which_sources(info: Info, shrink: int) -> None:
    assert read(info, scaled(100, 75)).shrink == shrink


@pytest.mark.parametrize(("ops", "rewritten"), REWRITTEN)
def test_the_ops_for_the_smaller_frame(ops: list[Op], rewritten: list[Op]) -> None:
    info = header(Size(4001, 3003), JPEG, alpha=any(isinstance(op, Under) for op in ops))
    assert read(info, *ops) == Decoding(8, tuple(rewritten))


def test_what_is_not_shrunk_keeps_its_ops() -> None:
    ops = (scaled(2500, 2000), Under(WHITE))
    assert decoding(recipe(*ops), header(LARGE, JPEG)) == Decoding(1, ops)


# What libvips makes of a side is its own business: this is what we rely on.
@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("size", [Size(1001, 777), Size(1003, 501), Size(64, 48), Size(1007, 1005)])
def test_libvips_reads_the_frame_that_we_reckon_with(size: Size, shrink: int) -> None:
    grey = pyvips.Image.black(size.width, size.height)
    for kind, save, how in ((JPEG, ".jpg", {"shrink": shrink}), (WEBP, ".webp", {"scale": 1 / shrink})):
        found = pyvips.Image.new_from_buffer(grey.write_to_buffer(save), "", **how)
        assert Size(found.width, found.height) == shrunk_size(header(size, kind), shrink)


sides = st.integers(100, 3000)
orders = st.builds(
    lambda width, height, fit: to(px(width), px(height), **fit),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([COVER, {}]),
)


@settings(deadline=None)
@given(st.builds(Size, sides, sides), st.sampled_from([JPEG, WEBP]), st.integers(1, 8), orders)
def test_it_shows_what_the_recipe_shows(stored: Size, kind: Format, orientation: int, step: AnyStep) -> None:
    """The same size, no op outside its frame, no edge farther off than a pixel: half by the recipe, half by this."""
    info = header(stored, kind, orientation=orientation)
    made = recipe_of(plan(step), info)
    found = decoding(made, info)
    if found.shrink == 1:
        assert found.ops == made.ops
        return
    frame = shrunk_size(info, found.shrink)
    assert frame_at_the_end(found.ops, frame, ()) == made.size
    expected = shown(made.ops, info.size)
    pixel = max(expected.width / made.size.width, expected.height / made.size.height)
    assert is_near(in_the_source(shown(found.ops, frame), info, found.shrink), expected, pixel)


def in_the_source(region: Region, info: Info, shrink: int) -> Region:
    """A region of the smaller frame in pixels of the upright source: blocks count from where the file begins."""
    frame = shrunk_size(info, shrink)
    if info.format is WEBP:
        return region.scaled(Fraction(info.size.width, frame.width), Fraction(info.size.height, frame.height))
    across, down = mirrored(Turn(info.orientation))
    return region.scaled(Fraction(shrink), Fraction(shrink)).moved(
        Fraction(info.size.width - frame.width * shrink if across else 0),
        Fraction(info.size.height - frame.height * shrink if down else 0),
    )
