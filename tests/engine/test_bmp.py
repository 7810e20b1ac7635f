"""BMP: compared with Pillow, and with files that end early or contradict themselves."""

from __future__ import annotations

from struct import pack, pack_into

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cropmark.engine import load
from cropmark.engine.render import render
from cropmark.model.formats import Format
from cropmark.model.problems import SourceUnusable
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.ports import Rendered
from tests.engine.images import Array, pixels, saved, seen, slopes

WIDE, HIGH = 61, 40
PHOTO = Pillow.fromarray(slopes(WIDE, HIGH))


def core(image: Pillow.Image) -> bytes:
    """A file of OS/2, with the shortest header."""
    rows = np.asarray(image)[::-1, :, ::-1]
    padded = np.zeros((HIGH, (WIDE * 3 + 3) // 4 * 4), np.uint8)
    padded[:, : WIDE * 3] = rows.reshape(HIGH, -1)
    return b"BM" + pack("<IIIIHHHH", 26 + padded.size, 0, 26, 12, WIDE, HIGH, 1, 24) + padded.tobytes()


def from_top() -> bytes:
    body = bytearray(saved(PHOTO, "BMP"))
    pack_into("<i", body, 22, -HIGH)
    return bytes(body)


# fmt: off
FILES = {
    "24 bits":  saved(PHOTO, "BMP"),
    "alpha":    saved(PHOTO.convert("RGBA"), "BMP"),   # 32 bits
    "8 bits":   saved(PHOTO.quantize(200), "BMP"),
    "gray":     saved(PHOTO.convert("L"), "BMP"),
    "1 bit":    saved(PHOTO.convert("1"), "BMP"),
    "OS/2":     core(PHOTO),
    "from top": from_top(),
}
# fmt: on


@pytest.mark.parametrize("name", FILES)
def test_the_pixels_are_those_of_pillow(name: str) -> None:
    body = FILES[name]
    info = load.info_of(body)
    assert (info.format, info.size.width, info.size.height, info.lossless) == (Format.BMP, WIDE, HIGH, True)
    frame = load.decode(body, info).frames[0]
    assert bool(frame.hasalpha()) == info.alpha
    assert np.array_equal(pixels(frame)[..., :3], seen(body, "RGB"))
    assert load.decodes_fully(body)


def test_sixteen_colors() -> None:
    indices = np.arange(WIDE * HIGH).reshape(HIGH, WIDE) % 16
    levels = np.arange(16, dtype=np.uint8) * 17
    table = np.stack([levels, levels[::-1], levels, np.zeros(16, np.uint8)], axis=1)
    padded = np.zeros((HIGH, 64), np.uint8)
    padded[:, :WIDE] = indices[::-1]
    rows = (padded[:, ::2] << 4 | padded[:, 1::2]).tobytes()
    head = b"BM" + pack("<III", 118 + len(rows), 0, 118) + pack("<IiiHHIIiiII", 40, WIDE, HIGH, 1, 4, 0, 0, 0, 0, 16, 0)
    body = head + table.tobytes() + rows
    expected: Array = table[indices][..., 2::-1]
    assert np.array_equal(pixels(load.decode(body, load.info_of(body)).frames[0]), expected)


@pytest.mark.parametrize(("stored", "shown"), [(90, 90), (0, 255)])
def test_a_mask_of_alpha_counts_unless_all_of_it_is_zero(stored: int, shown: int) -> None:
    rgba = np.dstack([slopes(WIDE, HIGH), np.full((HIGH, WIDE), stored, np.uint8)])
    masks = pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = b"BM" + pack("<III", 70 + rgba.size, 0, 70) + pack("<IiiHHIIiiII", 56, WIDE, -HIGH, 1, 32, 3, 0, 0, 0, 0, 0)
    body = head + masks + np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]).tobytes()
    info = load.info_of(body)
    assert info.alpha
    frame = pixels(load.decode(body, info).frames[0])
    assert np.array_equal(frame[..., :3], rgba[..., :3])
    assert frame[..., 3].min() == frame[..., 3].max() == shown


PLAIN = FILES["24 bits"]
# fmt: off
BROKEN = {
    "cut":          PLAIN[:-1],
    "head only":    PLAIN[:30],
    "RLE":          PLAIN[:30] + pack("<I", 1) + PLAIN[34:],
    "16 bits":      PLAIN[:28] + pack("<H", 16) + PLAIN[30:],
    "no width":     PLAIN[:18] + bytes(4) + PLAIN[22:],
    "width < 0":    PLAIN[:18] + pack("<i", -WIDE) + PLAIN[22:],
    "huge":         PLAIN[:18] + pack("<ii", 2**31 - 1, 2**31 - 1) + PLAIN[26:],
    "in header":    PLAIN[:10] + pack("<I", 20) + PLAIN[14:],
}
# fmt: on


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_rejected(name: str) -> None:
    with pytest.raises(SourceUnusable):
        load.info_of(BROKEN[name])
    assert not load.decodes_fully(BROKEN[name])


def test_a_bmp_becomes_another_format() -> None:
    outcome = render([PLAIN], Plan((), Output((EncodingChoice(Format.PNG),))))
    assert isinstance(outcome, Rendered)
    assert np.array_equal(seen(outcome.body, "RGB"), slopes(WIDE, HIGH))


@given(st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.integers(2, 80), st.integers(0, 255)), max_size=6))
@settings(max_examples=400, deadline=None)
def test_any_header_is_read_or_rejected(name: str, changes: list[tuple[int, int]]) -> None:
    body = bytearray(FILES[name])
    for at, value in changes:
        body[at] = value
    try:
        info = load.info_of(bytes(body))
    except SourceUnusable:
        return
    if info.format is Format.BMP and info.stored_size.area > 1:
        load.decode(bytes(body), info).frames[0].avg()
