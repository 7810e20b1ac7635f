"""Completes JPEGs and PNGs that have all of their pixels, but lack their end or have a wrong checksum.

This is done only for files that a decoder has rejected, so it costs nothing for a healthy file.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import pack, unpack_from
from typing import Final

from simplejpeg import decode_jpeg, decode_jpeg_header

from cropmark.engine.jpeg_segments import START_OF_SCAN, segments
from cropmark.model.formats import Format
from cropmark.runtime.reads import Data, all_bytes


def completed(data: Data, stored_as: Format) -> bytes | None:
    """The file with its missing end added and its checksums corrected.

    None if a pixel is missing, if nothing is corrected, or if the format is not JPEG or PNG.
    """
    match stored_as:
        case Format.JPEG:
            return _completed_jpeg(all_bytes(data))
        case Format.PNG:
            return _completed_png(all_bytes(data))
        case _:
            return None


# ---------------------------------------------------------------------------------------------- JPEG

_END_OF_IMAGE: Final = b"\xff\xd9"
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE: Final = 0xC2
_ALL_COEFFICIENTS: Final = frozenset(range(64))


def _completed_jpeg(data: bytes) -> bytes | None:
    """The file with an end marker; None if it has a marker already, or if compressed pixels are missing."""
    if data.endswith(_END_OF_IMAGE):
        return None
    whole = data.rstrip(b"\xff") + _END_OF_IMAGE
    try:
        _, _, colors, _ = decode_jpeg_header(whole)
        as_colors = "CMYK" if colors in ("CMYK", "YCCK") else "GRAY"
        # Strict: a missing block is a warning. At an eighth of the size, every block is still read. Not libvips: it
        # does not check for warnings after the last rows.
        decode_jpeg(whole, as_colors, min_width=1, min_height=1, min_factor=8, strict=True)
        return whole if _has_all_scans(whole) else None
    except (ValueError, IndexError):
        return None


def _has_all_scans(data: bytes) -> bool:
    """True if the scans together contain every bit of every coefficient of all components."""
    progressive, missing = False, dict[int, set[int]]()
    for segment in segments(data):
        kind, start = segment.kind, segment.content
        if kind in _FRAMES:
            progressive = kind == _PROGRESSIVE
            missing = {data[at]: set(_ALL_COEFFICIENTS) for at in range(start + 6, start + 6 + 3 * data[start + 5], 3)}
        elif kind == START_OF_SCAN:
            count = data[start]
            first, last, precision = data[start + 1 + 2 * count : start + 4 + 2 * count]
            for at in range(start + 1, start + 1 + 2 * count, 2):
                if not progressive:
                    missing[data[at]] = set()
                elif precision & 15 == 0:
                    missing[data[at]] -= set(range(first, last + 1))
    return not any(missing.values())


# ---------------------------------------------------------------------------------------------- PNG

_HEADER_END: Final = 33
_PIECE: Final = 65536
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_WHOLE_IMAGE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Left, top, step across and step down of the pixels in each pass of an interlaced PNG."""


@dataclass(frozen=True, slots=True)
class _Pixels:
    """The compressed pixels of a PNG: the joined data of its IDAT chunks, which begin at the offset `start`.

    `verified` is True if the checksum of every chunk is right.
    """

    start: int
    stream: bytes
    verified: bool


def _completed_png(data: bytes) -> bytes | None:
    """The file with one IDAT chunk, right checksums and an end; None if a pixel is missing or nothing is corrected.

    The compressed pixels have two kinds of checksum: one for each chunk, and one at the end of the stream. If the
    checksum of the stream is present, either it or the checksums of all chunks must be right.
    """
    pixels = _pixels(data)
    if pixels is None:
        return None
    try:
        end, checksum = _inflated(pixels.stream, _raw_bytes(data))
    except (zlib.error, ValueError, KeyError):
        return None
    stored = pixels.stream[end : end + 4]
    if len(stored) == 4 and stored != checksum and not pixels.verified:
        return None
    body = b"IDAT" + pixels.stream[:end] + checksum
    whole = data[: pixels.start] + pack(">I", len(body) - 4) + body + pack(">I", zlib.crc32(body))
    completed_file = whole + pack(">I", 0) + b"IEND" + pack(">I", zlib.crc32(b"IEND"))
    return None if completed_file == data else completed_file


def _pixels(data: bytes) -> _Pixels | None:
    at, first, parts, verified = _HEADER_END, 0, list[bytes](), True
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        if name == b"IDAT":
            first = first or at
            parts.append(data[at + 8 : end])
            verified = verified and data[end : end + 4] == zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        elif parts:
            break
        at = end + 4
    return _Pixels(first, b"".join(parts), verified) if parts else None


def _inflated(stream: bytes, expected: int) -> tuple[int, bytes]:
    """The offset at which the compressed data in the stream ends, and the right checksum for it.

    Raises zlib.error for broken data, and ValueError if the data has no end, or not as many inflated bytes as expected.
    """
    decoder, count, checksum = zlib.decompressobj(wbits=-15), 0, 1
    for start in range(2, len(stream), _PIECE):
        piece = stream[start : start + _PIECE]
        while piece and not decoder.eof:
            raw = decoder.decompress(piece, _PIECE)
            count, checksum = count + len(raw), zlib.adler32(raw, checksum)
            if count > expected + _PIECE:
                raise ValueError("the stream holds more than the image")
            piece = decoder.unconsumed_tail
        if decoder.eof:
            end = min(start + _PIECE, len(stream)) - len(decoder.unused_data)
            if count < expected:
                break
            return end, pack(">I", checksum)
    raise ValueError("the stream is incomplete")


def _raw_bytes(data: bytes) -> int:
    """The number of bytes that the pixels of a PNG have after inflation, with the filter byte of each row.

    Raises KeyError for an unknown color type.
    """
    width, height, bits, kind, _, _, interlaced = unpack_from(">IIBBBBB", data, 16)
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE_IMAGE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * _SAMPLES[kind] // 8))
    return total
