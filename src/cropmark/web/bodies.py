"""The body of a request, read in pieces: short fields as text, a picture straight into a file.

JSON, multipart and forms differ in how a field begins and ends; what becomes of its bytes is Parts' to say. A picture
of 25 MB, also in base64, is never in memory whole, and no piece holds up the event loop for longer than 64 KiB take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, assert_never
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, QuerystringParser, parse_options_header

from cropmark.dialects.pixlab.bodies import MAX_FIELDS, Body
from cropmark.dialects.pixlab.long_json import JsonBody
from cropmark.dialects.pixlab.pictures import Base64Reader, Base64Text, picture_input
from cropmark.plan.source import Upload
from cropmark.ports import Intake
from cropmark.problems import BadOrder, Problem
from cropmark.web.requests import Receive

PIECE: Final = 65_536
IDLE_S: Final = 15.0
"""Between two pieces."""
TOTAL_S: Final = 120.0
FIELDS_BYTES: Final = 2**20
"""All names and texts of a body together, pictures aside."""
SHORT: Final = 8192
"""A text in `img` of up to so many bytes is a field like any other; a longer one is a picture."""

_PICTURE: Final = "img"
_FILE: Final = "file"

NewIntake = Callable[[], Intake]


class Gone(Exception):
    """The client hung up before all of the request was there."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a body held. `problem` is what is wrong with it: told once the key is known, which may stand in it too."""

    fields: Mapping[str, str]
    file: Upload | None = None
    """The part `file`, else a file in the part `img`."""
    text: Upload | None = None
    """The picture that the text in `img` stands for, where that is too long for a field."""
    problem: Problem | None = None


async def taken(receive: Receive, reader: Reader, limit_bytes: int) -> Taken:
    """The whole body, fed to a reader. Raises Gone; everything else is told in the Taken."""
    try:
        async with asyncio.timeout(TOTAL_S):
            await _fed(receive, reader, limit_bytes)
        reader.end()
    except Problem as problem:
        reader.parts.note(problem)
    except TimeoutError:
        reader.parts.note(BadOrder("the body came too slowly", fix="send it at once"))
    return reader.parts.taken()


async def _fed(receive: Receive, reader: Reader, limit_bytes: int) -> None:
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
            raise BadOrder(f"expected a body of at most {limit_bytes:,} bytes, got more", fix="send a smaller picture")
        for at in range(0, len(body), PIECE):
            reader.feed(body[at : at + PIECE])
            await asyncio.sleep(0)  # others first


# ------------------------------------------------------------------------------------------------ fields


class _Sink(Protocol):
    """Where the bytes of one field go."""

    def add(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


class Parts:
    """The fields of a body as they come: begin(), add() as often as need be, end()."""

    def __init__(self, new_intake: NewIntake) -> None:
        self.new_intake = new_intake
        self.fields: dict[str, str] = {}
        self.files: dict[str, Upload] = {}
        self.text: Upload | None = None
        self._room = FIELDS_BYTES
        self._count = 0
        self._problem: Problem | None = None
        self._sink: _Sink = _Nowhere()

    def begin(self, name: str, *, is_file: bool) -> None:
        """A field begins. Raises BadOrder for too many."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise BadOrder(f"the body has more than {MAX_FIELDS} fields", fix="leave out those that do nothing")
        if name == _FILE or (is_file and name == _PICTURE):
            self._sink = _FileSink(self, name)
        elif is_file:
            self._sink = _Nowhere()
        else:
            self.use(len(name))
            self._sink = _PictureSink(self) if name == _PICTURE else _TextSink(self, name)

    def add(self, piece: bytes) -> None:
        """Some of the field's bytes. What is wrong with them is noted, and the rest of the field left out."""
        try:
            self._sink.add(piece)
        except Problem as problem:
            self.note(problem)
            self._sink = _Nowhere()

    def end(self) -> None:
        """The field has ended."""
        try:
            self._sink.end()
        except Problem as problem:
            self.note(problem)
        self._sink = _Nowhere()

    def use(self, count: int) -> None:
        """Count bytes of text. Raises BadOrder past FIELDS_BYTES."""
        self._room -= count
        if self._room < 0:
            raise BadOrder(f"the fields have more than {FIELDS_BYTES} bytes", fix="send the picture as the part file")

    def note(self, problem: Problem) -> None:
        """Something is wrong; the first such thing is told."""
        self._problem = self._problem or problem

    def taken(self) -> Taken:
        """All that there was."""
        file = self.files.get(_FILE) or self.files.get(_PICTURE)
        return Taken(self.fields, file, self.text, self._problem)


class _Nowhere:
    def add(self, piece: bytes) -> None:
        """Left out."""

    def end(self) -> None:
        """Nothing was kept."""


class _TextSink:
    """A short text; of a repeated name the last."""

    def __init__(self, parts: Parts, name: str) -> None:
        self._parts = parts
        self._name = name
        self._text = bytearray()

    def add(self, piece: bytes) -> None:
        self._parts.use(len(piece))
        self._text += piece

    def end(self) -> None:
        self._parts.fields[self._name] = self._text.decode("utf-8", "replace")


class _FileSink:
    """An upload; an empty one is what a browser sends for no file."""

    def __init__(self, parts: Parts, name: str) -> None:
        self._parts = parts
        self._name = name
        self._intake = parts.new_intake()

    def add(self, piece: bytes) -> None:
        self._intake.write(piece)

    def end(self) -> None:
        if self._intake.length:
            self._parts.files[self._name] = self._intake.held()


class _PictureSink:
    """The text of `img`: kept while it is short, for it may be a URL; a long one is base64, and decoded as it comes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._head = b""
        self._reader: Base64Reader | None = None
        self._intake: Intake | None = None

    def add(self, piece: bytes) -> None:
        if self._reader is None:
            self._head += piece
            if len(self._head) <= SHORT:
                return
            piece = self._begun()
        self._write(piece)

    def end(self) -> None:
        if self._reader is None or self._intake is None:
            self._parts.fields[_PICTURE] = self._head.decode("utf-8", "replace")
            return
        if rest := self._reader.rest():
            self._intake.write(rest)
        self._parts.text = self._intake.held()

    def _begun(self) -> bytes:
        """What of the head is base64. Raises BadOrder for a URL of that length."""
        found = picture_input(self._head.decode("utf-8", "replace"))
        if not isinstance(found, Base64Text):
            raise BadOrder(f"img: expected a URL of at most {SHORT} bytes, got more", fix="shorten it", parameter="img")
        self._reader, self._intake = Base64Reader(), self._parts.new_intake()
        return found.text.encode("utf-8")

    def _write(self, piece: bytes) -> None:
        assert self._reader is not None
        assert self._intake is not None
        if decoded := self._reader.feed(piece):
            self._intake.write(decoded)


# ------------------------------------------------------------------------------------------------ bodies


class Reader(Protocol):
    """Takes a body apart. Both methods raise BadOrder for what is none of its kind."""

    parts: Parts

    def feed(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


def reader_of(kind: Body, content_type: str, parts: Parts) -> Reader:
    """What reads a body of this kind. Raises BadOrder for multipart without a boundary."""
    match kind:
        case Body.JSON:
            return _JsonReader(parts)
        case Body.FORM:
            return _FormReader(parts)
        case Body.MULTIPART:
            return _MultipartReader(parts, content_type)
        case _:
            assert_never(kind)


class _JsonReader:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._body = JsonBody()
        self._begun = False

    def feed(self, piece: bytes) -> None:
        text = self._body.feed(piece)
        if text and not self._begun:
            self._begun = True
            self.parts.begin(_PICTURE, is_file=False)
        if text:
            self.parts.add(text)

    def end(self) -> None:
        if self._begun:
            self.parts.end()
        self.parts.fields |= self._body.fields()


class _FormReader:
    def __init__(self, parts: Parts) -> None:
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
            raise BadOrder("expected a form", fix="send Content-Type: multipart/form-data") from error

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
    def __init__(self, parts: Parts, content_type: str) -> None:
        self.parts = parts
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadOrder("multipart: expected a boundary", fix="let the client library set the Content-Type")
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


def _no_multipart() -> BadOrder:
    return BadOrder("expected a whole multipart body", fix="let the client library write it")
