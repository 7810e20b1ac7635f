"""The form of a rendition outside memory: a head that can be checked, the record as JSON, the body.

    offset  bytes
    0       8      magic
    8       2      version of this form
    10      4      length of the record
    14      8      length of the body
    22      32     the key, so that a file under a wrong name is never served
    54      4      CRC-32 of the body
    58      4      CRC-32 of all before this field, and of the record
    62             record, body

All integers are little-endian. Why CRC-32, why JSON by pydantic: docs/decisions/0050.
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
_PIECE = 5 * 1024

Bytes = bytes | bytearray | memoryview


class CorruptEntry(ValueError):
    """Bytes that are not a whole rendition of ours under this key."""


def packed(key: Digest, rendition: Rendition) -> tuple[bytes, bytes]:
    """What stands before the body, and the body.

    Raises ValueError for a record that JSON cannot say (text with lone surrogates).
    """
    record = _RECORDS.dump_json(rendition.record)
    body = rendition.body
    fields = _FIELDS.pack(MAGIC, VERSION, len(record), len(body), bytes.fromhex(key), zlib.crc32(body))
    check = zlib.crc32(record, zlib.crc32(fields))
    return b"".join((fields, _CHECK.pack(check), record)), body


def unpacked(key: Digest, data: Bytes) -> Rendition:
    """The rendition that `data` holds whole. Raises Damaged if a single bit of it is not as it was written."""
    view = memoryview(data)
    start, length, check = _checked_head(key, view)
    body = view[start:]
    if len(body) != length or _crc32(body) != check:
        raise CorruptEntry("the body is not what was written")
    return Rendition(bytes(body), record=_record(view[HEAD_BYTES:start]))


def record_of(key: Digest, start: Bytes) -> Record:
    """The record alone, from a file's first bytes; the body is not looked at. Raises Damaged."""
    view = memoryview(start)
    return _record(view[HEAD_BYTES : _checked_head(key, view)[0]])


def trace_of(tag_prefix: str) -> bytes:
    """What the bytes of a record hold somewhere if it has a tag that begins so; others need not be parsed.

    Raises ValueError for a text that no record could hold.
    """
    return to_json(tag_prefix)[:-1]  # without the closing quote


def body_offset(start: Bytes) -> int:
    """Where the body begins, by a file's first bytes; unchecked. Raises Damaged where there is no head."""
    if len(start) < HEAD_BYTES:
        raise CorruptEntry("shorter than a head")
    return HEAD_BYTES + int(_FIELDS.unpack_from(start)[2])


def _checked_head(key: Digest, view: memoryview) -> tuple[int, int, int]:
    """Where the body begins, its length, its checksum."""
    start = body_offset(view)
    magic, version, _, length, owner, check = _FIELDS.unpack_from(view)
    if (magic, version, owner) != (MAGIC, VERSION, bytes.fromhex(key)):
        raise CorruptEntry("of another form, or under another key")
    if len(view) < start:
        raise CorruptEntry("shorter than its record")
    found = zlib.crc32(view[HEAD_BYTES:start], zlib.crc32(view[: _FIELDS.size]))
    if found != _CHECK.unpack_from(view, _FIELDS.size)[0]:
        raise CorruptEntry("the record is not what was written")
    return start, length, check


def _crc32(body: memoryview) -> int:
    """In pieces: of longer ones zlib lets go of the interpreter's lock, which costs a hit more than the sum does."""
    check = 0
    for at in range(0, len(body), _PIECE):
        check = zlib.crc32(body[at : at + _PIECE], check)
    return check


def _record(text: memoryview) -> Record:
    try:
        return _RECORDS.validate_json(bytes(text))
    except ValueError as error:
        # Whole, but written when a Record had other fields.
        raise CorruptEntry("a record of another time") from error
