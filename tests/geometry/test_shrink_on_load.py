from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.geometry.orientation import mirrored_axes
from cropmark.geometry.recipe import AnyOp, Background, Encoding, Extract, Recipe, Rotate, Scale
from cropmark.geometry.region import Region
from cropmark.geometry.shrink_on_load import DecodePlan, decode_plan, decoded_size
from cropmark.model.formats import Format, Info
from cropmark.model.values import WHITE, Box, Size
from cropmark.plan.steps import AnyStep, Filter, Orientation
from tests.geometry.plans import COVER, frame_at_the_end, header, plan, px, recipe_of, shown, to

JPEG, WEBP, PNG = Format.JPEG, Format.WEBP, Format.PNG
LARGE = Size(4000, 3000)


def recipe(*ops: AnyOp, frames: int = 1) -> Recipe:
    return Recipe(ops, Size(1, 1), frames, Encoding(JPEG, 85))


def read(info: Info, *ops: AnyOp) -> DecodePlan:
    return decode_plan(recipe(*ops), info)


def scaled(width: int, height: int) -> Scale:
    return Scale(Size(width, height))


def square(start: str, side: str) -> Region:
    return Region(Fraction(start), Fraction(start), Fraction(side), Fraction(side))


# fmt: off
EIGHTHS = [
    # ops                                                eighths  since
    ([scaled(800, 600)],                                 2),   # exactly 1.25 times the result
    ([scaled(801, 600)],                                 4),   # 2 has less than 1.25 times the result, 3 is slower
    ([scaled(800, 601)],                                 4),
    ([scaled(1600, 1200)],                               4),
    ([scaled(1601, 1200)],                               8),   # 5, 6 and 7 are slower
    ([scaled(400, 300)],                                 1),
    ([scaled(401, 300)],                                 2),
    ([scaled(10, 8)],                                    1),   # the smallest JPEG scale
    ([scaled(250, 3000)],                                8),   # on both axes
    ([Extract(Box(0, 0, 1000, 1000)), scaled(250, 250)], 4),   # of the cropped part
    ([scaled(100, 75), Background(WHITE)],               1),
    ([],                                                 8),
    ([Extract(Box(0, 0, 9, 9))],                         8),
    ([Rotate(Orientation.ROTATE_90), scaled(10, 10)],    8),   # another op first
    ([Background(WHITE), scaled(10, 10)],                8),
    ([Scale(Size(10, 10), Filter.LANCZOS2)],             1),
    ([Scale(Size(10, 10), Filter.CUBIC)],                1),
    ([Scale(Size(10, 10), Filter.LINEAR)],               8),   # this kernel reads single pixels
    ([Scale(Size(10, 10), Filter.NEAREST)],              8),
]

SOURCES = [
    # header                        to           eighths
    (header(LARGE, JPEG),           (100, 75),   1),
    (header(LARGE, WEBP),           (100, 75),   1),
    (header(LARGE, WEBP),           (1000, 750), 4),
    (header(LARGE, WEBP),           (1001, 751), 8),   # a WebP needs twice the result
    (header(Size(4001, 3000), WEBP), (1000, 750), 8),   # its colors would be off by a quarter pixel
    (header(Size(4000, 3001), WEBP), (1000, 750), 8),
    (header(Size(4001, 3001), WEBP), (200, 150), 1),    # by a twentieth
    (header(Size(4001, 3001), WEBP), (201, 150), 8),
    (header(Size(4001, 3001), WEBP, lossless=True), (1000, 750), 4),
    (header(LARGE, PNG),            (100, 75),   8),
    (header(LARGE, Format.AVIF),    (100, 75),   8),
    (header(LARGE, WEBP, frames=2), (100, 75),   8),
]

ENCODINGS = [
    # encoding                                 eighths of 4000x3000 for 800x600: at 2/8 there are 1.25 times the result
    (Encoding(JPEG, 85),                       2),
    (Encoding(JPEG, 89),                       2),
    (Encoding(JPEG, 90),                       4),   # shows more than a decoding at 1.25 has
    (Encoding(PNG, 80),                        4),
    (Encoding(WEBP, 80),                       2),
    (Encoding(WEBP, 80, lossless=True),        4),
    (Encoding(Format.AVIF, 60),                2),
]

REWRITTEN = [
    # a JPEG of 4000x3000, decoded 8 times smaller: 500x375
    ([scaled(250, 187)],                                     [scaled(250, 187)]),
    ([Extract(Box(800, 400, 1600, 1600)), scaled(100, 100)], [Extract(Box(100, 50, 200, 200)), scaled(100, 100)]),
    # a crop between blocks: all partly visible blocks are cropped, and the window between them is scaled
    ([Extract(Box(807, 407, 1000, 1000)), scaled(78, 78)],
     [Extract(Box(100, 50, 126, 126)), Scale(Size(78, 78), window=square("7/8", "125"))]),
    # the window of the recipe, 1200.5 px from 803.75, 8 times smaller
    ([Extract(Box(800, 400, 1600, 1600)), Scale(Size(100, 100), window=square("3.75", "1200.5"))],
     [Extract(Box(100, 50, 151, 151)), Scale(Size(100, 100), window=square("15/32", "150.0625"))]),
    # later ops do not change
    ([Extract(Box(804, 404, 1600, 1600)), scaled(100, 100), Extract(Box(5, 5, 50, 50)), Background(WHITE)],
     [Extract(Box(100, 50, 201, 201)), Scale(Size(100, 100), window=square("1/2", "200")),
      Extract(Box(5, 5, 50, 50)), Background(WHITE)]),
]
# fmt: on


@pytest.mark.parametrize(("ops", "eighths"), EIGHTHS)
def test_the_scale_for_ops(ops: list[AnyOp], eighths: int) -> None:
    assert read(header(LARGE, JPEG), *ops).scale == Fraction(eighths, 8)


@pytest.mark.parametrize(("info", "to", "eighths"), SOURCES)
def test_the_scale_for_sources(info: Info, to: tuple[int, int], eighths: int) -> None:
    assert read(info, scaled(*to)).scale == Fraction(eighths, 8)


@pytest.mark.parametrize(("encoding", "eighths"), ENCODINGS)
def test_the_scale_for_encodings(encoding: Encoding, eighths: int) -> None:
    made = replace(recipe(scaled(800, 600)), encoding=encoding)
    assert decode_plan(made, header(LARGE, JPEG)).scale == Fraction(eighths, 8)


@pytest.mark.parametrize(("ops", "rewritten"), REWRITTEN)
def test_the_ops_for_the_smaller_frame(ops: list[AnyOp], rewritten: list[AnyOp]) -> None:
    info = header(LARGE, JPEG, alpha=any(isinstance(op, Background) for op in ops))
    assert read(info, *ops) == DecodePlan(Fraction(1, 8), tuple(rewritten))


@pytest.mark.parametrize("orientation", [1, 2])
def test_a_last_pixel_partly_outside_the_image_counts_partly(orientation: int) -> None:
    # 4001 px at an eighth cover 501 pixels, the last with one source pixel; mirrored, it is the first
    ops = read(header(Size(4001, 800), JPEG, orientation=orientation), scaled(300, 60)).ops
    window = Region(Fraction(0 if orientation == 1 else "7/8"), Fraction(0), Fraction("500.125"), Fraction(100))
    assert ops == (Scale(Size(300, 60), window=window),)


def test_a_result_of_one_pixel_is_the_mean_of_its_window() -> None:
    """11/8 decoded pixels round to one, which must not be cropped from them."""
    assert read(header(Size(11, 11), JPEG), scaled(1, 1)).ops == (Scale(Size(1, 1), window=square("0", "11/8")),)


def test_a_source_at_full_scale_has_the_ops_of_the_recipe() -> None:
    ops = (scaled(2500, 2000), Background(WHITE))
    assert decode_plan(recipe(*ops), header(LARGE, JPEG)) == DecodePlan(Fraction(1), ops)


# We rely on the rounding that libvips uses for the sides.
@pytest.mark.parametrize("eighths", [1, 2, 4])
@pytest.mark.parametrize("size", [Size(1001, 777), Size(1003, 501), Size(64, 48), Size(1007, 1005)])
def test_libvips_decodes_a_webp_to_the_computed_size(size: Size, eighths: int) -> None:
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
def test_the_decode_plan_shows_the_same_as_the_recipe(
    stored: Size, kind: Format, orientation: int, step: AnyStep
) -> None:
    """The same size, no op outside its frame, and exactly the same edges."""
    info = header(stored, kind, orientation=orientation)
    made = recipe_of(plan(step), info)
    found = decode_plan(made, info)
    if found.scale == 1:
        assert found.ops == made.ops
        return
    frame = decoded_size(info, found.scale)
    assert frame_at_the_end(found.ops, frame, ()) == made.size
    assert in_the_source(shown(found.ops, frame), info, found.scale) == shown(made.ops, info.size)


def in_the_source(region: Region, info: Info, scale: Fraction) -> Region:
    """A region of the smaller frame in pixels of the upright source; a JPEG scales from the stored top left."""
    frame = decoded_size(info, scale)
    if info.format is WEBP:
        return region.scaled(Fraction(info.size.width, frame.width), Fraction(info.size.height, frame.height))
    across, down = mirrored_axes(Orientation(info.orientation))
    return region.scaled(1 / scale, 1 / scale).moved(
        info.size.width - frame.width / scale if across else Fraction(0),
        info.size.height - frame.height / scale if down else Fraction(0),
    )
