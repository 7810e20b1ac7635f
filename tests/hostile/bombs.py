"""Decompression bombs: sizes without pixels, streams that expand without end, endless frames.

Most must be rejected by their header. The files in `heavy` are within every limit, or nearly; each must give an image
or a clear error within the timeout.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache

from PIL import Image

from tests.engine import heic_files
from tests.hostile import raw, seeds
from tests.hostile.raw import GifFrame, chunk, idat, ihdr, png, tiff, tiff_tags

SIZES = ((12001, 1), (1, 12001), (1, 65535), (65535, 1), (30000, 30000), (65535, 65535))
HUGE = ((2**31 - 1, 1), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (2**31, 2**31), (2**32 - 1, 2**32 - 1))


@cache
def refused() -> Mapping[str, bytes]:
    """Files that must be rejected before a decoder starts."""
    return {**_claims(), **_zero_sides(), **_streams(), **_many_frames()}


def _claims() -> dict[str, bytes]:
    torn = seeds.torn_seeds()
    found: dict[str, bytes] = {}
    for width, height in SIZES:
        size = f"claims-{width}x{height}"
        found |= {
            f"{size}.jpg": raw.jpeg_sized(torn["baseline.jpg"], width, height),
            f"{size}-progressive.jpg": raw.jpeg_sized(torn["progressive.jpg"], width, height),
            f"{size}.png": png(ihdr(width, height), idat(bytes(64))),
            f"{size}.gif": raw.gif_sized(width, height),
            f"{size}.tiff": tiff(tiff_tags(width, height), bytes(8)),
            f"{size}.avif": raw.avif_sized(torn["plain.avif"], width, height),
            f"{size}.heic": raw.avif_sized(torn["photo.heic"], width, height),
        }
        if max(width, height) <= 16383:
            found[f"{size}.webp"] = raw.vp8(width, height)
        if min(width, height) > 1:
            found[f"{size}-canvas.webp"] = raw.webp_moving(width, height, torn["lossy.webp"], 2)
    for width, height in HUGE:
        size = f"claims-{width}x{height}"
        found |= {
            f"{size}.png": png(ihdr(width, height), idat(bytes(64))),
            f"{size}.tiff": tiff(tiff_tags(width, height), bytes(8)),
            f"{size}.avif": raw.avif_sized(torn["plain.avif"], width, height),
        }
    return found | {
        "claims-16383x16383.webp": raw.vp8(16383, 16383),
        "claims-16384x16384-lossless.webp": raw.vp8l(16384, 16384),
        "claims-11999x11999.jpg": raw.jpeg_sized(torn["baseline.jpg"], 11999, 11999),
        "claims-11999x11999.gif": raw.gif_sized(11999, 11999),
        "claims-400x300.gif": raw.gif_sized(400, 300),
        "claims-11999x11999.webp": raw.vp8(11999, 11999),
        "claims-11999x11999-lossless.webp": raw.vp8l(11999, 11999),
        "claims-11999x11999.avif": raw.avif_sized(torn["plain.avif"], 11999, 11999),
        "claims-11999x11999.heic": raw.avif_sized(torn["photo.heic"], 11999, 11999),
        "grid-of-65025-tiles.heic": heic_files.grid(255, 255, 24480, 16320),
        "claims-11999x11999.png": png(ihdr(11999, 11999), idat(bytes(64))),
        "claims-50000x50000-without-data.png": png(ihdr(50000, 50000, 1, raw.GRAY)),
        "claims-11999x11999-without-data.png": png(ihdr(11999, 11999, 1, raw.GRAY), end=False),
        "strips-1x65535.tiff": tiff(tiff_tags(1, 65535, rows=1), bytes(8)),
        "bands-65535.tiff": tiff(tiff_tags(9, 9, bands=65535), bytes(8)),
    }


def _zero_sides() -> dict[str, bytes]:
    torn = seeds.torn_seeds()
    found: dict[str, bytes] = {}
    for width, height in ((0, 0), (0, 9), (9, 0)):
        size = f"zero-{width}x{height}"
        found |= {
            f"{size}.jpg": raw.jpeg_sized(torn["baseline.jpg"], width, height),
            f"{size}.png": png(ihdr(width, height), idat(bytes(64))),
            f"{size}.webp": raw.vp8(width, height),
            f"{size}.tiff": tiff(tiff_tags(width, height), bytes(8)),
            f"{size}.avif": raw.avif_sized(torn["plain.avif"], width, height),
        }
    return found


def _streams() -> dict[str, bytes]:
    """Streams with less data than the header announces, or endless directories."""
    return {
        "too-short.png": png(ihdr(64, 64), idat(bytes(200))),
        "no-end-of-rows.png": png(ihdr(64, 64), chunk(b"IDAT", b"\x78\x9c")),
        "strip-outside.tiff": tiff(tiff_tags(64, 64, length=2**31), bytes(8)),
        "strip-everywhere.tiff": tiff(tiff_tags(2000, 2000, length=2**32 - 1, packing=8), bytes(8)),
        "directory-outside.tiff": b"II*\0\xff\xff\xff\xff" + bytes(40),
        "directory-in-itself.tiff": b"II*\0" + struct.pack("<I", 4) + bytes(40),
        "directory-of-65535.tiff": b"II*\0\x08\0\0\0\xff\xff" + bytes(400),
    }


def _many_frames() -> dict[str, bytes]:
    still = seeds.torn_seeds()["lossy.webp"]
    return {
        "frames-10000.gif": raw.gif(16, 16, [GifFrame(0, 0, 2, 2)] * 10_000),
        "frames-1001.gif": raw.gif(16, 16, [GifFrame(0, 0, 2, 2)] * 1_001),
        "frames-2000.webp": raw.webp_moving(80, 60, still, 2_000),
        "frames-2-of-9000x9000.webp": raw.webp_moving(9000, 9000, still, 2),
        "frames-4-of-9000x9000.avif": raw.avif_moving_sized(seeds.torn_seeds()["moving.avif"], 9000, 9000),
        "frames-4-of-20000x20000.avif": raw.avif_moving_sized(seeds.torn_seeds()["moving.avif"], 20000, 20000),
    }


@cache
def heavy() -> Mapping[str, bytes]:
    """Within the limits, or past them only once they are unpacked."""
    torn = seeds.torn_seeds()
    still = torn["lossy.webp"]
    return {
        "plain-12000x12000-1bit.png": png(ihdr(12000, 12000, 1, raw.GRAY), chunk(b"IDAT", raw.zeros(1501 * 12000))),
        "plain-12000x12000.png": png(ihdr(12000, 12000, 8, raw.GRAY), chunk(b"IDAT", raw.zeros(12001 * 12000))),
        "plain-8000x8000-interlaced.png": _interlaced(8000),
        "unpacks-to-256-mib.png": png(ihdr(8, 8), chunk(b"IDAT", raw.zeros(2**28))),
        "profile-of-128-mib.png": _packed(torn["plain.png"], b"iCCP", b"bomb\0\0"),
        "text-of-128-mib.png": _packed(torn["plain.png"], b"zTXt", b"bomb\0\0"),
        "international-text-of-128-mib.png": _packed(torn["plain.png"], b"iTXt", b"bomb\0\x01\0\0\0"),
        "ten-thousand-texts.png": _after_head(torn["plain.png"], chunk(b"tEXt", b"a\0b") * 10_000),
        "unpacks-to-256-mib.tiff": _deflated(),
        "frames-10-of-3800x3800.webp": raw.webp_moving(3800, 3800, still, 10),
        "frames-1000-of-380x380.webp": raw.webp_moving(380, 380, still, 1_000),
        "frames-999-of-380x380.gif": raw.gif(380, 380, [GifFrame(0, 0, 2, 2)] * 999),
        "frames-1-of-12000x12000.gif": raw.gif(12000, 12000, [GifFrame(0, 0, 2, 2)]),
        "frames-600-of-12000x12000.gif": raw.gif(12000, 12000, [GifFrame(0, 0, 2, 2)] * 600),
        "1x12000.png": seeds.saved(Image.new("RGB", (1, 12000), (9, 90, 200)), "PNG"),
        "lab.tiff": seeds.saved(seeds.noise("LAB"), "TIFF", icc_profile=b""),
        "scans.jpg": _scans(),
        "pages-in-a-ring.tiff": tiff(tiff_tags(8, 8, length=192), bytes(192), following=8 + 192),
        "comments-of-4-mib.jpg": torn["baseline.jpg"][:2] + _comments(64) + torn["baseline.jpg"][2:],
        "pages-5000.tiff": _pages(5_000),
        "zeros-behind.jpg": torn["baseline.jpg"] + bytes(2_000_000),
    }


def _packed(seed: bytes, name: bytes, before: bytes) -> bytes:
    """A sound PNG with one packed chunk of 128 MiB of zeros."""
    return _after_head(seed, chunk(name, before + raw.zeros(2**27)))


def _after_head(seed: bytes, more: bytes) -> bytes:
    return seed[:33] + more + seed[33:]


def _interlaced(side: int) -> bytes:
    """A plain gray PNG in seven passes; each row has a filter byte before it."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    count = sum((-(-(side - x) // dx) + 1) * -(-(side - y) // dy) for x, y, dx, dy in passes)
    return png(ihdr(side, side, 8, raw.GRAY, interlaced=True), chunk(b"IDAT", raw.zeros(count)))


def _deflated() -> bytes:
    stream = raw.zeros(2**28)
    return tiff(tiff_tags(16, 16, length=len(stream), packing=8), stream)


def _scans() -> bytes:
    """A progressive JPEG of 16 megapixels with its last scan repeated 500 times."""
    plain = seeds.saved(Image.new("L", (4000, 4000), 90), "JPEG", progressive=True)
    last = plain.rfind(b"\xff\xda")
    return plain[:last] + plain[last:-2] * 500 + plain[-2:]


def _comments(count: int) -> bytes:
    return (b"\xff\xfe" + struct.pack(">H", 65535) + bytes(65533)) * count


def _pages(count: int) -> bytes:
    """A TIFF of `count` directories that share one strip."""
    head, at = tiff(tiff_tags(8, 8, length=192), bytes(192))[:200], 200
    parts = [head[:4], struct.pack("<I", at), head[8:]]
    tags = sorted(tiff_tags(8, 8, length=192))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    for number in range(count):
        at += len(directory) + 4
        parts.append(directory + struct.pack("<I", at if number < count - 1 else 0))
    return b"".join(parts)
