"""Reads the color properties of an AVIF's primary image from its boxes.

Sources: https://aomediacodec.github.io/av1-avif/ and ISO/IEC 14496-12 and 23008-12
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from cropmark.engine.av1 import CodedColors, coded_colors

_MAX_BOXES: Final = 4096
_STREAM_BYTES: Final = 4096
"""The sequence header is at the start of the stream."""


@dataclass(frozen=True, slots=True)
class AvifColors:
    """The color properties of an image; None if the file does not have them. `max_nits`: its brightest light, or 0."""

    coded: CodedColors | None
    monochrome: bool
    max_nits: int


@dataclass(frozen=True, slots=True)
class _Box:
    """A box of the file: its type, and the start and end of its content."""

    kind: bytes
    start: int
    end: int


def avif_colors_of(data: bytes) -> AvifColors | None:
    """The color properties of the primary image, of a grid's first tile if the grid has none; None if malformed."""
    try:
        meta = _child(data, _Box(b"", 0, len(data)), b"meta")
        return _colors(data, _inner(meta, 4)) if meta else None
    except (struct.error, IndexError):
        return None


def _colors(data: bytes, meta: _Box) -> AvifColors | None:
    primary = _primary_item(data, meta)
    own = _properties(data, meta, primary)
    item = primary if b"av1C" in own else _first_tile(data, meta, primary)
    properties = {**_properties(data, meta, item), **own}
    config = properties.get(b"av1C")
    if config is None:
        return None
    coded = _nclx(properties.get(b"nclx")) or coded_colors(config[4:]) or coded_colors(_stream(data, meta, item))
    return AvifColors(
        coded=coded,
        monochrome=bool(config[2] & 0x10),
        max_nits=int.from_bytes(properties.get(b"clli", b"")[:2], "big"),
    )


def _nclx(content: bytes | None) -> CodedColors | None:
    if content is None:
        return None
    primaries, transfer, _, flags = unpack_from(">HHHB", content)
    return CodedColors(primaries, transfer, full_range=bool(flags & 0x80))


def _properties(data: bytes, meta: _Box, item: int) -> Mapping[bytes, bytes]:
    """The first property of each kind of an item; a color profile and a color description count as two kinds."""
    container = _child(data, meta, b"iprp")
    table = _child(data, container, b"ipco")
    associations = _child(data, container, b"ipma")
    if table is None or associations is None:
        return {}
    boxes = list(_children(data, table))
    found: dict[bytes, bytes] = {}
    for index in _property_indices(data, associations, item):
        if 0 < index <= len(boxes):
            box = boxes[index - 1]
            is_color = box.kind == b"colr"
            kind = data[box.start : box.start + 4] if is_color else box.kind
            found.setdefault(kind, data[box.start + 4 * is_color : box.end])
    return found


def _property_indices(data: bytes, box: _Box, wanted: int) -> Iterator[int]:
    """The property numbers of an item, from 1. Source: ISO/IEC 23008-12, ItemPropertyAssociationBox."""
    version, flags = data[box.start], data[box.start + 3]
    item_format, index_format = (">I" if version else ">H"), (">H" if flags & 1 else ">B")
    item_bytes, index_bytes = struct.calcsize(item_format), struct.calcsize(index_format)
    at = box.start + 8
    for _ in range(min(unpack_from(">I", data, box.start + 4)[0], _MAX_BOXES)):
        (item,) = unpack_from(item_format, data, at)
        count = data[at + item_bytes]
        first = at + item_bytes + 1
        at = first + count * index_bytes
        if item == wanted:
            mask = (1 << 8 * index_bytes - 1) - 1  # the highest bit marks an essential property
            yield from (unpack_from(index_format, data, place)[0] & mask for place in range(first, at, index_bytes))


def _primary_item(data: bytes, meta: _Box) -> int:
    box = _child(data, meta, b"pitm")
    return _number(data, box, 4, wide=data[box.start] > 0) if box else 0


def _first_tile(data: bytes, meta: _Box, item: int) -> int:
    """The first image that an item is derived from, else the item itself."""
    references = _child(data, meta, b"iref")
    if references is None:
        return item
    wide = data[references.start] > 0
    for box in _children(data, _inner(references, 4)):
        if box.kind == b"dimg" and _number(data, box, 0, wide=wide) == item:
            return _number(data, box, (4 if wide else 2) + 2, wide=wide)
    return item


def _number(data: bytes, box: _Box, at: int, *, wide: bool) -> int:
    value: int = unpack_from(">I" if wide else ">H", data, box.start + at)[0]
    return value


def _stream(data: bytes, meta: _Box, wanted: int) -> bytes:
    """The first bytes of an item's first extent; empty if it is not in this file. Source: ISO/IEC 14496-12, 8.11.3."""
    box = _child(data, meta, b"iloc")
    if box is None:
        return b""
    version, sizes = data[box.start], data[box.start + 4 : box.start + 6]
    offset_bytes, length_bytes, base_bytes = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_bytes = sizes[1] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = box.start + 6 + wide
    for _ in range(min(int.from_bytes(data[box.start + 6 : at], "big"), _MAX_BOXES)):
        item = int.from_bytes(data[at : at + wide], "big")
        method = int.from_bytes(data[at + wide : at + wide + 2], "big") & 15 if version else 0
        base = at + wide + (2 if version else 0) + 2
        extents = base + base_bytes + 2
        (count,) = unpack_from(">H", data, extents - 2)
        if item == wanted and count:
            first = extents + index_bytes
            start = sum(
                int.from_bytes(data[place : place + size], "big")
                for place, size in ((base, base_bytes), (first, offset_bytes))
            )
            content = _child(data, meta, b"idat") if method == 1 else None
            start += content.start if content else 0
            return data[start : start + _STREAM_BYTES]
        at = extents + count * (index_bytes + offset_bytes + length_bytes)
    return b""


def _child(data: bytes, parent: _Box | None, kind: bytes) -> _Box | None:
    """The first box of a kind inside another."""
    return next((box for box in _children(data, parent) if box.kind == kind), None) if parent else None


def _children(data: bytes, parent: _Box) -> Iterator[_Box]:
    """Yields the boxes inside a box, at most _MAX_BOXES. Stops at a malformed one."""
    at = parent.start
    for _ in range(_MAX_BOXES):
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
        yield _Box(kind, start, end)
        at = end


def _inner(box: _Box, skip: int) -> _Box:
    """The content of a box after its version and flags."""
    return _Box(box.kind, box.start + skip, box.end)
