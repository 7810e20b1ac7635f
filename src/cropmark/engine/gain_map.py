"""Gain maps: the second image in an Ultra HDR JPEG, from which a screen with HDR computes brighter highlights.

A JPEG file lists its images in an MPF segment. The additional images follow the end of the first one. A gain map can be
smaller than the first image. Its metadata is XMP, binary, or both, and does not depend on the size.

Sources: https://developer.android.com/media/platform/hdr-image-format, ISO 21496-1, CIPA DC-007
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from struct import pack, unpack_from
from typing import Final

from pyvips import Image

from cropmark.engine.jpeg_segments import Segment, head_segments
from cropmark.engine.ops import apply_all
from cropmark.geometry.recipe import AnyOp, GainMapChange
from cropmark.model.values import Size

_APP1, _APP2 = 0xE1, 0xE2
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_HDRGM: Final = b"http://ns.adobe.com/hdr-gain-map/1.0/"
_RDF_START: Final = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
)
_RDF_END: Final = b"</rdf:RDF>"
_ISO: Final = b"urn:iso:std:iso:ts:21496:-1\0"
_ICC: Final = b"ICC_PROFILE\0"
_MPF: Final = b"MPF\0"
_MAX_SEGMENTS: Final = 200
_MAX_IMAGES: Final = 16
_MAX_METADATA_BYTES: Final = 2**17
"""Longest metadata that is read; cameras write one to three kilobytes."""
_QUALITY: Final = 85


@dataclass(frozen=True, slots=True)
class GainMap:
    """A gain map: its JPEG file, and the segments with its metadata in the order of the file."""

    jpeg: bytes
    metadata: tuple[bytes, ...]


def gain_map_of(data: bytes) -> GainMap | None:
    """The gain map of a JPEG; None if it is absent or malformed, or if its metadata is too long."""
    try:
        for start, length in _other_images(data):
            jpeg = data[start : start + length]
            found = tuple(jpeg[each.start : each.end] for each in _head(jpeg) if _is_metadata(jpeg, each))
            is_map = any(name in segment for segment in found for name in (_ISO, _HDRGM))
            if is_map and sum(map(len, found)) <= _MAX_METADATA_BYTES:
                return GainMap(jpeg, found)
    except (struct.error, IndexError):
        pass
    return None


def followed(gains: Image, ops: tuple[AnyOp, ...], frame: Size, source: Size) -> Image:
    """The gain map after the Ops that change the shape of the image, such as a crop.

    `gains` is upright. `frame` is the size of the decoded image before the Ops, and `source` the size of the upright
    source. The ratio between the sizes of gain map and image stays as it is in the source, but is at most 1.
    """
    ratio = min(1.0, max(gains.width / source.width, gains.height / source.height))
    large = _resized(gains, frame.width, frame.height)
    changed = apply_all(large, tuple(op for op in ops if op.gain_map_change is GainMapChange.SAME_OP), {})
    return _resized(changed, max(1, round(changed.width * ratio)), max(1, round(changed.height * ratio)))


def with_gain_map(jpeg: bytes, gains: Image, metadata: tuple[bytes, ...]) -> bytes:
    """The JPEG file with `gains` added as its gain map. Raises pyvips.Error.

    `metadata` has the segments with the metadata of the gain map.
    """
    body = bytes(gains.jpegsave_buffer(Q=_QUALITY, keep="none", optimize_coding=True))
    second = body[:2] + b"".join(metadata) + body[2:]
    has_iso, has_xmp = (any(name in segment for segment in metadata) for name in (_ISO, _HDRGM))
    first = _with_list(jpeg, len(second)) if has_xmp else jpeg
    notes = _segment(_APP2, _ISO + bytes(4)) if has_iso else b""
    at = _end_of_head(first)
    place = at + len(notes) + 2 + 2 + len(_MPF)  # of the byte order, from which MPF counts
    total = len(first) + len(notes) + len(_index(0, 0, 0))
    return first[:at] + notes + _index(total, len(second), total - place) + first[at:] + second


def _resized(image: Image, width: int, height: int) -> Image:
    if (image.width, image.height) == (width, height):
        return image
    return image.resize(width / image.width, vscale=height / image.height, kernel="linear")


def _head(jpeg: bytes) -> Iterator[Segment]:
    return islice(head_segments(jpeg), _MAX_SEGMENTS)


def _is_metadata(jpeg: bytes, segment: Segment) -> bool:
    if segment.kind == _APP1:
        return jpeg.startswith(_XMP, segment.content) and _HDRGM in jpeg[segment.content : segment.end]
    return segment.kind == _APP2 and jpeg.startswith((_ISO, _ICC), segment.content)


def _segment(marker: int, body: bytes) -> bytes:
    return pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _other_images(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the offset and the length of each image after the first.

    Images that are not inside the file, or do not begin like a JPEG, are left out.
    """
    for segment in _head(data):
        if segment.kind == _APP2 and data.startswith(_MPF, segment.content):
            origin = segment.content + len(_MPF)
            for length, offset in _entries(data[origin : segment.end])[1:]:
                start = origin + offset
                if data[start : start + 3] == b"\xff\xd8\xff" and start + length <= len(data):
                    yield start, length
            return


def _entries(tiff: bytes) -> list[tuple[int, int]]:
    """The length and the offset of each image in an MPF index."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order:
        return []
    (directory,) = unpack_from(f"{order}I", tiff, 4)
    (count,) = unpack_from(f"{order}H", tiff, directory)
    for number in range(min(count, _MAX_IMAGES)):
        tag, _, length, value = unpack_from(f"{order}HHII", tiff, directory + 2 + 12 * number)
        if tag == 0xB002:
            images = range(min(length // 16, _MAX_IMAGES))
            return [unpack_from(f"{order}II", tiff, value + 16 * image + 4) for image in images]
    return []


def _index(first: int, second: int, offset: int) -> bytes:
    """An MPF segment that lists two images of `first` and `second` bytes.

    `offset` is the distance from the byte order in this segment to the second image.
    """
    entries = pack(">IIIHH", 0x030000, first, 0, 0, 0) + pack(">IIIHH", 0, second, offset, 0, 0)
    head = b"MM\0*" + pack(">I", 8)
    directory = pack(">H", 3) + pack(">HHI4s", 0xB000, 7, 4, b"0100") + pack(">HHII", 0xB001, 4, 1, 2)
    table = pack(">HHII", 0xB002, 7, len(entries), len(head) + 2 + 3 * 12 + 4)
    return _segment(_APP2, _MPF + head + directory + table + bytes(4) + entries)


def _with_list(jpeg: bytes, length: int) -> bytes:
    """The JPEG with a list of two images in its XMP packet: the JPEG itself, and a gain map of `length` bytes.

    An existing packet is extended, because readers ignore a second packet.
    """
    for segment in _head(jpeg):
        if segment.kind == _APP1 and jpeg.startswith(_XMP, segment.content):
            packet = jpeg[segment.content : segment.end].replace(_RDF_END, _list(length) + _RDF_END, 1)
            return jpeg[: segment.start] + _segment(_APP1, packet) + jpeg[segment.end :]
    at = _end_of_head(jpeg)
    return jpeg[:at] + _segment(_APP1, _XMP + _RDF_START + _list(length) + _RDF_END + b"</x:xmpmeta>") + jpeg[at:]


def _list(length: int) -> bytes:
    """The XMP element that lists the image and its gain map of `length` bytes."""
    items = (
        ('Item:Semantic="Primary" Item:Mime="image/jpeg"'),
        (f'Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{length}"'),
    )
    listed = "".join(f'<rdf:li rdf:parseType="Resource"><Container:Item {item}/></rdf:li>' for item in items)
    return (
        '<rdf:Description rdf:about="" xmlns:Container="http://ns.google.com/photos/1.0/container/" '
        f'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:hdrgm="{_HDRGM.decode()}" '
        f'hdrgm:Version="1.0"><Container:Directory><rdf:Seq>{listed}</rdf:Seq></Container:Directory>'
        "</rdf:Description>"
    ).encode()


def _end_of_head(jpeg: bytes) -> int:
    """The offset after the first segments of the JPEG (JFIF and APP). The MPF index is inserted there."""
    at = 2
    for segment in _head(jpeg):
        if not 0xE0 <= segment.kind <= 0xEF:
            return at
        at = segment.end
    return at
