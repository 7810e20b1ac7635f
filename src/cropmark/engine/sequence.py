"""Reads and changes the movie box of an AVIF sequence: the number of times it is played, and the colors of its frames.

Sources: ISO/IEC 14496-12, 8.2.2, 8.3.2 and 8.6.6; https://aomediacodec.github.io/av1-avif/#image-sequences
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from struct import pack_into, unpack_from
from typing import Final

from cropmark.engine.av1 import CodedColors, coded_colors
from cropmark.engine.isobmff import Box, child, children, descendant, inner, whole

_FOREVER: Final = 0
_REPEATED: Final = 1
"""A flag of an edit list. If it is set, the edit list is repeated until the track ends."""
_MAX_PLAYS: Final = 65_535
_SAMPLE_ENTRY_BYTES: Final = 78
"""The fields of a VisualSampleEntry before its boxes (ISO/IEC 14496-12, 12.1.3)."""


def plays_of(data: bytes) -> int:
    """The number of times that the sequence is played; 0 if it is repeated forever, or if no number is declared."""
    try:
        track = descendant(data, whole(data), b"moov", b"trak")
        header, edits = child(data, track, b"tkhd"), descendant(data, track, b"edts", b"elst")
        if header is None or edits is None:
            return _FOREVER
        if not data[edits.start + 3] & _REPEATED:
            return 1
        wide = data[header.start] == 1
        total: int = unpack_from(">Q" if wide else ">I", data, header.start + (28 if wide else 20))[0]
        segment = _segment_duration(data, edits)
        if total == (2**64 if wide else 2**32) - 1 or segment == 0:
            return _FOREVER
        return min(max(1, -(-total // segment)), _MAX_PLAYS)
    except (struct.error, IndexError):
        return _FOREVER


def with_plays(data: bytes, plays: int) -> bytes:
    """The AVIF sequence, written by libavif, changed so that it is played `plays` times (0: forever).

    The time of writing is removed too: it would change the bytes, and thereby the ETag, of every render.
    """
    body = bytearray(data)
    movie = child(data, whole(data), b"moov")
    if movie is None:
        return data
    tracks = [box for box in children(data, movie) if box.kind == b"trak"]
    movie_header = child(data, movie, b"mvhd")
    for box in (movie_header, *(descendant(data, track, b"mdia", b"mdhd") for track in tracks)):
        _clear_times(body, box)
    for track in tracks:
        header, edits = child(data, track, b"tkhd"), descendant(data, track, b"edts", b"elst")
        _clear_times(body, header)
        if plays and header and edits and movie_header:
            total = min(_segment_duration(data, edits) * plays, 2**64 - 2)
            pack_into(">Q", body, header.start + 28, total)
            pack_into(">Q", body, movie_header.start + 24, total)
            body[edits.start + 3] = _REPEATED if plays > 1 else 0
    return bytes(body)


def frame_colors_of(data: bytes) -> CodedColors | None:
    """The colors that the first track declares; None if the track is missing or malformed."""
    try:
        table = descendant(data, whole(data), b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
        entry = child(data, inner(table, 8), b"av01") if table else None
        return None if entry is None else _entry_colors(data, inner(entry, _SAMPLE_ENTRY_BYTES))
    except (struct.error, IndexError):
        return None


def _entry_colors(data: bytes, entry: Box) -> CodedColors | None:
    for content in _contents(data, entry, b"colr"):
        if content[:4] == b"nclx":
            primaries, transfer, _, flags = unpack_from(">HHHB", content, 4)
            return CodedColors(primaries, transfer, full_range=bool(flags & 0x80))
    return next((coded_colors(content[4:]) for content in _contents(data, entry, b"av1C")), None)


def _contents(data: bytes, parent: Box, kind: bytes) -> Iterator[bytes]:
    return (data[box.start : box.end] for box in children(data, parent) if box.kind == kind)


def _segment_duration(data: bytes, edits: Box) -> int:
    wide = data[edits.start] == 1
    duration: int = unpack_from(">Q" if wide else ">I", data, edits.start + 8)[0]
    return duration


def _clear_times(body: bytearray, box: Box | None) -> None:
    """Set the creation and modification times in the box to zero.

    Only boxes of version 1 change, which have times of 64 bits. libavif writes this version.
    """
    if box is not None and body[box.start] == 1:
        body[box.start + 4 : box.start + 20] = bytes(16)
