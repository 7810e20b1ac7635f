"""Invalid files, built byte by byte: sizes without pixels, zero sides, wrong lengths."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PNG_MARK = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""The color types of PNG."""


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk with its length and its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def ihdr(width: int, height: int, bits: int = 8, color: int = RGB, *, interlaced: bool = False) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced))


def png(head: bytes, *chunks: bytes, end: bool = True) -> bytes:
    return PNG_MARK + head + b"".join(chunks) + (chunk(b"IEND") if end else b"")


def idat(raw: bytes) -> bytes:
    """The filtered rows as one IDAT."""
    return chunk(b"IDAT", zlib.compress(raw, 9))


def zeros(count: int) -> bytes:
    """A zlib stream of `count` zeros, generated without compressing each of them: one piece is repeated."""
    piece = 2**20
    packer, last = (zlib.compressobj(9, wbits=-15) for _ in range(2))
    packed = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    whole, rest = divmod(count, piece)
    checksum = (count % 65521) << 16 | 1
    return b"\x78\xda" + packed * whole + last.compress(bytes(rest)) + last.flush() + struct.pack(">I", checksum)


# ------------------------------------------------------------------------------------------------ GIF


@dataclass(frozen=True, slots=True)
class GifFrame:
    """An image of a GIF: its box, the color of all its pixels, and its disposal method."""

    left: int
    top: int
    width: int
    height: int
    color: int = 1
    disposal: int = 0
    delay_cs: int = 10
    interlaced: bool = False
    local: bool = False
    clear: int | None = None


COLORS = bytes((0, 0, 0, 200, 40, 10, 10, 160, 60, 30, 60, 220))


def gif(width: int, height: int, frames: Iterable[GifFrame], *, end: bool = True, loop: bool = True) -> bytes:
    """A GIF of four colors with uncompressed codes and a regular clear code."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x91, 0, 0) + COLORS
    again = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00" if loop else b""
    return head + again + b"".join(map(_gif_frame, frames)) + (b"\x3b" if end else b"")


def _gif_frame(frame: GifFrame) -> bytes:
    packed = frame.disposal << 2 | (frame.clear is not None)
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", packed, frame.delay_cs, frame.clear or 0, 0)
    flags = (0x40 if frame.interlaced else 0) | (0x81 if frame.local else 0)
    place = b"\x2c" + struct.pack("<HHHHB", frame.left, frame.top, frame.width, frame.height, flags)
    table = bytes(reversed(COLORS)) if frame.local else b""
    pixels = bytes([frame.color]) * (frame.width * frame.height)
    return control + place + table + b"\x02" + parts(gif_codes(pixels))


def gif_sized(width: int, height: int) -> bytes:
    """A GIF with one frame that claims a size and contains two pixels."""
    sound = gif(width, height, [GifFrame(0, 0, 2, 1)], loop=False)
    at = sound.index(b"\x2c", 13 + len(COLORS)) + 5
    return sound[:at] + struct.pack("<HH", width, height) + sound[at + 4 :]


def gif_codes(pixels: bytes) -> bytes:
    """Two-bit colors as three-bit codes: 4 clears, 5 ends. A clear after every two colors prevents longer codes."""
    codes: list[int] = []
    for at in range(0, len(pixels), 2):
        codes += [4, *pixels[at : at + 2]]
    bits = sum(code << 3 * n for n, code in enumerate([*codes, 5]))
    return bits.to_bytes((3 * (len(codes) + 1) + 7) // 8, "little")


def parts(data: bytes) -> bytes:
    """The data in parts of 255 bytes at most, each with its length before it."""
    cut = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"".join(bytes([len(part)]) + part for part in cut) + b"\0"


# ------------------------------------------------------------------------------------------------ WebP


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def vp8x(width: int, height: int, flags: int = 0x02) -> bytes:
    """The header of an extended WebP; 0x02: it moves, 0x20: it has a color profile."""
    return webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + _three(width - 1) + _three(height - 1))


def webp_moving(width: int, height: int, still: bytes, frames: int) -> bytes:
    """An animation that shows a small still WebP in the corner of a canvas, time after time."""
    anim = webp_chunk(b"ANIM", bytes(6))
    shown = still[12:]
    side = _three(0) * 2 + _three(15) * 2 + _three(20) + b"\0"
    return riff(vp8x(width, height), anim, *(webp_chunk(b"ANMF", side + shown) for _ in range(frames)))


def vp8(width: int, height: int) -> bytes:
    """A lossy WebP with a frame header and nothing to decode."""
    start = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return riff(webp_chunk(b"VP8 ", start + bytes(40)))


def vp8l(width: int, height: int) -> bytes:
    """A lossless WebP with a header and nothing to decode."""
    return riff(webp_chunk(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(8)))


# ------------------------------------------------------------------------------------------------ TIFF, JPEG, ISO

Tag = tuple[int, int, int, int]
"""A TIFF tag: number, type (3 short, 4 long), count, and the value or the offset of the values."""


def tiff(tags: Sequence[Tag], data: bytes = b"", *, following: int = 0, data_at: int = 8) -> bytes:
    """A little-endian TIFF: header, `data`, then one directory; `following` is where the next one is said to be."""
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<I", data_at + len(data)) + data + directory + struct.pack("<I", following)


def tiff_tags(
    width: int, height: int, *, length: int = 8, packing: int = 1, photometric: int = 2, bands: int = 3, rows: int = 0
) -> list[Tag]:
    """The tags of a TIFF with one strip at byte 8. Compression 1 means uncompressed, 8 deflate."""
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, packing),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, bands),
        (278, 4, 1, rows or height),
        (279, 4, 1, length),
        (284, 3, 1, 1),
    ]


def jpeg_sized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG that claims to be another size."""
    at = next(found for mark in (b"\xff\xc0", b"\xff\xc2") if (found := jpeg.find(mark)) > 0)
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def jpeg_with(jpeg: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with one more segment behind its start."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def avif_sized(avif: bytes, width: int, height: int) -> bytes:
    """An AVIF with another size in its `ispe` boxes, from which decoders take the size."""
    claimed, at = bytearray(avif), -1
    while (at := avif.find(b"ispe", at + 1)) >= 0:
        claimed[at + 8 : at + 16] = struct.pack(">II", width, height)
    return bytes(claimed)


def avif_moving_sized(avif: bytes, width: int, height: int) -> bytes:
    """A sequence of libavif that claims another size, in its first item and in its track, as 16.16 numbers there."""
    claimed = bytearray(avif_sized(avif, width, height))
    at = avif.find(b"tkhd") + 4 + 88
    claimed[at : at + 8] = struct.pack(">II", width << 16, height << 16)
    return bytes(claimed)


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    """The first box of files of the ISO base media format."""
    body = brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body
