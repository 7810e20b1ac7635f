"""Windows with fractional edges, resampled: pixels are where they belong, and none outside the frame's is seen."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from pyvips import Image

from cropmark.engine.resize import scale
from cropmark.geometry.region import Region
from cropmark.model.values import Size
from cropmark.plan.steps import Filter
from tests.engine.images import frame_of, noise, off_by, pixels

F = Fraction
SMOOTH = [Filter.LINEAR, Filter.CUBIC, Filter.LANCZOS2, Filter.LANCZOS3]


def region(left: str, top: str, width: str, height: str) -> Region:
    return Region(F(left), F(top), F(width), F(height))


# fmt: off
WINDOWS = [
    # window of 200x160                        to
    (region("0.5", "0.25", "199", "159"),      Size(80, 60)),     # shrunk
    (region("0.7", "0", "199.3", "160"),       Size(199, 80)),    # across by less than half a pixel
    (region("10.4", "20.6", "60.5", "40.25"),  Size(181, 161)),   # enlarged
    (region("10.4", "20.6", "120.5", "20.25"), Size(60, 81)),     # shrunk across, enlarged down
    (region("0.5", "0.5", "100", "159"),       Size(100, 50)),    # moved by half a pixel across
    (region("0", "0", "200", "160"),           Size(50, 40)),
]
# fmt: on


def positions() -> Image:
    """A frame of 200x160. The value of each pixel is its own position, in 200ths of a pixel."""
    return (Image.xyz(200, 160) * 200 + 100).cast("float").copy_memory()


@pytest.mark.parametrize("kernel", SMOOTH)
@pytest.mark.parametrize(("window", "size"), WINDOWS)
def test_a_window_is_in_its_place(window: Region, size: Size, kernel: Filter) -> None:
    found = scale(positions(), size, kernel, window).numpy() / 200
    across = float(window.left) + (np.arange(size.width) + 0.5) * float(window.width / size.width)
    down = float(window.top) + (np.arange(size.height) + 0.5) * float(window.height / size.height)
    inner = (slice(size.height // 8, -size.height // 8), slice(size.width // 8, -size.width // 8))
    errors = (
        (found[inner][..., 0] - across[inner[1]]) / float(window.width / size.width),
        (found[inner][..., 1] - down[inner[0], None]) / float(window.height / size.height),
    )
    for error in errors:
        assert np.abs(error).max() <= 0.08  # no kernel but "linear" reproduces a slope exactly
        assert abs(error.mean()) <= 0.03


@pytest.mark.parametrize(("window", "size"), WINDOWS)
def test_nearest_takes_the_pixels_at_the_centers(window: Region, size: Size) -> None:
    image = noise(200, 160)
    columns = [floor(window.left + (at + F(1, 2)) * window.width / size.width) for at in range(size.width)]
    rows = [floor(window.top + (at + F(1, 2)) * window.height / size.height) for at in range(size.height)]
    out = pixels(scale(frame_of(image), size, Filter.NEAREST, window))
    different = (out != image[rows][:, columns]).any(axis=2)
    # A center on the edge of two pixels, or closer to it than libvips' grid is to the window, may take either.
    assert different.mean() <= 0.07
    assert different.mean(axis=0).min() == different.mean(axis=1).min() == 0


@pytest.mark.parametrize("kernel", SMOOTH)
@pytest.mark.parametrize(("window", "size"), WINDOWS)
def test_one_color_remains_one_color(window: Region, size: Size, kernel: Filter) -> None:
    image = np.full((160, 200, 4), (200, 100, 50, 255), np.uint8)
    out = pixels(scale(frame_of(image), size, kernel, window))
    assert off_by(out, np.broadcast_to(image[0, 0], out.shape)) == 0


def test_nothing_changes_without_a_change() -> None:
    frame = frame_of(noise(20, 10))
    assert scale(frame, Size(20, 10), Filter.LANCZOS3, Region.from_size(Size(20, 10))) is frame
