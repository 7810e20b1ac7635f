"""Stills of sources with a palette: exact if they have few colors, else as many colors as fit into the bytes."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from cropmark.engine import large_indexed, load, save
from cropmark.engine.image import DecodedImage, with_profile
from cropmark.engine.render import render
from cropmark.engine.save import encode
from cropmark.engine.small import small_png
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import Rendered
from tests.engine.images import Array, file_of, frame_of, p3_profile, rng, saved, seen, slopes
from tests.geometry.plans import px

WIDTH, HEIGHT = 90, 60


@pytest.fixture(autouse=True, params=["as a whole", "in strips"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Large frames are encoded in strips; here all PNGs and GIFs are encoded in both ways."""
    if request.param == "in strips":
        monkeypatch.setattr(save, "MAX_WHOLE_FEW_COLORS", 0)
        monkeypatch.setattr(large_indexed, "_STRIP_PIXELS", 1400)
        monkeypatch.setattr(large_indexed, "_GIF_STRIP_PIXELS", 21_000)
    return str(request.param)


def png_of(pixels: Array, max_bytes: int) -> bytes:
    return encode(DecodedImage((frame_of(pixels),)), Encoding(Format.PNG, 85, max_bytes=max_bytes))


def of_colors(count: int, bands: int) -> Array:
    colors = rng().integers(0, 256, (count, bands)).astype(np.uint8)
    places = np.concatenate([np.arange(count), rng(1).integers(0, count, WIDTH * HEIGHT - count)])
    pixels: Array = colors[places].reshape(HEIGHT, WIDTH, bands)
    return pixels


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 256])  # 1, 2, 4 and 8 bits
@pytest.mark.parametrize("bands", [3, 4])
def test_up_to_256_colors_are_exact(count: int, bands: int) -> None:
    pixels = of_colors(count, bands)
    body = png_of(pixels, 10**6)
    assert Pillow.open(BytesIO(body)).mode == "P"
    assert np.array_equal(seen(body, "RGBA")[..., :bands], pixels)
    assert load.info_of(body).palette


def test_more_colors_stay_exact_if_they_fit() -> None:
    pixels = of_colors(257, 3)
    assert Pillow.open(BytesIO(png_of(pixels, 10**6))).mode == "RGB"
    assert np.array_equal(seen(png_of(pixels, 10**6), "RGB"), pixels)


@pytest.mark.parametrize(("count", "mode"), [(16, "P"), (17, "L"), (256, "L")])
def test_levels_of_gray_are_exact(count: int, mode: str) -> None:
    """More than 16 levels need 8 bits in a palette too, which has no filter."""
    levels = (np.arange(WIDTH * HEIGHT) % count * 255 // (count - 1)).astype(np.uint8)
    gray = np.repeat(levels.reshape(HEIGHT, WIDTH, 1), 3, axis=2)
    body = png_of(gray, 10**6)
    assert Pillow.open(BytesIO(body)).mode == mode
    assert np.array_equal(seen(body, "RGB"), gray)


def test_a_gray_photograph_is_smaller_than_with_a_palette() -> None:
    gray = np.repeat(slopes(300, 200)[..., 2:], 3, axis=2)
    assert len(png_of(gray, 10**6)) < 0.8 * len(saved(Pillow.fromarray(gray[..., 0]).convert("P"), "PNG"))


@pytest.mark.parametrize("kind", [Format.PNG, Format.GIF])
def test_colors_are_reduced_until_the_file_fits(kind: Format) -> None:
    scene = DecodedImage((frame_of(slopes(300, 200)),))
    sizes, errors = [], []
    for limit in (30_000, 6_000, 3_000):
        body = encode(scene, Encoding(kind, 85, max_bytes=limit))
        sizes.append(len(body) / limit)
        errors.append(np.abs(seen(body, "RGB").astype(int) - slopes(300, 200)).mean())
    assert max(sizes) <= 1
    assert errors == sorted(errors)
    assert errors[0] < 6


def test_only_a_png_with_a_profile_is_not_reduced() -> None:
    """PixLab's results have the profile of the source, but most sources with a palette have none."""
    frame = frame_of(slopes(WIDTH, HEIGHT))
    encoding = Encoding(Format.PNG, 85, max_bytes=700, metadata=frozenset({KeepMetadata.ICC}))
    assert len(encode(DecodedImage((frame,)), encoding)) <= 700
    body = encode(DecodedImage((with_profile(frame, p3_profile()),)), encoding)
    assert np.array_equal(seen(body, "RGB"), slopes(WIDTH, HEIGHT))


def test_where_nothing_fits_the_smallest_is_sent() -> None:
    body = png_of(slopes(WIDTH, HEIGHT), 10)
    assert len(set(map(tuple, seen(body, "RGB").reshape(-1, 3)))) <= 4


def test_transparent_pixels_stay_transparent() -> None:
    pixels = np.concatenate([slopes(WIDTH, HEIGHT), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=2)
    pixels[:, :30, 3] = 0
    shown = seen(small_png(pixels, b"x" * 10**6, 4000), "RGBA")
    assert np.array_equal(shown[..., 3] < 128, pixels[..., 3] < 128)
    assert np.abs(shown[:, 30:, :3].astype(int) - pixels[:, 30:, :3]).mean() < 12


@pytest.mark.parametrize("kind", [Format.PNG, Format.GIF])
@pytest.mark.parametrize("limit", [1, 100, 10_000])
def test_an_image_without_an_opaque_pixel_is_transparent(kind: Format, limit: int) -> None:
    clear = DecodedImage((frame_of(np.zeros((HEIGHT, WIDTH, 4), np.uint8)),))
    shown = seen(encode(clear, Encoding(kind, 85, max_bytes=limit)), "RGBA")
    assert shown.shape == (HEIGHT, WIDTH, 4)
    assert not shown[..., 3].any()


def waves(width: int, height: int) -> Pillow.Image:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    bands = [np.sin(across / 23) * np.cos(down / 31), np.sin((across + down) / 41), np.cos(across / 17 - down / 29)]
    return Pillow.fromarray((127 + 120 * np.stack(bands, axis=2)).astype(np.uint8))


def text() -> Pillow.Image:
    """Black text on white, one bit for each pixel."""
    page = Pillow.new("1", (300, 300), 1)
    for y in range(4, 290, 12):
        ImageDraw.Draw(page).text((4, y), f"line {y}: the quick brown fox jumps over {y * 7919 % 10007} dogs", fill=0)
    return page


# fmt: off
SOURCES: dict[str, Callable[[], bytes]] = {
    "32 colors":     lambda: saved(waves(300, 300).quantize(32), "PNG", optimize=True),
    "two colors":    lambda: saved(waves(300, 300).quantize(2), "PNG", optimize=True),
    "few colors":    lambda: saved(waves(300, 300).quantize(6), "PNG", optimize=True),
    "1-bit text":     lambda: saved(text(), "PNG", optimize=True),
    "8-bit text":    lambda: saved(text().convert("L"), "PNG", optimize=True),
    "gray waves":    lambda: saved(waves(300, 300).convert("L").quantize(16).convert("L"), "PNG", optimize=True),
    "GIF":           lambda: saved(waves(300, 300).quantize(64), "GIF"),
}
# fmt: on


@pytest.mark.parametrize("new_source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("width", [299, 200, 100])
def test_a_resized_palette_image_has_at_most_three_times_the_bytes(new_source: Callable[[], bytes], width: int) -> None:
    """Or a kilobyte, where that is more."""
    body = new_source()
    for choice in (EncodingChoice(), EncodingChoice(Format.PNG)):
        outcome = render([body], Plan((Resize(px(width), None),), Output((choice,))))
        assert isinstance(outcome, Rendered)
        assert len(outcome.body) <= max(3 * len(body) * width * width / 300**2, 1024)


def test_a_photograph_is_not_reduced() -> None:
    body = file_of(slopes(300, 200))
    outcome = render([body], Plan((), Output((EncodingChoice(Format.PNG),))))
    assert isinstance(outcome, Rendered)
    assert np.array_equal(seen(outcome.body, "RGB"), slopes(300, 200))
