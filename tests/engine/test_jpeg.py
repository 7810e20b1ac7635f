"""The choice between libjpeg-turbo and libvips, and the visual equality of their results."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import pyvips
from PIL import Image as Pillow

from cropmark.engine import jpeg, load
from cropmark.engine.image import blob
from cropmark.geometry.shrink_on_load import decoded_size
from cropmark.model.values import Size
from tests.engine.images import Array, noise, saved, slopes

WIDTH, HEIGHT = 403, 301
PHOTO = Pillow.fromarray(slopes(WIDTH, HEIGHT))


def by_pillow(image: Pillow.Image = PHOTO, **options: object) -> bytes:
    return saved(image, "JPEG", quality=92, **options)


def with_scans(body: bytes, scans: int) -> bytes:
    """The file with `count` more scan markers inside a comment, which decoders ignore."""
    comment = b"\xff\xda" * scans
    return body[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + body[2:]


def header_of(body: bytes) -> pyvips.Image:
    return pyvips.Image.jpegload_buffer(body)


# fmt: off
PLAIN = {
    "baseline":      by_pillow(),
    "no subsampling": by_pillow(subsampling=0),
    "4:2:0":         by_pillow(subsampling=2),
    "progressive":   by_pillow(progressive=True),
    "gray":          by_pillow(PHOTO.convert("L")),
    "restarts":      by_pillow(restart_marker_rows=1),
    "red comment":   by_pillow(comment=b"\xff\xd8 not another one"),
}
LEFT = {
    "press colors":     by_pillow(PHOTO.convert("CMYK")),
    "very many scans":   with_scans(by_pillow(progressive=True), 33),
    "torn":              by_pillow()[:-900],
    "noise in the data": by_pillow()[:4000] + bytes(range(256)) + by_pillow()[4256:],
}
# fmt: on


def array(image: pyvips.Image) -> Array:
    return np.asarray(image.numpy()).astype(np.int16)


@pytest.mark.parametrize("eighths", [1, 2, 4, 8])
@pytest.mark.parametrize("body", PLAIN.values(), ids=PLAIN)
def test_it_is_read_whole_and_as_libvips_reads_it(body: bytes, eighths: int) -> None:
    scale, info = Fraction(eighths, 8), load.info_of(body)
    size = decoded_size(info, scale)
    ours = jpeg.decode(body, header_of(body), size)
    assert ours is not None
    assert (
        (ours.width, ours.height) == (size.width, size.height) == (-(-WIDTH * eighths // 8), -(-HEIGHT * eighths // 8))
    )
    theirs = load._jpeg_by_libvips(body, size, scale)
    inner = (slice(2, -2), slice(2, -2))  # at the edge the decoders differ in padding
    off = np.abs(array(ours).squeeze()[inner] - array(theirs).squeeze()[inner])
    assert off.mean() < 1.2
    assert off.max() <= 12


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT)
def test_what_is_left_to_libvips(body: bytes) -> None:
    header = header_of(body)
    assert jpeg.decode(body, header, Size(header.width, header.height)) is None


def test_an_image_that_would_fill_the_memory_is_left_to_libvips(monkeypatch: pytest.MonkeyPatch) -> None:
    body = by_pillow()
    monkeypatch.setattr(jpeg, "MAX_WHOLE_JPEG", 100 * 100)
    assert jpeg.decode(body, header_of(body), Size(WIDTH, HEIGHT)) is None
    assert jpeg.decode(body, header_of(body), Size(51, 38)) is not None


def test_both_say_the_same_of_a_torn_file() -> None:
    torn = by_pillow()[:-900]
    with pytest.raises(pyvips.Error):
        load.decode(torn, load.info_of(by_pillow())).frames[0].avg()


def test_metadata_comes_along() -> None:
    exif = Pillow.Exif()
    exif[0x8298] = "somebody"
    body = by_pillow(exif=exif, icc_profile=b"icc" * 50)
    frame = jpeg.decode(body, header_of(body), Size(WIDTH, HEIGHT))
    assert frame is not None
    assert blob(frame, "icc-profile-data") == b"icc" * 50
    assert b"somebody" in blob(frame, "exif-data")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_the_upper_part_is_read_where_no_more_is_looked_at(orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    body = by_pillow(Pillow.fromarray(noise(WIDTH, HEIGHT)), exif=exif)
    info = load.info_of(body)
    upper = load.decode(body, info, reach=Fraction(1, 4)).frames[0]
    whole = load.decode(body, info).frames[0]
    is_stream = bool(upper.get_typeof("vips-sequential"))
    assert is_stream == (orientation in (1, 2))
    assert not whole.get_typeof("vips-sequential")
    rows = info.size.height // 4
    same = array(upper.crop(0, 0, info.size.width, rows)) - array(whole.crop(0, 0, info.size.width, rows))
    assert np.abs(same).max() <= 2
