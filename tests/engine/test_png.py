"""The settings for photographs, drawings and gradients, and the bytes that they save."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from cropmark.engine.png import FLAT, PHOTOGRAPH, SMOOTH, Settings, settings_for
from tests.engine.images import Array, frame_of, noise, slopes

PHOTOS = Path(__file__).parents[1] / "data" / "corpus" / "photos"


def photograph() -> Pillow.Image:
    return Pillow.open(PHOTOS / "gc_toucan.jpg").convert("RGB").resize((512, 384))


def screenshot() -> Pillow.Image:
    image = Pillow.new("RGB", (640, 480), "white")
    draw = ImageDraw.Draw(image)
    for line in range(24):
        draw.text(
            (10, 4 + 20 * line), f"{line:3}  def function_{line * 7919 % 1000}(self): return {line} * 31", "black"
        )
    return image


def blurred() -> Pillow.Image:
    return photograph().filter(ImageFilter.GaussianBlur(12))


def photograph_on_white() -> Pillow.Image:
    image = Pillow.new("RGB", (1024, 768), "white")
    image.paste(photograph(), (256, 192))
    return image


# fmt: off
CONTENT = [
    # image                                                  settings
    (np.asarray(photograph()),                               PHOTOGRAPH),
    (np.dstack([np.asarray(photograph()), noise(512, 384, 1)]), PHOTOGRAPH),   # with alpha
    (noise(64, 64),                                          PHOTOGRAPH),
    (np.asarray(screenshot()),                               FLAT),
    (np.asarray(screenshot().resize((320, 240))),            FLAT),
    (np.zeros((300, 300, 4), np.uint8),                      FLAT),
    (np.asarray(blurred()),                                  SMOOTH),
    (np.asarray(photograph_on_white()),                      SMOOTH),   # the photograph is most of the bytes
    (slopes(800, 600),                                       SMOOTH),
]
# fmt: on


@pytest.mark.parametrize(("image", "settings"), CONTENT)
def test_the_settings_for_content(image: Array, settings: Settings) -> None:
    assert settings_for(frame_of(image)) == settings


@pytest.mark.parametrize(("image", "settings"), CONTENT)
def test_the_settings_save_bytes(image: Array, settings: Settings) -> None:
    """Against the fixed settings before: no content is larger by more than a hundredth, screenshots are 8 % smaller."""
    frame = frame_of(image)
    found = len(frame.pngsave_buffer(filter=settings.filter, compression=settings.compression))
    before = len(frame.pngsave_buffer(filter="sub", compression=6))
    assert found <= before * (0.92 if settings == FLAT and image.any() else 1.01) + 100


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (2, 2), (3, 7)])
def test_the_smallest_images_have_settings(size: tuple[int, int]) -> None:
    frame = frame_of(noise(*size))
    assert settings_for(frame).filter in ("none", "sub", "paeth")
