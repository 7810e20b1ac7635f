"""Reads boxes of files in the ISO base media file format, such as AVIF and HEIC. Source: ISO/IEC 14496-12."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import Final

MAX_BOXES: Final = 4096
"""The most boxes in a parent, and the most entries in a table, that are read."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the file: its type, and the start and end of its content."""

    kind: bytes
    start: int
    end: int


def child(data: bytes, parent: Box | None, kind: bytes) -> Box | None:
    """The first box of this kind inside the parent box; None if the box or the parent is missing."""
    return next((box for box in children(data, parent) if box.kind == kind), None) if parent else None


def only_child(data: bytes, parent: Box, kind: bytes) -> Box:
    """The only box of this kind inside the parent box.

    Raises LookupError if the box is missing, if there are several, or if bytes that cannot be read may contain another.
    """
    boxes = list(children(data, parent))
    found = [box for box in boxes if box.kind == kind]
    if len(found) != 1 or data.find(kind, boxes[-1].end, parent.end) >= 0:
        raise LookupError(kind)
    return found[0]


def children(data: bytes, parent: Box) -> Iterator[Box]:
    """Yields the boxes inside the parent box, at most MAX_BOXES of them. Stops at a malformed box."""
    at = parent.start
    for _ in range(MAX_BOXES):
        if at + 8 > parent.end:
            return
        length, kind = unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            (length,) = unpack_from(">Q", data, start)
            start += 8
        end = parent.end if length == 0 else at + length
        if end < start or end > parent.end:
            return
        yield Box(kind, start, end)
        at = end


def descendant(data: bytes, parent: Box | None, *kinds: bytes) -> Box | None:
    """The box at the path `kinds` below the parent, by the first box of each kind; None if a box is missing."""
    for kind in kinds:
        parent = child(data, parent, kind)
    return parent


def inner(box: Box, skip: int) -> Box:
    """The box without its first `skip` bytes, such as its version and flags."""
    return Box(box.kind, box.start + skip, box.end)


def whole(data: bytes) -> Box:
    """The whole file as one box."""
    return Box(b"", 0, len(data))
