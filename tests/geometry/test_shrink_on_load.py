from __future__ import annotations

from fractions import Fraction

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.orientation import mirrored_axes
from cropmark.geometry.recipe import Background, Encoding, Extract, AnyOp, Recipe, Rotate, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.shrink_on_load import DecodePlan, decoded_size, decode_plan
from cropmark.model.formats import Format, Info
from cropmark.model.values import WHITE, Box, Size
from cropmark.plan.steps import AnyStep, Filter, Orientation
from tests.geometry.plans import COVER, frame_at_the_end, header, is_near, plan, px, recipe_of, shown, to

JPEG, WEBP, PNG = Format.JPEG, Format.WEBP, Format.PNG
LARGE = Size(4000, 3000)


def recipe(*ops: AnyOp, frames: int = 1) -> Recipe:
    return Recipe(ops, Size(1, 1), frames, Encoding(JPEG, 85))


def read(info: Info, *ops: AnyOp) -> DecodePlan:
    return decode_plan(recipe(*ops), info)


def scaled(width: int, height: int) -> Scale:
    return Scale(Size(width, height))


# fmt: off
EIGHTHS = [
    # ops                                                            eighths   since
    ([scaled(1001, 750)],                                            4),       # 3 would leave less than 1.5 times it
    ([scaled(1000, 750)],                                            3),       # 1.5 times the result remains
    ([scaled(1000, 751)],                                            4),       # it would not
    ([scaled(2333, 1750)],                                           7),
    ([scaled(2334, 1751)],                                           8),
    ([scaled(666, 500)],                                             2),
    ([scaled(333, 250)],                                             1),
    ([scaled(10, 8)],                                                1),       # JPEG knows no smaller
    ([scaled(250, 3000)],                                            8),       # on both axes
    ([Extract(Box(0, 0, 1000, 1000)), scaled(250, 250)],             3),       # of what the cut leaves
    ([scaled(100, 75), Background(WHITE)],                                1),
    ([],                                                             8),
    ([Extract(Box(0, 0, 9, 9))],                                     8),
    ([Rotate(Orientation.ROTATE_90), scaled(10, 10)],                           8),       # another op first
    ([Background(WHITE), scaled(10, 10)],                                 8),
    ([Scale(Size(10, 10), Filter.LANCZOS2)],                         1),
    ([Scale(Size(10, 10), Filter.CUBIC)],                            1),
    ([Scale(Size(10, 10), Filter.LINEAR)],                           8),       # R9: it reads single pixels
    ([Scale(Size(10, 10), Filter.NEAREST)],                          8),
]

SOURCES = [
    # header                            to              eighths
    (header(LARGE, JPEG),               (100, 75),      1),
    (header(LARGE, WEBP),               (100, 75),      1),
    (header(LARGE, WEBP),               (1000, 750),    4),
    (header(LARGE, WEBP),               (1001, 751),    8),     # of a WebP twice the result must remain
    (header(LARGE, WEBP),               (900, 675),     4),     # and 3/8 is not among what its decoder can do
    (header(LARGE, PNG),                (100, 75),      8),
    (header(LARGE, Format.AVIF),        (100, 75),      8),
    (header(LARGE, WEBP, frames=2),     (100, 75),      8),
]

REWRITTEN = [
    # of a JPEG of 4000x3000, read 8 times smaller: 500x375
    ([scaled(250, 187)],                                      [scaled(250, 187)]),
    ([Extract(Box(800, 400, 1600, 1600)), scaled(100, 100)],  [Extract(Box(100, 50, 200, 200)), scaled(100, 100)]),
    # a cut between the blocks: those it touches are scaled, what is too much is cut after it
    ([Extract(Box(807, 407, 1000, 1000)), scaled(78, 78)],
     [Extract(Box(100, 50, 126, 126)), scaled(79, 79), Extract(Box(1, 1, 78, 78))]),
    # or nothing, where that moves the edges less
    ([Extract(Box(804, 404, 1600, 1600)), scaled(100, 100)], [Extract(Box(100, 50, 201, 201)), scaled(100, 100)]),
    # what comes after stays, and a second cut joins the first
    ([Extract(Box(807, 407, 1000, 1000)), scaled(78, 78), Extract(Box(5, 5, 50, 50)), Background(WHITE)],
     [Extract(Box(100, 50, 126, 126)), scaled(79, 79), Extract(Box(6, 6, 50, 50)), Background(WHITE)]),
]
# fmt: on


@pytest.mark.parametrize(("ops", "eighths"), EIGHTHS)
def test_how_much_smaller(ops: list[AnyOp], eighths: int) -> None:
    assert read(header(LARGE, JPEG), *ops).scale == Fraction(eighths, 8)


@pytest.mark.parametrize(("info", "to", "eighths"), SOURCES)
def test_which_sources(info: Info, to: tuple[int, int], eighths: int) -> None:
    assert read(info, scaled(*to)).scale == Fraction(eighths, 8)


@pytest.mark.parametrize(("ops", "rewritten"), REWRITTEN)
def test_the_ops_for_the_smaller_frame(ops: list[AnyOp], rewritten: list[AnyOp]) -> None:
    info = header(LARGE, JPEG, alpha=any(isinstance(op, Background) for op in ops))
    assert read(info, *ops) == DecodePlan(Fraction(1, 8), tuple(rewritten))


def test_a_last_pixel_that_reaches_beyond_the_picture_is_cut() -> None:
    # 4001 px at an eighth touch 501 pixels, the last with one source pixel in it; at 5 to 1, 100.025 are asked for
    ops = read(header(Size(4001, 800), JPEG), scaled(100, 20)).ops
    assert ops == (scaled(100, 20),)
    ops = read(header(Size(4001, 800), JPEG), scaled(300, 60)).ops
    assert ops == (scaled(301, 60), Extract(Box(0, 0, 300, 60)))


def test_what_is_not_shrunk_keeps_its_ops() -> None:
    ops = (scaled(2500, 2000), Background(WHITE))
    assert decode_plan(recipe(*ops), header(LARGE, JPEG)) == DecodePlan(Fraction(1), ops)


# What libvips makes of a side is its own business: this is what we rely on.
@pytest.mark.parametrize("eighths", [1, 2, 4])
@pytest.mark.parametrize("size", [Size(1001, 777), Size(1003, 501), Size(64, 48), Size(1007, 1005)])
def test_libvips_reads_a_webp_as_we_reckon(size: Size, eighths: int) -> None:
    body = pyvips.Image.black(size.width, size.height).write_to_buffer(".webp")
    found = pyvips.Image.new_from_buffer(body, "", scale=eighths / 8)
    assert Size(found.width, found.height) == decoded_size(header(size, WEBP), Fraction(eighths, 8))


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
    found = decode_plan(made, info)
    if found.scale == 1:
        assert found.ops == made.ops
        return
    frame = decoded_size(info, found.scale)
    assert frame_at_the_end(found.ops, frame, ()) == made.size
    expected = shown(made.ops, info.size)
    pixel = max(expected.width / made.size.width, expected.height / made.size.height)
    assert is_near(in_the_source(shown(found.ops, frame), info, found.scale), expected, pixel)


def in_the_source(region: Region, info: Info, scale: Fraction) -> Region:
    """A region of the smaller frame in pixels of the upright source: a JPEG's count from where the file begins."""
    frame = decoded_size(info, scale)
    if info.format is WEBP:
        return region.scaled(Fraction(info.size.width, frame.width), Fraction(info.size.height, frame.height))
    across, down = mirrored_axes(Orientation(info.orientation))
    return region.scaled(1 / scale, 1 / scale).moved(
        info.size.width - frame.width / scale if across else Fraction(0),
        info.size.height - frame.height / scale if down else Fraction(0),
    )
