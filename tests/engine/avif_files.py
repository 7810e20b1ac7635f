"""AVIF files with chosen color properties around a real stream: the test writes the boxes, never the tested code."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image as Pillow

from tests.engine.images import Array, saved


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, bytes([version]) + flags.to_bytes(3, "big") + content)


def nclx(primaries: int, transfer: int, matrix: int = 6, *, full_range: bool = True) -> bytes:
    return box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7))


def icc(profile: bytes) -> bytes:
    return box(b"colr", b"prof" + profile)


def content_light(brightest: int, average: int = 100) -> bytes:
    return box(b"clli", struct.pack(">HH", brightest, average))


@dataclass(frozen=True, slots=True)
class Stream:
    """An encoded AV1 image, its configuration box and its size."""

    data: bytes
    config: bytes
    width: int
    height: int


def stream_of(pixels: Array, *, limited: bool = False) -> Stream:
    """The pixels, gray with one band, as Pillow encodes them."""
    height, width, bands = pixels.shape
    image = Pillow.fromarray(pixels[:, :, 0] if bands == 1 else pixels)
    sampling, samples = ("4:0:0" if bands == 1 else "4:4:4"), ("limited" if limited else "full")
    file = saved(image, "AVIF", quality=100, speed=10, subsampling=sampling, range=samples)
    at = file.index(b"av1C")
    length = int.from_bytes(file[at - 4 : at], "big")
    return Stream(file[file.index(b"mdat") + 4 :], file[at - 4 : at - 4 + length], width, height)


@cache
def gray_stream(*, limited: bool = False) -> Stream:
    """All 256 levels from left to right, 16 rows."""
    return stream_of(np.tile(np.arange(256, dtype=np.uint8), (16, 1))[:, :, None], limited=limited)


@cache
def ramp_stream() -> Stream:
    """All 256 grays from left to right in RGB, 16 rows."""
    return stream_of(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (16, 1, 3)))


@cache
def flat_stream(red: int, green: int, blue: int) -> Stream:
    return stream_of(np.full((16, 16, 3), (red, green, blue), np.uint8))


def avif_of(stream: Stream, *properties: bytes, config: bytes | None = None) -> bytes:
    """The stream as a file with these properties after its size and its configuration."""
    size = full_box(b"ispe", struct.pack(">II", stream.width, stream.height))
    boxes = (size, config or stream.config, *properties)
    links = struct.pack(">IHB", 1, 1, len(boxes)) + bytes(range(1, len(boxes) + 1))
    shared = box(b"iprp", box(b"ipco", b"".join(boxes)) + full_box(b"ipma", links))
    return _file([(1, b"av01", stream.data)], shared)


def grid_of(stream: Stream, tile_properties: Sequence[bytes], grid_properties: Sequence[bytes]) -> bytes:
    """A grid of one tile. The tile has its size and configuration, the grid its size."""
    size = full_box(b"ispe", struct.pack(">II", stream.width, stream.height))
    boxes = (size, stream.config, *tile_properties, *grid_properties)
    own = 2 + len(tile_properties)
    tile_links = bytes([own, *range(1, own + 1)])
    grid_links = bytes([1 + len(grid_properties), 1, *range(own + 1, len(boxes) + 1)])
    links = struct.pack(">IH", 2, 1) + grid_links + struct.pack(">H", 2) + tile_links
    shared = box(b"iprp", box(b"ipco", b"".join(boxes)) + full_box(b"ipma", links))
    references = full_box(b"iref", box(b"dimg", struct.pack(">HHH", 1, 1, 2)))
    layout = struct.pack(">BBBBHH", 0, 0, 0, 0, stream.width, stream.height)
    return _file([(1, b"grid", layout), (2, b"av01", stream.data)], shared + references)


def _file(items: Sequence[tuple[int, bytes, bytes]], boxes: bytes) -> bytes:
    """A file of these items (number, type, data); the first is the primary one."""
    head = box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miaf")
    start = len(head) + len(_meta(items, boxes, 0)) + 8
    return head + _meta(items, boxes, start) + box(b"mdat", b"".join(data for _, _, data in items))


def _meta(items: Sequence[tuple[int, bytes, bytes]], boxes: bytes, start: int) -> bytes:
    places, infos = b"", b""
    for number, kind, data in items:
        places += struct.pack(">HHHII", number, 0, 1, start, len(data))
        infos += full_box(b"infe", struct.pack(">HH4sB", number, 0, kind, 0), version=2)
        start += len(data)
    locations = full_box(b"iloc", b"\x44\x00" + struct.pack(">H", len(items)) + places)
    handler = full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
    primary = full_box(b"pitm", struct.pack(">H", items[0][0]))
    information = full_box(b"iinf", struct.pack(">H", len(items)) + infos)
    return full_box(b"meta", handler + primary + locations + information + boxes)
