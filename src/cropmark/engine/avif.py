"""Parses the boxes of AVIF and HEIC files: the colors of the primary image, and the kinds of all items.

Sources: https://aomediacodec.github.io/av1-avif/ and ISO/IEC 14496-12 and 23008-12
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from cropmark.engine.av1 import CodedColors, coded_colors
from cropmark.engine.isobmff import MAX_BOXES, Box, child, children, inner, only_child, whole

_HEVC_CHROMA: Final = 16
"""The byte with the chroma format in a decoder configuration (ISO/IEC 14496-15, 8.3.2)."""
_STREAM_BYTES: Final = 4096
"""The number of first bytes of the stream that are read; the sequence header is among them."""


@dataclass(frozen=True, slots=True)
class AvifColors:
    """The color properties of an image in AVIF or HEIC.

    `coded` is absent (None) if the file declares no colors. `max_nits` is the brightest light of the image in cd/m2; 0
    if it is unknown.
    """

    coded: CodedColors | None
    monochrome: bool
    max_nits: int


def avif_colors_of(data: bytes) -> AvifColors | None:
    """The color properties of the primary image; None if the file is malformed.

    If the primary image is a grid of tiles, the first tile supplies the properties that the grid lacks.
    """
    try:
        meta = child(data, whole(data), b"meta")
        return _colors(data, inner(meta, 4)) if meta else None
    except (struct.error, IndexError):
        return None


def item_kinds_of(data: bytes) -> frozenset[bytes] | None:
    """The kinds of all items in the file, such as hvc1, grid and Exif; None if the list of items is ambiguous.

    The list is ambiguous if it is missing, occurs twice, or contains a box that cannot be read. Another parser could
    then find other items.
    """
    try:
        meta = only_child(data, whole(data), b"meta")
        items = only_child(data, inner(meta, 4), b"iinf")
        wide = data[items.start] > 0
        listed = inner(items, 8 if wide else 6)
        entries = list(children(data, listed))
        is_whole = bool(entries) and entries[-1].end == listed.end and all(entry.kind == b"infe" for entry in entries)
        if not is_whole or len(entries) != _number(data, items, 4, wide=wide):
            return None
        return frozenset(_item_kind(data, entry) for entry in entries)
    except (struct.error, LookupError):
        return None


def _item_kind(data: bytes, entry: Box) -> bytes:
    """The kind of the item that `entry` describes; empty for an entry of version 0 or 1, which has no kind.

    Source: ISO/IEC 14496-12, 8.11.6
    """
    version = data[entry.start]
    at = entry.start + (10 if version > 2 else 8)
    return data[at : at + 4] if version >= 2 and at + 4 <= entry.end else b""


def _colors(data: bytes, meta: Box) -> AvifColors | None:
    primary = _primary_item(data, meta)
    own = _properties(data, meta, primary)
    item = primary if own.keys() & {b"av1C", b"hvcC"} else _first_tile(data, meta, primary)
    properties = {**_properties(data, meta, item), **own}
    coded, monochrome = _nclx(properties.get(b"nclx")), False
    if config := properties.get(b"av1C"):
        coded = coded or coded_colors(config[4:]) or coded_colors(_stream(data, meta, item))
        monochrome = bool(config[2] & 0x10)
    elif config := properties.get(b"hvcC"):
        monochrome = config[_HEVC_CHROMA] & 3 == 0
    else:
        return None
    return AvifColors(coded, monochrome, max_nits=int.from_bytes(properties.get(b"clli", b"")[:2], "big"))


def _nclx(content: bytes | None) -> CodedColors | None:
    if content is None:
        return None
    primaries, transfer, _, flags = unpack_from(">HHHB", content)
    return CodedColors(primaries, transfer, full_range=bool(flags & 0x80))


def _properties(data: bytes, meta: Box, item: int) -> Mapping[bytes, bytes]:
    """The content of the properties of an item, by kind. Of several properties of a kind, the first counts.

    A color profile and a color description count as different kinds, although both are in boxes named colr.
    """
    container = child(data, meta, b"iprp")
    table = child(data, container, b"ipco")
    associations = child(data, container, b"ipma")
    if table is None or associations is None:
        return {}
    boxes = list(children(data, table))
    found: dict[bytes, bytes] = {}
    for index in _property_indices(data, associations, item):
        if 0 < index <= len(boxes):
            box = boxes[index - 1]
            is_color = box.kind == b"colr"
            kind = data[box.start : box.start + 4] if is_color else box.kind
            found.setdefault(kind, data[box.start + 4 * is_color : box.end])
    return found


def _property_indices(data: bytes, box: Box, wanted: int) -> Iterator[int]:
    """Yields the number of each property of the item `wanted`, counted from 1.

    Source: ISO/IEC 23008-12, ItemPropertyAssociationBox
    """
    version, flags = data[box.start], data[box.start + 3]
    item_format, index_format = (">I" if version else ">H"), (">H" if flags & 1 else ">B")
    item_bytes, index_bytes = struct.calcsize(item_format), struct.calcsize(index_format)
    at = box.start + 8
    for _ in range(min(unpack_from(">I", data, box.start + 4)[0], MAX_BOXES)):
        (item,) = unpack_from(item_format, data, at)
        count = data[at + item_bytes]
        first = at + item_bytes + 1
        at = first + count * index_bytes
        if item == wanted:
            mask = (1 << 8 * index_bytes - 1) - 1  # the highest bit marks an essential property
            yield from (unpack_from(index_format, data, place)[0] & mask for place in range(first, at, index_bytes))


def _primary_item(data: bytes, meta: Box) -> int:
    box = child(data, meta, b"pitm")
    return _number(data, box, 4, wide=data[box.start] > 0) if box else 0


def _first_tile(data: bytes, meta: Box, item: int) -> int:
    """The number of the first image from which `item` is derived; `item` itself if it is not derived."""
    references = child(data, meta, b"iref")
    if references is None:
        return item
    wide = data[references.start] > 0
    for box in children(data, inner(references, 4)):
        if box.kind == b"dimg" and _number(data, box, 0, wide=wide) == item:
            return _number(data, box, (4 if wide else 2) + 2, wide=wide)
    return item


def _number(data: bytes, box: Box, at: int, *, wide: bool) -> int:
    value: int = unpack_from(">I" if wide else ">H", data, box.start + at)[0]
    return value


def _stream(data: bytes, meta: Box, wanted: int) -> bytes:
    """The first bytes of the data of the item `wanted`; empty if the file does not list the item.

    Source: ISO/IEC 14496-12, 8.11.3
    """
    box = child(data, meta, b"iloc")
    if box is None:
        return b""
    version, sizes = data[box.start], data[box.start + 4 : box.start + 6]
    offset_bytes, length_bytes, base_bytes = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_bytes = sizes[1] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = box.start + 6 + wide
    for _ in range(min(int.from_bytes(data[box.start + 6 : at], "big"), MAX_BOXES)):
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
            content = child(data, meta, b"idat") if method == 1 else None
            start += content.start if content else 0
            return data[start : start + _STREAM_BYTES]
        at = extents + count * (index_bytes + offset_bytes + length_bytes)
    return b""
