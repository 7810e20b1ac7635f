"""HDR to sRGB. The expected values are those that Chromium 156 shows on a screen without HDR."""

from __future__ import annotations

import numpy as np
import pytest
from pyvips import Image

from cropmark.engine.color_tags import HdrColors, HdrTransfer
from cropmark.engine.tone_map import hdr_colors, tone_mapped, with_hdr_colors
from tests.engine.images import Array, pixels

PQ, HLG = HdrTransfer.PQ, HdrTransfer.HLG


def image_of(array: Array) -> Image:
    """The array as an engine frame, gray with one or two bands."""
    height, width, bands = array.shape
    kind = "b-w" if bands < 3 else "srgb"
    held = np.ascontiguousarray(array).tobytes()
    return Image.new_from_memory(held, width, height, bands, "uchar").copy(interpretation=kind)


def mapped(colors: HdrColors, *samples: tuple[int, ...]) -> Array:
    row: Array = pixels(tone_mapped(image_of(np.array([samples], np.uint8)), colors))[0]
    return row


# fmt: off
GRAYS = {
    # colors                      sample: result
    HdrColors(9, PQ, 1000):      {20: 1, 60: 26, 100: 76, 130: 137, 148: 187, 160: 213, 180: 242, 192: 255, 255: 255},
    HdrColors(9, PQ, 500):       {20: 2, 60: 32, 100: 91, 130: 162, 148: 220, 160: 242, 180: 255},
    HdrColors(9, PQ, 203):       {20: 3, 60: 39, 100: 107, 130: 188, 148: 255},
    HdrColors(9, HLG, 1000):     {20: 5, 60: 39, 100: 75, 128: 99, 140: 111, 160: 135, 190: 185, 210: 214, 255: 255},
    HdrColors(9, HLG, 400):      {20: 8, 60: 50, 100: 93, 140: 137, 160: 166, 190: 227, 210: 250},
}
COLORS = (
    # colors                     sample           result
    (HdrColors(9, PQ, 1000),     (148, 100, 50),  (229, 40, 0)),
    (HdrColors(9, PQ, 1000),     (200, 180, 150), (255, 175, 95)),
    (HdrColors(9, PQ, 1000),     (120, 160, 200), (0, 137, 255)),
    (HdrColors(12, PQ, 1000),    (148, 100, 50),  (202, 67, 0)),
    (HdrColors(9, HLG, 1000),    (148, 100, 50),  (133, 70, 26)),
    (HdrColors(9, HLG, 1000),    (120, 160, 200), (42, 138, 197)),
    (HdrColors(1, HLG, 1000),    (200, 100, 50),  (187, 80, 39)),
)
# fmt: on


@pytest.mark.parametrize("colors", GRAYS)
def test_grays(colors: HdrColors) -> None:
    samples = GRAYS[colors]
    out = mapped(colors, *((level,) * 3 for level in samples))
    assert np.abs(out.astype(int) - np.array([[level] * 3 for level in samples.values()])).max() <= 1


@pytest.mark.parametrize(("colors", "sample", "expected"), COLORS)
def test_colors(colors: HdrColors, sample: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    assert np.abs(mapped(colors, sample)[0].astype(int) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("peak_nits", [1, 203, 204, 400, 1000, 4000, 10_000])
@pytest.mark.parametrize("transfer", HdrTransfer)
def test_more_light_is_never_darker_and_white_is_bright(transfer: HdrTransfer, peak_nits: int) -> None:
    out = mapped(HdrColors(9, transfer, peak_nits), *((level,) * 3 for level in range(256)))[:, 0].astype(int)
    assert np.diff(out).min() >= 0
    white = 148 if transfer is PQ else 192  # 203 cd/m2
    assert out[white] >= 186
    assert (out[0], out[255] >= 210) == (0, True)


def test_gray_becomes_rgb_and_alpha_is_kept() -> None:
    assert mapped(HdrColors(9, PQ, 1000), (148, 77))[0].tolist() == [187, 187, 187, 77]
    wide = (image_of(np.array([[[148, 148, 148, 77]]], np.uint8)) * 257).cast("ushort").copy(interpretation="rgb16")
    out = pixels(tone_mapped(wide, HdrColors(9, PQ, 1000)))
    assert out[0, 0].tolist() == [187, 187, 187, 77]


def test_the_note_stays_with_the_geometry() -> None:
    noted = with_hdr_colors(image_of(np.zeros((8, 8, 3), np.uint8)), HdrColors(12, HLG, 600))
    assert hdr_colors(noted.crop(0, 0, 4, 4).resize(0.5).rot90()) == HdrColors(12, HLG, 600)
    assert hdr_colors(image_of(np.zeros((8, 8, 3), np.uint8))) is None
    assert hdr_colors(tone_mapped(noted, HdrColors(12, HLG, 600))) is None
