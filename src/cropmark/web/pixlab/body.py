"""The body of a request, read in pieces and taken apart: JSON, multipart and forms, each by its own reader.

They differ in how a field begins and ends; what becomes of its bytes is Parts' to say. A picture of 25 MB, also in
base64, is never in memory whole, and no piece holds up the event loop for longer than 64 KiB take.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, assert_never
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, QuerystringParser, parse_options_header

from cropmark.dialects.pixlab.long_json import JsonBody
from cropmark.dialects.pixlab.query import BodyKind
from cropmark.model.problems import BadRequest, Problem
from cropmark.web.pixlab.fields import PICTURE, FieldReader, ParsedFields
from cropmark.web.request import Receive

PIECE: Final = 65_536
IDLE_S: Final = 15.0
"""Between two pieces."""
TOTAL_S: Final = 120.0


class Gone(Exception):
    """The client hung up before all of the request was there."""


async def taken(receive: Receive, reader: BodyReader, limit_bytes: int) -> ParsedFields:
    """The whole body, fed to a reader. Raises Gone; everything else is told in the Taken."""
    try:
        async with asyncio.timeout(TOTAL_S):
            await _fed(receive, reader, limit_bytes)
        reader.end()
    except Problem as problem:
        reader.parts.break_off(problem)
    except TimeoutError:
        reader.parts.break_off(BadRequest("the body came too slowly", fix="send it at once"))
    return reader.parts.taken()


async def _fed(receive: Receive, reader: BodyReader, limit_bytes: int) -> None:
    count = 0
    more = True
    while more:
        async with asyncio.timeout(IDLE_S):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body = message.get("body", b"")
        more = message.get("more_body", False)
        count += len(body)
        if count > limit_bytes:
            raise BadRequest(
                f"expected a body of at most {limit_bytes:,} bytes, got more", fix="send a smaller picture"
            )
        for at in range(0, len(body), PIECE):
            reader.feed(body[at : at + PIECE])
            await asyncio.sleep(0)  # others first


# ------------------------------------------------------------------------------------------------ kinds


class BodyReader(Protocol):
    """Takes a body apart. Both methods raise BadOrder for what is none of its kind."""

    parts: FieldReader

    def feed(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


def reader_of(kind: BodyKind, content_type: str, parts: FieldReader) -> BodyReader:
    """What reads a body of this kind. Raises BadOrder for multipart without a boundary."""
    match kind:
        case BodyKind.JSON:
            return _JsonReader(parts)
        case BodyKind.FORM:
            return _FormReader(parts)
        case BodyKind.MULTIPART:
            return _MultipartReader(parts, content_type)
        case _:
            assert_never(kind)


class _JsonReader:
    def __init__(self, parts: FieldReader) -> None:
        self.parts = parts
        self._body = JsonBody()
        self._begun = False

    def feed(self, piece: bytes) -> None:
        text = self._body.feed(piece)
        if text and not self._begun:
            self._begun = True
            self.parts.begin(PICTURE, is_file=False)
        if text:
            self.parts.add(text)

    def end(self) -> None:
        if self._begun:
            self.parts.end()
        self.parts.fields |= self._body.fields()


class _FormReader:
    def __init__(self, parts: FieldReader) -> None:
        self.parts = parts
        self._name = bytearray()
        self._begun = False
        self._cut = b""
        """An escape of which a part is still to come."""
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
        self.parts.use(end - start)
        self._name += data[start:end]

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._begin()
        text = self._cut + data[start:end]
        at = text.rfind(b"%", -2)
        self._cut, text = (text[at:], text[:at]) if at >= 0 else (b"", text)
        self.parts.add(_decoded(text))

    def _end(self) -> None:
        self._begin()
        self.parts.add(_decoded(self._cut))
        self.parts.end()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.parts.begin(_decoded(bytes(self._name)).decode("utf-8", "replace"), is_file=False)


class _MultipartReader:
    def __init__(self, parts: FieldReader, content_type: str) -> None:
        self.parts = parts
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
                    "on_part_end": self.parts.end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _no_multipart() from error

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _no_multipart() from error

    def end(self) -> None:
        if not self._ended:
            raise _no_multipart()

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
        self.parts.begin(name, is_file=b"filename" in options)

    def _add(self, data: bytes, start: int, end: int) -> None:
        self.parts.add(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _no_multipart() -> BadRequest:
    return BadRequest("expected a whole multipart body", fix="let the client library write it")
