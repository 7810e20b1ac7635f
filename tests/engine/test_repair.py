"""Files with all of their pixels that lack only their end or have a wrong checksum."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from cropmark.engine import load
from cropmark.engine.render import render
from cropmark.engine.repair import completed
from cropmark.engine.thumbnail import thumbnail_rgb
from cropmark.model.formats import Format, sniff_format
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.ports import Rendered
from tests.engine.images import noise, saved, seen
from tests.hostile.raw import PNG_MARK, chunk, ihdr

PHOTO = Pillow.fromarray(noise(90, 70))
GRAY = PHOTO.convert("L")
INK = PHOTO.convert("CMYK")
BASELINE = saved(PHOTO, "JPEG", quality=90)
PROGRESSIVE = saved(PHOTO, "JPEG", quality=90, progressive=True)


def without_end(jpeg: bytes, cut: int = 2) -> bytes:
    return jpeg[:-cut]


def png(stream: bytes, head: bytes = ihdr(90, 70), *, end: bytes = chunk(b"IEND")) -> bytes:
    return PNG_MARK + head + chunk(b"IDAT", stream) + end


RAW = b"".join(b"\0" + row.tobytes() for row in np.asarray(PHOTO))
STREAM = zlib.compress(RAW)
PNG = png(STREAM)
BAD_SUM = STREAM[:-4] + b"sums"
IDAT_END = len(chunk(b"IEND"))

# fmt: off
COMPLETED = {
    # body,                                                     the same image in a healthy file
    "jpeg":                (without_end(BASELINE),                                  BASELINE),
    "half an end":         (without_end(BASELINE, 1),                               BASELINE),
    "progressive":         (without_end(PROGRESSIVE),                               PROGRESSIVE),
    "gray":                (without_end(saved(GRAY, "JPEG")),                       saved(GRAY, "JPEG")),
    "restarts":            (without_end(saved(PHOTO, "JPEG", restart_marker_blocks=3)),
                            saved(PHOTO, "JPEG", restart_marker_blocks=3)),
    "ink":                 (without_end(saved(INK, "JPEG", quality=90)),            saved(INK, "JPEG", quality=90)),
    "wrong Adler-32":      (png(BAD_SUM),                                           PNG),
    "no Adler-32":         (png(STREAM[:-4]),                                       PNG),
    "ends in Adler-32":    (PNG[: -IDAT_END - 4 - 2],                               PNG),
    "ends after deflate":  (PNG[: -IDAT_END - 4 - 4],                               PNG),
    "ends in the chunk's checksum": (PNG[: -IDAT_END - 2],                          PNG),
    "wrong chunk checksum": (PNG_MARK + ihdr(90, 70) + chunk(b"IDAT", STREAM)[:-4] + b"sums" + chunk(b"IEND"), PNG),
    "two chunks":          (PNG[:33] + chunk(b"IDAT", STREAM[:999]) + chunk(b"IDAT", BAD_SUM[999:]), PNG),
    "palette":             (png(zlib.compress(b"\0\x80" * 8)[:-4] + b"sums", ihdr(1, 8, 1, 0)),
                            png(zlib.compress(b"\0\x80" * 8), ihdr(1, 8, 1, 0))),
}
LACKING = {
    "jpeg, half":          BASELINE[: len(BASELINE) // 2],
    "jpeg, one byte":      without_end(BASELINE, 3),
    "gray, one byte":      without_end(saved(GRAY, "JPEG"), 3),
    "gray, last blocks":   without_end(saved(GRAY, "JPEG"), 40),
    "ink, last blocks":    without_end(saved(INK, "JPEG", quality=90), 40),
    "progressive, half":   PROGRESSIVE[: len(PROGRESSIVE) // 2],
    "jpeg, only a start":  b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "png, half":           PNG[: len(PNG) // 2],
    "png, deflate":        PNG[: -IDAT_END - 4 - 4 - 1],
    "png, last row":       png(zlib.compress(RAW[:-271])),
    "png, both checksums": PNG_MARK + ihdr(90, 70) + chunk(b"IDAT", BAD_SUM)[:-4] + b"sums" + chunk(b"IEND"),
    "png, wrong Adler-32 and cut": PNG_MARK + ihdr(90, 70) + chunk(b"IDAT", BAD_SUM)[:-4],
    "png, other data":     png(b"\x78\x9c" + b"junk" * 20),
    "png, no pixels":      PNG_MARK + ihdr(90, 70) + chunk(b"IEND"),
    "png, unknown kind":   png(BAD_SUM, ihdr(90, 70, 8, 7)),
    "png, a bomb":         png(zlib.compress(bytes(2**20))[:-4] + b"sums", ihdr(4, 4)),
    "gif":                 saved(GRAY, "GIF")[:-9],
}
# fmt: on


def completed_file(body: bytes) -> bytes | None:
    stored_as = sniff_format(body)
    assert stored_as is not None
    return completed(body, stored_as)


@pytest.mark.parametrize("name", COMPLETED)
def test_a_file_with_all_pixels_is_completed(name: str) -> None:
    body, healthy = COMPLETED[name]
    whole = completed_file(body)
    assert whole is not None
    assert np.array_equal(seen(whole), seen(healthy))
    assert load.decodes_fully(whole)
    assert completed_file(whole) is None


@pytest.mark.parametrize("name", LACKING)
def test_a_file_that_lacks_a_pixel_is_not(name: str) -> None:
    assert completed_file(LACKING[name]) is None


def test_a_progressive_jpeg_without_its_last_scans_is_not() -> None:
    """Every block is there, but coarse, and without colors at first."""
    scans = [found.start() for found in re.finditer(b"\xff\xda", PROGRESSIVE)]
    assert len(scans) > 5
    assert [completed_file(PROGRESSIVE[:at]) for at in scans] == [None] * len(scans)


def test_adam7_is_counted() -> None:
    """8 by 8 gray pixels: the rows of the seven passes have 1, 1, 2, 2, 4, 4 and 8 samples."""
    rows = (1, 1, 2, *[2] * 2, *[4] * 2, *[4] * 4, *[8] * 4)
    raw = b"".join(b"\0" + bytes(samples) for samples in rows)
    head = ihdr(8, 8, 8, 0, interlaced=True)
    stream = zlib.compress(raw)[:-4] + b"sums"
    assert completed_file(png(stream, head)) is not None
    assert completed_file(png(zlib.compress(raw[:-1])[:-4] + b"sums", head)) is None


NOT_DECODED = ("jpeg, only a start", "png, a bomb")
"""The first fails earlier; of the second, libpng reads no more than it needs."""
PLAN = Plan(output=Output((EncodingChoice(Format.PNG),)))


@pytest.mark.parametrize("name", COMPLETED)
def test_it_is_rendered(name: str) -> None:
    body, healthy = COMPLETED[name]
    result, expected = (render([each], PLAN) for each in (body, healthy))
    assert isinstance(result, Rendered)
    assert isinstance(expected, Rendered)
    assert np.array_equal(seen(result.body), seen(expected.body))
    assert result.facts.source is not None
    assert result.facts.source.bytes == len(body)


@pytest.mark.parametrize("name", [name for name in LACKING if name not in NOT_DECODED])
def test_half_an_image_is_rejected(name: str) -> None:
    with pytest.raises(SourceUnusable, match="broken"):
        render([LACKING[name]], PLAN)


def test_it_is_analyzed_too() -> None:
    for name in ("jpeg", "wrong Adler-32"):
        body, healthy = COMPLETED[name]
        assert thumbnail_rgb(body, 30) == thumbnail_rgb(healthy, 30)
        assert thumbnail_rgb(body, 30)[1] == Size(30, 23)
