"""Reads requests for one range of bytes, as video players send them, and builds the headers of their responses.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-14
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from cropmark.model.formats import TRAITS, Format
from cropmark.ports import Record
from cropmark.web.cors import RawHeaders
from cropmark.web.request import Scope

_ONE_RANGE: Final = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)

_VIDEO: Final = TRAITS[Format.MP4].media_type
_OF_A_BODY: Final = frozenset(
    {b"content-type", b"content-length", b"content-disposition", b"cache-control", b"etag", b"last-modified"}
)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range of a body of `total` bytes, from the byte `start` to the byte before `end`."""

    start: int
    end: int
    total: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """The value of Content-Range: `bytes 0-499/1234`."""
        return f"bytes {self.start}-{self.end - 1}/{self.total}"


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """A requested range that begins after the end of a body of `total` bytes."""

    total: int

    @property
    def content_range(self) -> str:
        return f"bytes */{self.total}"


def has_ranges(record: Record) -> bool:
    """True if the server sends ranges of this response: of originals and of videos. Some video players need them."""
    return record.original is not None or record.media_type == _VIDEO


def range_of(scope: Scope, headers: RawHeaders, total: int) -> ByteRange | Unsatisfiable | None:
    """The range that a request asks for in a body of `total` bytes; None if the response is the complete body.

    `headers` are those of the complete response.
    """
    given = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in (b"range", b"if-range")]
    ranges = [value for name, value in given if name == b"range"]
    if scope["method"] != "GET" or len(ranges) != 1:
        return None
    answer = dict(headers)
    validators = (answer.get(name, b"").decode("latin-1") for name in (b"etag", b"last-modified"))
    if not is_same_body(next((value for name, value in given if name == b"if-range"), ""), *validators):
        return None
    return requested_range(ranges[0], total)


def partial_headers(headers: RawHeaders, part: ByteRange) -> RawHeaders:
    """The headers of a 206 response, made from the headers of the complete response."""
    others = (header for header in headers if header[0] != b"content-length")
    length = (b"content-length", str(part.length).encode())
    return [*others, length, (b"content-range", part.content_range.encode())]


def unsatisfiable_headers(headers: RawHeaders, beyond: Unsatisfiable) -> RawHeaders:
    """The headers of a 416 response, made from the headers of the complete response. No cache may store a 416."""
    others = (header for header in headers if header[0] not in _OF_A_BODY)
    length = (b"content-length", b"0")
    return [*others, length, (b"content-range", beyond.content_range.encode()), (b"cache-control", b"no-store")]


def requested_range(text: str, total: int) -> ByteRange | Unsatisfiable | None:
    """The range in the Range header `text`, for a body of `total` bytes; None if the header is to be ignored.

    A header with another unit than bytes, with several ranges or with an error is ignored.
    """
    found = _ONE_RANGE.fullmatch(text)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, total - int(suffix)), total
        return ByteRange(start, end, total) if start < end else Unsatisfiable(total)
    start = int(first)
    if last and int(last) < start:
        return None
    end = min(int(last) + 1, total) if last else total
    return ByteRange(start, end, total) if start < total else Unsatisfiable(total)


def is_same_body(if_range: str, etag: str, last_modified: str) -> bool:
    """True if If-Range is empty or matches the current body, so that a range of it may be sent.

    A weak ETag never matches. A date matches only if it equals Last-Modified.
    """
    validator = if_range.strip()
    if not validator:
        return True
    if validator.endswith('"'):
        return validator == etag
    try:
        return parsedate_to_datetime(validator) == parsedate_to_datetime(last_modified)
    except (TypeError, ValueError):
        return False
