"""TIFF: files in CIE L*a*b*, and files that are read in place."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

from cropmark.engine import load
from cropmark.engine.tiff import Lab, is_8_bit_cie_lab, lab_variant
from cropmark.runtime.reads import Data, FileBytes
from tests.engine.decoding import srgb
from tests.engine.images import file_of, frame_of, saved, slopes

# The same colors as L*, a*, b* (D65) and in sRGB.
COLORS = ((0, 0, 0), (255, 255, 255), (119, 119, 119), (200, 100, 50), (20, 160, 90), (60, 60, 200))
LABS = (
    (0.0, 0.0, 0.0),
    (100.0, 0.0, 0.0),
    (50.03, 0.0, 0.0),
    (53.63, 36.31, 45.38),
    (58.06, -50.83, 26.94),
    (34.72, 44.8, -72.32),
)


def samples(variant: Lab, bits: int) -> NDArray[np.generic]:
    """The colors as TIFF stores them."""
    lab = np.array(LABS)
    unit = 1 if bits == 8 else 256
    largest = 255 if bits == 8 else 65535 if variant is Lab.CIE else 65280
    lightness = lab[:, :1] * largest / 100
    rest = lab[:, 1:] * unit if variant is Lab.CIE else (lab[:, 1:] + 128) * unit
    stored: NDArray[np.generic] = np.rint(np.hstack([lightness, rest])).astype(np.int64).astype(f"uint{bits}")
    return stored


def tiff_of(
    rows: NDArray[np.generic], model: int, *, order: Literal["<", ">"] = "<", big: bool = False, alpha: bool = False
) -> bytes:
    """One row of pixels as an uncompressed TIFF or BigTIFF."""
    width, bands = rows.shape
    bits = rows.itemsize * 8
    data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    start = 16 if big else 8
    depths = struct.pack(f"{order}{bands}H", *[bits] * bands)
    tags = [(256, 1, width), (257, 1, 1), (258, bands, None), (259, 1, 1), (262, 1, model), (273, 1, start)]
    tags += [(277, 1, bands), (278, 1, 1), (279, 1, len(data)), (284, 1, 1), *([(338, 1, 2)] if alpha else [])]
    count, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    body = b""
    for tag, length, value in tags:
        short = struct.pack(f"{order}H", value) if value is not None else depths
        field = short if len(short) <= inline else struct.pack(order + ("Q" if big else "I"), start + len(data))
        body += struct.pack(order + entry, tag, 3, length) + field.ljust(inline, b"\0")
    directory = start + len(data) + len(depths)
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(f"{order}HHHQ", 43, 8, 0, directory) if big else struct.pack(f"{order}HI", 42, directory)
    return mark + version + data + depths + struct.pack(order + count, len(tags)) + body + bytes(8)


@pytest.mark.parametrize("variant", Lab)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_lab_becomes_srgb(variant: Lab, bits: int, order: Literal["<", ">"], big: bool) -> None:
    out = srgb(tiff_of(samples(variant, bits), variant.value, order=order, big=big))[0].astype(int)
    # 8-bit samples have steps of half a unit of L*, a* and b*.
    assert np.abs(out - np.array(COLORS)).max() <= (4 if bits == 8 else 1)


def test_alpha_is_read_too() -> None:
    row = np.hstack([samples(Lab.CIE, 8), np.full((6, 1), 99, np.uint8)])
    out = srgb(tiff_of(row, Lab.CIE.value, alpha=True))[0].astype(int)
    assert (out[:, 3] == 99).all()
    assert np.abs(out[:, :3] - np.array(COLORS)).max() <= 4


def test_a_file_of_another_writer() -> None:
    photo = Pillow.fromarray(slopes(40, 30))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(photo, *profiles, outputMode="LAB")
    assert lab is not None
    assert np.abs(srgb(saved(lab, "TIFF")).astype(int) - np.asarray(photo)).mean() < 3


@pytest.mark.parametrize(
    ("body", "variant", "is_8_bit"),
    [
        (tiff_of(samples(Lab.CIE, 8), 8), Lab.CIE, True),
        (tiff_of(samples(Lab.CIE, 16), 8), Lab.CIE, False),
        (tiff_of(samples(Lab.ICC, 8), 9), Lab.ICC, False),
        (file_of(slopes(4, 4), "TIFF"), None, False),
        (b"II*\0", None, False),
        (b"II*\0\xff\xff\xff\xff", None, False),
        (b"MM\0+" + bytes(60), None, False),
    ],
)
def test_the_variant(body: bytes, variant: Lab | None, is_8_bit: bool) -> None:
    assert (lab_variant(body), is_8_bit_cie_lab(body)) == (variant, is_8_bit)


# ---------------------------------------------------------------------------------------------- files in place


def in_file(tmp_path: Path, body: bytes) -> FileBytes:
    path = tmp_path / str(len(list(tmp_path.iterdir())))
    path.write_bytes(body)
    return FileBytes(os.open(path, os.O_RDONLY), len(body))


def decoded(data: Data) -> bytes:
    return bytes(load.decode(data, load.info_of(data)).frames[0].write_to_memory())


TILES = frame_of(slopes(1000, 700))
IN_FILES = {
    "strips": file_of(slopes(300, 200), "TIFF"),
    "tiles": bytes(TILES.tiffsave_buffer(tile=True, tile_width=128, tile_height=128)),
    "pyramid": bytes(TILES.tiffsave_buffer(tile=True, pyramid=True, tile_width=128, tile_height=128)),
    "compressed": bytes(TILES.tiffsave_buffer(compression="lzw")),
    "big": bytes(TILES.tiffsave_buffer(bigtiff=True)),
    "8-bit L*a*b*": tiff_of(samples(Lab.CIE, 8), 8),
    "8-bit L*a*b*, big-endian": tiff_of(samples(Lab.CIE, 8), 8, order=">"),
}


@pytest.mark.parametrize("name", IN_FILES)
def test_a_file_is_read_in_place_with_the_same_pixels(tmp_path: Path, name: str) -> None:
    body = IN_FILES[name]
    source = in_file(tmp_path, body)
    assert load.info_of(source) == load.info_of(body)
    assert decoded(source) == decoded(body)
    source.close()


def test_check_61_a_tile_reads_its_own_bytes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = 0, os.pread

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        nonlocal read
        piece = real(descriptor, count, offset)
        read += len(piece)
        return piece

    body = IN_FILES["tiles"]
    source = in_file(tmp_path, body)
    monkeypatch.setattr(os, "pread", pread)
    frame = load.decode(source, load.info_of(source)).frames[0]
    tile = frame.crop(640, 512, 128, 128)
    assert tile.write_to_memory() == TILES.crop(640, 512, 128, 128).write_to_memory()
    assert read < 12 * 128 * 128  # of 2.1 MB
    source.close()


@pytest.mark.parametrize("name", ["strips", "tiles"])
def test_a_file_that_became_shorter_is_broken(tmp_path: Path, name: str) -> None:
    body = IN_FILES[name]
    source = in_file(tmp_path, body)
    frame = load.decode(source, load.info_of(source)).frames[0]
    os.truncate(tmp_path / "0", len(body) // 2)
    with pytest.raises(pyvips.Error):
        frame.write_to_memory()
    source.close()


def test_a_closed_file_gives_no_bytes_to_an_image_that_is_left(tmp_path: Path) -> None:
    """Its descriptor's number may belong to the next source."""
    source = in_file(tmp_path, IN_FILES["tiles"])
    frame = load.decode(source, load.info_of(source)).frames[0]
    source.close()
    with pytest.raises(pyvips.Error):
        frame.write_to_memory()
