"""Parses the body of a PixLab request as it arrives: JSON, a multipart form, or a URL-encoded form.

A parser finds the beginning and end of each field, and a FieldReader stores the field's bytes. So even a base64 image
of 25 MB is never completely in memory. The event loop can run other requests after each FEED_BYTES.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, assert_never
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, QuerystringParser, parse_options_header

from cropmark.dialects.pixlab.endpoints import BodyKind
from cropmark.dialects.pixlab.json_body import JsonBody
from cropmark.model.problems import BadRequest, Problem
from cropmark.web.body_reader import body_pieces
from cropmark.web.pixlab.fields import IMAGE_FIELD, FieldReader, ParsedFields
from cropmark.web.request import Receive

FEED_BYTES: Final = 65_536
"""Largest piece that a reader gets; a larger one would block the event loop."""
TOTAL_S: Final = 120.0
"""Longest time for a whole body."""


async def read_fields(receive: Receive, reader: BodyReader, limit_bytes: int) -> ParsedFields:
    """Parse the body and return its fields. Raises ClientDisconnected; ParsedFields.problem holds any other error."""
    try:
        async with asyncio.timeout(TOTAL_S):
            await _feed(receive, reader, limit_bytes)
        reader.end()
    except Problem as problem:
        reader.fields.abort(problem)
    except TimeoutError:
        reader.fields.abort(BadRequest("the body of the request arrived too slowly", fix="send it faster"))
    return reader.fields.result()


async def _feed(receive: Receive, reader: BodyReader, limit_bytes: int) -> None:
    too_large = BadRequest(f"expected a body of at most {limit_bytes:,} bytes, got more", fix="send a smaller image")
    async for piece in body_pieces(receive, limit_bytes, too_large):
        for at in range(0, len(piece), FEED_BYTES):
            reader.feed(piece[at : at + FEED_BYTES])
            await asyncio.sleep(0)  # let other requests run


# ------------------------------------------------------------------------------------------------ formats


class BodyReader(Protocol):
    """Parses a body into `fields`. feed() and end() raise BadRequest for a malformed body."""

    fields: FieldReader

    def feed(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


def reader_for(body_format: BodyKind, content_type: str, fields: FieldReader) -> BodyReader:
    """The parser of a body format. Raises BadRequest for multipart without a boundary."""
    match body_format:
        case BodyKind.JSON:
            return _JsonReader(fields)
        case BodyKind.FORM:
            return _FormReader(fields)
        case BodyKind.MULTIPART:
            return _MultipartReader(fields, content_type)
        case _:
            assert_never(body_format)


class _JsonReader:
    def __init__(self, fields: FieldReader) -> None:
        self.fields = fields
        self._body = JsonBody()
        self._begun = False

    def feed(self, piece: bytes) -> None:
        text = self._body.feed(piece)
        if text and not self._begun:
            self._begun = True
            self.fields.begin(IMAGE_FIELD, is_file=False)
        if text:
            self.fields.add(text)

    def end(self) -> None:
        if self._begun:
            self.fields.end()
        self.fields.texts |= self._body.fields()


class _FormReader:
    def __init__(self, fields: FieldReader) -> None:
        self.fields = fields
        self._name = bytearray()
        self._begun = False
        self._cut = b""
        """The beginning of a percent escape that the next piece completes."""
        self._parser = QuerystringParser(
            {
                "on_field_start": self._start,
                "on_field_name": self._add_name,
                "on_field_data": self._add,
                "on_field_end": self._end,
            }
        )

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BadRequest("expected a form", fix="send Content-Type: multipart/form-data") from error

    def end(self) -> None:
        self._parser.finalize()

    def _start(self) -> None:
        self._name.clear()
        self._begun, self._cut = False, b""

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self.fields.count_bytes(end - start)
        self._name += data[start:end]

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._begin()
        text = self._cut + data[start:end]
        at = text.rfind(b"%", -2)
        self._cut, text = (text[at:], text[:at]) if at >= 0 else (b"", text)
        self.fields.add(_unquote(text))

    def _end(self) -> None:
        self._begin()
        self.fields.add(_unquote(self._cut))
        self.fields.end()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.fields.begin(_unquote(bytes(self._name)).decode("utf-8", "replace"), is_file=False)


class _MultipartReader:
    def __init__(self, fields: FieldReader, content_type: str) -> None:
        self.fields = fields
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadRequest("multipart: expected a boundary", fix="let the client library set the Content-Type")
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part,
                    "on_header_field": self._add_header,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin,
                    "on_part_data": self._add,
                    "on_part_end": self.fields.end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _invalid_multipart() from error

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _invalid_multipart() from error

    def end(self) -> None:
        if not self._ended:
            raise _invalid_multipart()

    def _part(self) -> None:
        self._disposition = b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin(self) -> None:
        options = parse_options_header(self._disposition.decode("latin-1"))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self.fields.begin(name, is_file=b"filename" in options)

    def _add(self, data: bytes, start: int, end: int) -> None:
        self.fields.add(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _invalid_multipart() -> BadRequest:
    return BadRequest("expected a complete multipart body", fix="let the client library write it")
