"""Estimated times of Recipes and Ops: within a factor of two of the times of one core of a 2024 server."""

from __future__ import annotations

from fractions import Fraction
from typing import get_args

import pytest

from cropmark.geometry.cost import decode_ms, encode_ms, op_ms, recipe_ms
from cropmark.geometry.recipe import (
    AnyOp,
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Encoding,
    Extract,
    GaussianBlur,
    Recipe,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.model.formats import Format, Info
from cropmark.model.values import WHITE, Box, Size
from cropmark.plan.steps import Dither, Filter, Orientation, Threshold

MP8, MP_HALF = Size(4000, 2000), Size(1000, 500)
F = Fraction

# fmt: off
OPS: list[tuple[AnyOp, Size, float]] = [
    # op                                          before    measured in ms, with 8 MP before or after
    (Scale(MP_HALF),                              MP8,        26),
    (Scale(MP8),                                  MP_HALF,   250),
    (Scale(MP8, Filter.LINEAR),                   MP_HALF,   142),
    (Scale(MP8, Filter.NEAREST),                  MP_HALF,     9),
    (Rotate(Orientation.ROTATE_90),               MP8,        26),
    (Embed(MP8, 10, 10, WHITE),                   MP8,         8),
    (ColorAdjust(F(10), F(10), F(0)),             MP8,        23),
    (ColorAdjust(F(10), F(10), F(10)),            MP8,       118),
    (GaussianBlur(F(1)),                          MP8,       329),
    (GaussianBlur(F(4)),                          MP8,      1000),
    (GaussianBlur(F(79, 10)),                     MP8,      1892),
    (GaussianBlur(F(8)),                          MP8,       502),
    (GaussianBlur(F(20)),                         MP8,       268),
    (GaussianBlur(F(500)),                        MP8,       197),
    (UnsharpMask(F(1, 2), F(1), 0),               MP8,       235),
    (UnsharpMask(F(2), F(1), 0),                  MP8,       616),
    (UnsharpMask(F(100), F(1), 0),                MP8,       249),
    (Bilevel(Threshold()),                        MP8,        60),
    (Bilevel(Dither.ATKINSON),                    MP8,       345),
]

ENCODINGS = [
    # encoding                                    measured in ms, of 8 MP
    (Encoding(Format.JPEG, 80),                     87),
    (Encoding(Format.JPEG, 80, progressive=True),  134),
    (Encoding(Format.PNG, 100),                    400),
    (Encoding(Format.PNG, 80, palette=True),       730),
    (Encoding(Format.WEBP, 80),                    388),
    (Encoding(Format.WEBP, 100, lossless=True),   5922),
    (Encoding(Format.PNG, 100, max_bytes=3000),   1300),
    (Encoding(Format.GIF, 100),                   2066),
    (Encoding(Format.AVIF, 60),                    394),
    (Encoding(Format.AVIF, 60, lossless=True),    1758),
]
# fmt: on


@pytest.mark.parametrize(("op", "before", "measured_ms"), OPS)
def test_ops(op: AnyOp, before: Size, measured_ms: float) -> None:
    assert measured_ms / 2 <= op_ms(op, before, op.frame_after(before)) <= measured_ms * 2


@pytest.mark.parametrize(("encoding", "measured_ms"), ENCODINGS)
def test_encodings(encoding: Encoding, measured_ms: float) -> None:
    assert measured_ms / 2 <= encode_ms(encoding, MP8.area) <= measured_ms * 2


# An animation of 125 frames of 978x720 px to a width of 480 px (docs/decisions/0162).
# fmt: off
ANIMATIONS = [
    # content                 bytes        measured in ms
    ("screencast",             7_563_629,  1360),
    ("panning photograph",    42_958_139,  2200),
    ("drawing",                5_941_736,  1390),
]
# fmt: on


@pytest.mark.parametrize(("length", "measured_ms"), [row[1:] for row in ANIMATIONS], ids=[row[0] for row in ANIMATIONS])
def test_an_animated_gif_is_estimated_as_a_whole(length: int, measured_ms: float) -> None:
    recipe = Recipe((Scale(Size(480, 353)),), Size(480, 353), 125, Encoding(Format.GIF, 100))
    estimated_ms = recipe_ms(recipe, (Info(Format.GIF, Size(978, 720), length, frames=125),))
    assert measured_ms / 2 <= estimated_ms <= measured_ms * 2


def test_every_op_that_reads_or_writes_pixels_has_a_cost() -> None:
    """Only a crop is free: it reads no pixel that the next Op does not read."""
    others = (Background(WHITE), SolidColor(MP8, WHITE), Compose(1, (Scale(MP8),), 0, 0), Extract(Box(0, 0, 10, 10)))
    ops: list[AnyOp] = [*(op for op, _, _ in OPS), *others]
    assert {type(op) for op in ops} == set(get_args(AnyOp))
    infos = [None, Info(Format.PNG, MP_HALF, 1000)]
    assert {type(op) for op in ops if not op_ms(op, MP8, op.frame_after(MP8), infos)} == {Extract}


def test_the_ops_of_an_overlay_count() -> None:
    infos = [None, Info(Format.PNG, MP_HALF, 1000)]
    plain, enlarged = Compose(1, (), 0, 0), Compose(1, (Scale(MP8),), 0, 0)
    assert op_ms(enlarged, MP8, MP8, infos) >= op_ms(plain, MP8, MP8, infos) + op_ms(Scale(MP8), MP_HALF, MP8)


def test_layers_that_follow_each_other_read_the_frame_once() -> None:
    """Measured: 1 or 63 small images on 12 megapixels take 0.2 s."""
    infos = [Info(Format.JPEG, MP8, 4_000_000), Info(Format.PNG, Size(100, 100), 9000), Info(Format.PNG, MP8, 9000)]
    png = Encoding(Format.PNG, 100)
    one, many, large = (
        recipe_ms(Recipe(layers, MP8, 1, png), infos)
        for layers in ((Compose(1, (), 0, 0),), (Compose(1, (), 0, 0),) * 63, (Compose(2, (), 0, 0),) * 3)
    )
    assert many <= 1.2 * one
    assert large - one >= 2 * 80, "a layer as large as the frame counts like the frame"


def test_a_recipe_is_the_sum_of_its_parts_and_every_frame_counts() -> None:
    png, blur = Encoding(Format.PNG, 100), GaussianBlur(F(4))
    still = Info(Format.PNG, MP8, 9_000_000)
    parts_ms = decode_ms(still) + op_ms(blur, MP8, MP8) + encode_ms(png, MP8.area)
    assert recipe_ms(Recipe((blur,), MP8, 1, png), [still]) == pytest.approx(parts_ms)
    moving = Info(Format.GIF, MP_HALF, 900_000, frames=10)
    per_frame_ms = op_ms(blur, MP_HALF, MP_HALF) + encode_ms(png, MP_HALF.area)
    ten_ms = decode_ms(moving, 10) + 10 * per_frame_ms
    assert recipe_ms(Recipe((blur,), MP_HALF, 10, png), [moving]) == pytest.approx(ten_ms)


def test_a_jpeg_that_is_decoded_smaller_costs_the_smaller_frame() -> None:
    photo, jpeg = Info(Format.JPEG, MP8, 3_000_000), Encoding(Format.JPEG, 85)
    ops = (Scale(Size(400, 200)), GaussianBlur(F(2)))
    assert recipe_ms(Recipe(ops, Size(400, 200), 1, jpeg), [photo]) < decode_ms(photo) + 20
