"""The serialized form of a rendition: a header with checksums, the record as JSON, the body.

    offset  bytes
    0       8      magic
    8       2      version of this format
    10      4      length of the record
    14      8      length of the body
    22      32     the key, so that a file under a wrong name is never served
    54      4      CRC-32 of the body
    58      4      CRC-32 of all fields before this one, and of the record
    62             record, body

All integers are little-endian. Why CRC-32, and why JSON by pydantic: docs/decisions/0050.
"""

from __future__ import annotations

import struct
import zlib

from pydantic import TypeAdapter
from pydantic_core import to_json

from cropmark.ports import Digest, Record, Rendition

MAGIC = b"cropmark"
VERSION = 1

_FIELDS = struct.Struct("<8sHIQ32sI")
_CHECK = struct.Struct("<I")
HEAD_BYTES = _FIELDS.size + _CHECK.size

_RECORDS = TypeAdapter(Record)
_PIECE_BYTES = 5 * 1024

Bytes = bytes | bytearray | memoryview


class CorruptEntry(ValueError):
    """Bytes that are not a complete entry with this key and this version of the format."""


def encode(key: Digest, rendition: Rendition) -> tuple[bytes, bytes]:
    """The header with the record, and the body.

    Raises ValueError if the record cannot be written as JSON (text with lone surrogates).
    """
    record = _RECORDS.dump_json(rendition.record)
    body = rendition.body
    fields = _FIELDS.pack(MAGIC, VERSION, len(record), len(body), bytes.fromhex(key), zlib.crc32(body))
    check = zlib.crc32(record, zlib.crc32(fields))
    return b"".join((fields, _CHECK.pack(check), record)), body


def decode(key: Digest, data: Bytes) -> Rendition:
    """The rendition in `data`. Raises CorruptEntry if any bit differs from those written."""
    view = memoryview(data)
    start, length, check = _checked_head(key, view)
    body = view[start:]
    if len(body) != length or _crc32(body) != check:
        raise CorruptEntry("the checksum of the body is wrong")
    return Rendition(bytes(body), record=_record(view[HEAD_BYTES:start]))


def decode_record(key: Digest, start: Bytes) -> Record:
    """The record, from the first bytes of a file; the body is not checked. Raises CorruptEntry."""
    view = memoryview(start)
    return _record(view[HEAD_BYTES : _checked_head(key, view)[0]])


def tag_needle(tag_prefix: str) -> bytes:
    """Bytes that every encoded record with such a tag contains; records without them need not be parsed.

    Raises ValueError for a text that no record can contain.
    """
    return to_json(tag_prefix)[:-1]  # without the closing quote


def body_offset(start: Bytes) -> int:
    """The offset of the body, from the first bytes of a file; unchecked. Raises CorruptEntry if they are too few."""
    if len(start) < HEAD_BYTES:
        raise CorruptEntry("shorter than a header")
    return HEAD_BYTES + int(_FIELDS.unpack_from(start)[2])


def _checked_head(key: Digest, view: memoryview) -> tuple[int, int, int]:
    """The offset of the body, its length and its checksum."""
    start = body_offset(view)
    magic, version, _, length, entry_key, check = _FIELDS.unpack_from(view)
    if (magic, version, entry_key) != (MAGIC, VERSION, bytes.fromhex(key)):
        raise CorruptEntry("another format, or another key")
    if len(view) < start:
        raise CorruptEntry("shorter than its record")
    actual = zlib.crc32(view[HEAD_BYTES:start], zlib.crc32(view[: _FIELDS.size]))
    if actual != _CHECK.unpack_from(view, _FIELDS.size)[0]:
        raise CorruptEntry("the checksum of the record is wrong")
    return start, length, check


def _crc32(body: memoryview) -> int:
    """The checksum, in pieces: for longer input zlib releases the GIL, which costs a hit more than the checksum."""
    check = 0
    for at in range(0, len(body), _PIECE_BYTES):
        check = zlib.crc32(body[at : at + _PIECE_BYTES], check)
    return check


def _record(text: memoryview) -> Record:
    try:
        return _RECORDS.validate_json(bytes(text))
    except ValueError as error:
        # Its checksum was right, so it was written when a Record had other fields.
        raise CorruptEntry("a record with other fields") from error
