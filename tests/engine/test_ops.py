"""The pixels after each Op, checked against independent arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cropmark.engine.ops import Layers, apply_all
from cropmark.geometry.recipe import (
    AnyOp,
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Extract,
    GaussianBlur,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.model.values import CLEAR, WHITE, Box, Color, Size
from cropmark.plan.steps import Dither, Filter, Orientation, Threshold
from tests.engine.images import Array, frame_of, noise, off_by, pixels, slopes

F = Fraction
RED, HALF_BLUE = Color(200, 10, 20), Color(10, 20, 200, 128)


def done(array: Array, *ops: AnyOp, layers: Layers | None = None) -> Array:
    return pixels(apply_all(frame_of(array), ops, layers or {}))


# ---------------------------------------------------------------------------------------------- geometry


def test_extract_returns_the_box() -> None:
    image = noise(30, 20)
    assert np.array_equal(done(image, Extract(Box(3, 4, 10, 7))), image[4:11, 3:13])


# fmt: off
TURNS = [
    # out(x, y) is in(...), as in the table of the dialect
    (Orientation.NONE,        lambda p: p),
    (Orientation.FLIP_HORIZONTAL, lambda p: p[:, ::-1]),
    (Orientation.ROTATE_180,        lambda p: p[::-1, ::-1]),
    (Orientation.FLIP_VERTICAL,   lambda p: p[::-1]),
    (Orientation.TRANSPOSE,   lambda p: p.transpose(1, 0, 2)),
    (Orientation.ROTATE_90,       lambda p: p[::-1].transpose(1, 0, 2)),
    (Orientation.TRANSVERSE,  lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
    (Orientation.ROTATE_270,        lambda p: p[:, ::-1].transpose(1, 0, 2)),
]
# fmt: on


@pytest.mark.parametrize(("turn", "expected"), TURNS)
@pytest.mark.parametrize("bands", [3, 4])
def test_rotate_lays_it(turn: Orientation, expected: object, bands: int) -> None:
    image = noise(12, 8, bands)
    assert callable(expected)
    assert np.array_equal(done(image, Rotate(turn)), expected(image))


def test_a_quarter_turn_right_in_the_words_of_the_dialect() -> None:
    image = noise(120, 80)
    out = done(image, Rotate(Orientation.ROTATE_90))
    assert out.shape == (120, 80, 3)
    for (x, y), (from_x, from_y) in {(0, 0): (0, 79), (79, 0): (0, 0), (79, 119): (119, 0)}.items():
        assert np.array_equal(out[y, x], image[from_y, from_x])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 400)] * 4),
    st.sampled_from(list(Filter)),
    st.sampled_from([3, 4]),
)
def test_scale_gives_exactly_the_size(sides: tuple[int, ...], kernel: Filter, bands: int) -> None:
    width, height, to_width, to_height = sides
    out = apply_all(frame_of(noise(width, height, bands)), (Scale(Size(to_width, to_height), kernel),), {})
    assert (out.width, out.height, out.bands, out.format) == (to_width, to_height, bands, "uchar")


@pytest.mark.parametrize("kernel", [Filter.LINEAR, Filter.CUBIC, Filter.LANCZOS2, Filter.LANCZOS3])
@pytest.mark.parametrize("size", [Size(400, 200), Size(50, 25), Size(37, 91), Size(100, 150), Size(250, 20)])
def test_scale_preserves_positions(kernel: Filter, size: Size) -> None:
    """A slope sampled at the centers of the pixels: half a pixel's shift would show as several levels."""
    width, height = 100, 100
    ramp = np.stack(
        [np.tile(np.arange(width) * 2, (height, 1)), np.tile(np.arange(height)[:, None] * 2, (1, width))] * 2, 2
    )
    out = done(ramp[:, :, :3].astype(np.uint8), Scale(size, kernel)).astype(float)
    across = ((np.arange(size.width) + 0.5) * width / size.width - 0.5) * 2
    down = ((np.arange(size.height) + 0.5) * height / size.height - 0.5) * 2
    inner_x, inner_y = slice(size.width // 8, -size.width // 8), slice(size.height // 8, -size.height // 8)
    assert np.abs(out[inner_y, inner_x, 0] - across[inner_x]).max() <= 1
    assert np.abs(out[inner_y, inner_x, 1] - down[inner_y, None]).max() <= 1


@pytest.mark.parametrize("size", [Size(3, 3), Size(5, 4), Size(20, 10), Size(31, 7)])
def test_nearest_takes_pixels_as_they_are(size: Size) -> None:
    image = noise(10, 10, 4)
    colors = {tuple(pixel) for row in image for pixel in row}
    assert {tuple(pixel) for row in done(image, Scale(size, Filter.NEAREST)) for pixel in row} <= colors


def test_nearest_takes_the_middle_one() -> None:
    image = noise(10, 10)
    assert np.array_equal(done(image, Scale(Size(5, 2), Filter.NEAREST))[:, :, 0].shape, (2, 5))
    assert np.array_equal(done(image, Scale(Size(30, 30), Filter.NEAREST)), image.repeat(3, 0).repeat(3, 1))


def test_what_is_hidden_under_clear_pixels_does_not_bleed() -> None:
    """Red left, clear green right: every visible pixel is still red."""
    image = np.zeros((40, 40, 4), np.uint8)
    image[:, :20] = (255, 0, 0, 255)
    image[:, 20:] = (0, 255, 0, 0)
    for op in (Scale(Size(13, 13)), Scale(Size(77, 77)), GaussianBlur(F(3))):
        out = done(image, op)
        visible = out[out[:, :, 3] > 8].astype(int)
        assert visible[:, 1].max() <= 2, op
        assert visible[:, 0].min() >= 250, op


def test_alpha_and_color_survive_a_plain_scale() -> None:
    image = np.full((20, 20, 4), (200, 100, 50, 77), np.uint8)
    assert off_by(done(image, Scale(Size(7, 9))), np.full((9, 7, 4), (200, 100, 50, 77), np.uint8)) <= 1


# ---------------------------------------------------------------------------------------------- laying


def by_hand(under: Color, over: Array) -> Array:
    """One over the other, by Porter and Duff, in floats."""
    a_over, a_under = over[..., 3:] / 255, under.alpha / 255
    alpha = a_over + a_under * (1 - a_over)
    base = np.array([under.red, under.green, under.blue], float)
    mixed = over[..., :3] * a_over + base * a_under * (1 - a_over)
    color = np.divide(mixed, alpha, out=np.zeros_like(mixed), where=alpha > 0)
    laid: Array = np.rint(np.concatenate([color, alpha * 255], axis=2)).astype(np.uint8)
    return laid


def test_embed_fills_around() -> None:
    image = noise(4, 3)
    out = done(image, Embed(Size(8, 6), 1, 2, RED))
    assert np.array_equal(out[2:5, 1:5], image)
    out[2:5, 1:5] = (200, 10, 20)
    assert np.array_equal(out, np.full((6, 8, 3), (200, 10, 20), np.uint8))


# fmt: off
CUTS = [
    # size      left top   rows of the image      columns
    (Size(2, 2), -1, -1, slice(1, 3), slice(1, 3)),
    (Size(4, 2),  0, -1, slice(1, 3), slice(0, 4)),
    (Size(3, 9), -1,  0, slice(0, 3), slice(1, 4)),
]
# fmt: on


@pytest.mark.parametrize(("size", "left", "top", "rows", "columns"), CUTS)
def test_embed_cuts_what_reaches_outside(size: Size, left: int, top: int, rows: slice, columns: slice) -> None:
    image = noise(4, 3)
    out = done(image, Embed(size, left, top, RED))
    assert out.shape == (size.height, size.width, 3)
    stored = image[rows, columns]
    assert np.array_equal(out[: stored.shape[0], : stored.shape[1]], stored)


@pytest.mark.parametrize(("left", "top"), [(8, 0), (0, 9), (-4, 0), (0, -3), (-50, -50), (50, 50)])
@pytest.mark.parametrize("bands", [3, 4])
def test_embed_of_a_frame_outside_the_canvas_is_the_color(left: int, top: int, bands: int) -> None:
    out = done(noise(4, 3, bands), Embed(Size(8, 6), left, top, RED))
    assert np.array_equal(out, np.full((6, 8, bands), (200, 10, 20, 255)[:bands], np.uint8))


def test_embed_in_a_clear_color_gives_an_opaque_image_alpha() -> None:
    image = noise(2, 2)
    out = done(image, Embed(Size(4, 4), 1, 1, CLEAR))
    assert np.array_equal(out[1:3, 1:3, :3], image)
    assert np.array_equal(out[:, :, 3], np.pad(np.full((2, 2), 255, np.uint8), 1))
    assert out[0, 0].tolist() == [0, 0, 0, 0]


def test_an_opaque_color_under_takes_alpha_away() -> None:
    image = noise(9, 9, 4)
    out = done(image, Background(RED))
    assert np.array_equal(out, by_hand(RED, image)[:, :, :3])
    assert out.shape == (9, 9, 3)


def test_a_color_with_alpha_under_leaves_its_alpha() -> None:
    image = noise(9, 9, 4)
    image[0, 0, 3], image[1, 1, 3] = 0, 255
    out = done(image, Background(HALF_BLUE))
    assert np.array_equal(out, by_hand(HALF_BLUE, image))
    assert out[0, 0].tolist() == [10, 20, 200, 128]
    assert out[1, 1].tolist() == image[1, 1].tolist()


@pytest.mark.parametrize("color", [WHITE, HALF_BLUE, CLEAR])
def test_nothing_shows_under_an_opaque_image(color: Color) -> None:
    """libvips 8.18.7 drops a band where an opaque image is flattened."""
    image = noise(5, 5)
    assert np.array_equal(done(image, Background(color)), image)


@pytest.mark.parametrize(("color", "pixel"), [(RED, [200, 10, 20]), (HALF_BLUE, [10, 20, 200, 128])])
def test_blank_is_of_one_color(color: Color, pixel: list[int]) -> None:
    out = done(noise(5, 5), SolidColor(Size(3, 2), color))
    assert np.array_equal(out, np.full((2, 3, len(pixel)), pixel, np.uint8))


# fmt: off
OVERLAYS = [
    # left top across down   columns and rows of a 10x8 image that the 3x2 layer covers
    ( 2,  3, False, False, {2, 3, 4},             {3, 4}),
    (-1, -1, False, False, {0, 1},                {0}),
    ( 8,  7, False, False, {8, 9},                {7}),
    (40, 40, False, False, set(),                 set()),
    ( 2,  3, True,  False, set(range(10)),        {3, 4}),
    ( 2,  3, False, True,  {2, 3, 4},             set(range(8))),
    (-4, 20, True,  True,  set(range(10)),        set(range(8))),
]
# fmt: on


@pytest.mark.parametrize(("left", "top", "across", "down", "columns", "rows"), OVERLAYS)
def test_compose_lays_and_tiles(
    left: int, top: int, across: bool, down: bool, columns: set[int], rows: set[int]
) -> None:
    image, layer = noise(10, 8), noise(3, 2, seed=9)
    op = Compose(1, (), left, top, across, down)
    expected = image.copy()
    for y in rows:
        for x in columns:
            expected[y, x] = layer[(y - top) % 2, (x - left) % 3]
    assert np.array_equal(done(image, op, layers={op: frame_of(layer)}), expected)


@pytest.mark.parametrize("bands", [3, 4])
def test_compose_mixes_by_the_layers_alpha(bands: int) -> None:
    layer = noise(5, 5, 4)
    base = np.full((5, 5, bands), (200, 10, 20, 128)[:bands], np.uint8)
    op = Compose(1, (), 0, 0)
    expected = by_hand(Color(200, 10, 20, 128 if bands == 4 else 255), layer)[:, :, :bands]
    assert np.array_equal(done(base, op, layers={op: frame_of(layer)}), expected)


# ---------------------------------------------------------------------------------------------- tone


def half_up(value: Fraction) -> int:
    return min(255, max(0, (2 * value + 1).__floor__() // 2))


def toned(pixel: list[int], brightness: F, contrast: F, saturation: F) -> list[int]:
    """X1 to X3 in exact numbers, one after the other."""
    v = [half_up(p + (255 - p) * brightness / 100 if brightness >= 0 else p * (1 + brightness / 100)) for p in pixel]
    k = F("2.55") * contrast
    v = [half_up(128 + 259 * (k + 255) / (255 * (259 - k)) * (p - 128)) for p in v]
    luminance = F("0.2126") * v[0] + F("0.7152") * v[1] + F("0.0722") * v[2]
    return [half_up(luminance + (p - luminance) * (1 + saturation / 100)) for p in v]


# fmt: off
TONES = [
    # brightness contrast saturation
    ( 30,   0,   0), (-30,   0,   0), (100,   0,   0), (-100,   0,   0),
    (  0,  50,   0), (  0, -50,   0), (  0, 100,   0), (   0, -100,  0),
    (  0,   0,  60), (  0,   0, -60), (  0,   0, 100), (   0,   0, -100),
    ( 12, -34,  56), (-7,  81, -22),
]
# fmt: on


@pytest.mark.parametrize("tone", TONES)
def test_tone_is_the_formula_to_the_level(tone: tuple[int, int, int]) -> None:
    image = noise(40, 40)
    image[0] = (np.arange(40) * 5)[:, None]  # grays with many halves among their results
    brightness, contrast, saturation = (F(part) for part in tone)
    expected = [[toned(pixel, brightness, contrast, saturation) for pixel in row] for row in image.tolist()]
    assert done(image, ColorAdjust(brightness, contrast, saturation)).tolist() == expected


# fmt: off
EXACT = [
    # tone                            pixel            becomes
    (ColorAdjust(F(100), F(0), F(0)),       (1, 2, 3),       (255, 255, 255)),
    (ColorAdjust(F(-100), F(0), F(0)),      (250, 2, 3),     (0, 0, 0)),
    (ColorAdjust(F(50), F(0), F(0)),        (0, 100, 200),   (128, 178, 228)),   # 127.5, 177.5, 227.5: halves up
    (ColorAdjust(F(-50), F(0), F(0)),       (1, 101, 255),   (1, 51, 128)),
    (ColorAdjust(F(0), F(-100), F(0)),      (0, 100, 255),   (128, 128, 128)),
    (ColorAdjust(F(0), F(0), F(-100)),      (255, 0, 0),     (54, 54, 54)),      # 0.2126 of 255 is 54.2
    (ColorAdjust(F(0), F(0), F(-100)),      (90, 90, 90),    (90, 90, 90)),
    (ColorAdjust(F(0), F(0), F(100)),       (100, 100, 110), (99, 99, 119)),     # luminance 100.722
    (ColorAdjust(F(1, 3), F(0), F(0)),      (0, 105, 105),   (1, 106, 106)),     # 0.85, 105.5
]
# fmt: on


@pytest.mark.parametrize(("tone", "pixel", "expected"), EXACT)
def test_tone_of_one_pixel(tone: ColorAdjust, pixel: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert done(np.array([[pixel]], np.uint8), tone)[0, 0].tolist() == list(expected)


def test_tone_leaves_alpha_alone() -> None:
    image = noise(20, 20, 4)
    out = done(image, ColorAdjust(F(30), F(20), F(10)))
    assert np.array_equal(out[:, :, 3], image[:, :, 3])
    assert np.array_equal(out[:, :, :3], done(image[:, :, :3], ColorAdjust(F(30), F(20), F(10))))


# ---------------------------------------------------------------------------------------------- blur


def gaussian(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """The true one, six sigmas wide, in doubles, edge pixels repeated."""
    reach = ceil(6 * sigma)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if at == axis else (0, 0) for at in range(3)]
        image = np.apply_along_axis(lambda line: np.convolve(line, kernel, "valid"), axis, np.pad(image, pad, "edge"))
    return image


@pytest.mark.parametrize("sigma", [F(1, 4), F(1, 2), F(1), F(5, 2), F(6), F(9), F(20), F(60)])
def test_blur_is_the_true_gaussian(sigma: F) -> None:
    image = np.concatenate([noise(60, 50), slopes(60, 50), np.full((50, 60, 3), 255, np.uint8)], axis=1)
    expected = gaussian(image.astype(float), float(sigma))
    assert np.abs(done(image, GaussianBlur(sigma)) - expected).max() <= 2


@pytest.mark.parametrize("sigma", [F(1), F(30), F(500)])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (64, 48)])
def test_blur_leaves_one_color_alone(sigma: F, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 4), (200, 100, 50, 120), np.uint8)
    assert off_by(done(image, GaussianBlur(sigma)), image) <= 1


# fmt: off
MASKS = [
    # sigma   gain    threshold
    (F(1, 2), F(1),    0),
    (F(1),    F(5, 2), 4),
    (F(3),    F(1, 2), 30),
    (F(8),    F(2),    0),
]
# fmt: on


@pytest.mark.parametrize(("sigma", "gain", "threshold"), MASKS)
def test_sharpen_adds_the_mask_where_it_is_large_enough(sigma: F, gain: F, threshold: int) -> None:
    image = slopes(60, 50)
    image[20:30, 20:40] = 255 - image[20:30, 20:40]
    mask = image - gaussian(image.astype(float), float(sigma))
    expected = np.where(np.abs(mask) >= threshold, image + float(gain) * mask, image)
    # a mask that is a hair from the threshold may fall on either side of it
    clear = np.abs(np.abs(mask) - threshold) > 0.6
    wrong = np.abs(done(image, UnsharpMask(sigma, gain, threshold)) - np.clip(expected, 0, 255))
    assert wrong[clear].max() <= 1 + 0.7 * float(gain)


def test_sharpen_leaves_alpha_alone_and_by_nothing_all() -> None:
    image = noise(20, 20, 4)
    assert np.array_equal(done(image, UnsharpMask(F(1), F(2), 0))[:, :, 3], image[:, :, 3])
    assert np.array_equal(done(image, UnsharpMask(F(1), F(0), 0)), image)


# ---------------------------------------------------------------------------------------------- black and white

# fmt: off
CUT_OFFS = [
    # level        pixel            white?
    (F(50),       (127, 127, 127), False),   # 49.8
    (F(50),       (128, 128, 128), True),
    (F(20),       ( 51,  51,  51), True),    # exactly 20: only lower levels are black
    (F(20),       ( 50,  50,  50), False),
    (F(0),        (  0,   0,   0), True),
    (F(100),      (255, 255, 255), True),
    (F(100),      (254, 255, 255), False),
    (F(2126, 100), (255,  0,   0), True),    # the luminance of red, to the last digit
    (F(2127, 100), (255,  0,   0), False),
    (F(7152, 100), (  0, 255,  0), True),
    (F(722, 100), (   0,  0, 255), True),
    (F(723, 100), (   0,  0, 255), False),
]
# fmt: on


@pytest.mark.parametrize(("level", "pixel", "white"), CUT_OFFS)
def test_the_cut_off_is_exact(level: F, pixel: tuple[int, ...], white: bool) -> None:
    out = done(np.array([[pixel]], np.uint8), Bilevel(Threshold(level)))
    assert out[0, 0].tolist() == [255 if white else 0] * 3


@pytest.mark.parametrize("method", [Threshold(), Dither.ATKINSON])
@pytest.mark.parametrize("bands", [3, 4])
def test_only_black_and_white_come_out_and_alpha_stays(method: Threshold | Dither, bands: int) -> None:
    image = noise(31, 17, bands)
    out = done(image, Bilevel(method))
    assert out.shape == image.shape
    assert set(out[:, :, :3].ravel().tolist()) == {0, 255}
    assert np.array_equal(out[:, :, 3:], image[:, :, 3:])
