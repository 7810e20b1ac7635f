"""Reads the segments of a JPEG file. Source: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

START_OF_SCAN: Final = 0xDA
END_OF_IMAGE: Final = 0xD9
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a JPEG: the second byte of its marker, and three offsets in the file.

    `start` and `end` are the offsets of the segment, and `content` is the offset after its length. The segment of a
    scan includes the compressed pixels.
    """

    kind: int
    start: int
    content: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """Yields the segments after the start-of-image marker. The end-of-image marker is the last one.

    Stops before data that is not a segment. Data after the end of image belongs to no segment.
    """
    at = 2
    while (segment := _segment_at(data, at)) is not None:
        if segment.kind == START_OF_SCAN:
            found = _MARKER_AFTER_SCAN.search(data, segment.end)
            segment = replace(segment, end=found.start() if found else len(data))
        yield segment
        if segment.kind == END_OF_IMAGE:
            return
        at = segment.end


def head_segments(data: bytes) -> Iterator[Segment]:
    """Yields the segments after the start of image and before the first scan. Reads no pixels."""
    at = 2
    while (segment := _segment_at(data, at)) is not None and segment.kind not in (START_OF_SCAN, END_OF_IMAGE):
        yield segment
        at = segment.end


def _segment_at(data: bytes, at: int) -> Segment | None:
    """The segment at an offset, or after the fill bytes there; None if other data follows.

    The segment of a scan ends before its compressed pixels.
    """
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if at + 2 > len(data) or data[at] != 0xFF:
        return None
    kind = data[at + 1]
    if kind == END_OF_IMAGE:
        return Segment(kind, at, at + 2, at + 2)
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Segment(kind, at, at + 4, end) if at + 4 <= end <= len(data) else None
