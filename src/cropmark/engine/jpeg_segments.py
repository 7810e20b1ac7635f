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
    """A segment: its marker's second byte, its offsets in the file, and the offset of its content after the length.

    A start of scan includes the compressed pixels after it.
    """

    kind: int
    start: int
    content: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """Yields the segments after the start of image, up to the end of image, which is the last one.

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
    """The segment at an offset, after any fill bytes, and without the pixels of a scan; None for other data."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if at + 2 > len(data) or data[at] != 0xFF:
        return None
    kind = data[at + 1]
    if kind == END_OF_IMAGE:
        return Segment(kind, at, at + 2, at + 2)
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Segment(kind, at, at + 4, end) if at + 4 <= end <= len(data) else None
