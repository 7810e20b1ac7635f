"""The format of a cache entry: a header with checksums, the record as JSON, the body.

    offset  bytes
    0       8      magic
    8       2      version of this format
    10      4      length of the record
    14      8      length of the body
    22      32     the key, so that a file under a wrong name is never served
    54      4      CRC-32 of the body
    58      4      CRC-32 of all fields before this one, and of the record
    62             record, body

All integers are little-endian. docs/decisions/0050 gives the reasons for CRC-32 and for JSON by pydantic.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from pydantic import TypeAdapter

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
    """Raised for bytes that are not a complete entry with the expected key and this version of the format."""


def encode(key: Digest, rendition: Rendition) -> tuple[bytes, bytes]:
    """The bytes of an entry in two parts: the header with the record, and the body.

    Raises ValueError if the record cannot be written as JSON (text with lone surrogates).
    """
    record = _RECORDS.dump_json(rendition.record)
    body = rendition.body
    fields = _FIELDS.pack(MAGIC, VERSION, len(record), len(body), bytes.fromhex(key), zlib.crc32(body))
    check = zlib.crc32(record, zlib.crc32(fields))
    return b"".join((fields, _CHECK.pack(check), record)), body


def decode(key: Digest | None, data: Bytes) -> Rendition:
    """The rendition in an entry. Raises CorruptEntry if any bit of the entry has changed since it was written.

    A `key` of None accepts an entry with any key; this also applies to the functions below.
    """
    view = memoryview(data)
    start, length, check = _checked_head(key, view)
    body = view[start:]
    if len(body) != length or _crc32(body) != check:
        raise CorruptEntry("the checksum of the body is wrong")
    return Rendition(bytes(body), record=_record(view[HEAD_BYTES:start]))


def decode_record(key: Digest | None, start: Bytes) -> Record:
    """The record of an entry. `start` has the bytes of the file up to the end of the record.

    Does not check the body. Raises CorruptEntry.
    """
    view = memoryview(start)
    return _record(view[HEAD_BYTES : _checked_head(key, view)[0]])


def verified_record(key: Digest | None, start: Bytes, body: Iterable[bytes]) -> Record:
    """The record of an entry, after a check of the whole entry.

    `start` has the bytes before the body, `body` has the body in pieces. Raises CorruptEntry if any bit of the entry
    has changed since it was written.
    """
    view = memoryview(start)
    offset, length, expected = _checked_head(key, view)
    check = 0
    for piece in body:
        check, length = zlib.crc32(piece, check), length - len(piece)
    if length or check != expected:
        raise CorruptEntry("the checksum of the body is wrong")
    return _record(view[HEAD_BYTES:offset])


def body_offset(start: Bytes) -> int:
    """The offset of the body in the entry. `start` has the first bytes of the file. Does not verify a checksum.

    Raises CorruptEntry if `start` is shorter than a header.
    """
    if len(start) < HEAD_BYTES:
        raise CorruptEntry("shorter than a header")
    return HEAD_BYTES + int(_FIELDS.unpack_from(start)[2])


def _checked_head(key: Digest | None, view: memoryview) -> tuple[int, int, int]:
    """The offset, length and checksum of the body. Raises CorruptEntry if the key or a checksum is wrong."""
    start = body_offset(view)
    magic, version, _, length, entry_key, check = _FIELDS.unpack_from(view)
    if (magic, version) != (MAGIC, VERSION) or (key is not None and entry_key != bytes.fromhex(key)):
        raise CorruptEntry("another format, or another key")
    if len(view) < start:
        raise CorruptEntry("shorter than its record")
    actual = zlib.crc32(view[HEAD_BYTES:start], zlib.crc32(view[: _FIELDS.size]))
    if actual != _CHECK.unpack_from(view, _FIELDS.size)[0]:
        raise CorruptEntry("the checksum of the record is wrong")
    return start, length, check


def _crc32(body: memoryview) -> int:
    """The CRC-32 of the body, computed in small pieces.

    For longer input zlib releases the GIL, which slows a cache hit.
    """
    check = 0
    for at in range(0, len(body), _PIECE_BYTES):
        check = zlib.crc32(body[at : at + _PIECE_BYTES], check)
    return check


def _record(text: memoryview) -> Record:
    try:
        return _RECORDS.validate_json(bytes(text))
    except ValueError as error:
        # The record's checksum is right, so it was written by a version of cropmark with other fields in Record.
        raise CorruptEntry("a record with other fields") from error
