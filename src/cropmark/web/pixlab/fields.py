"""The fields of a body: short ones as text, a picture straight into a file, whatever kind of body they came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cropmark.dialects.pixlab.query import MAX_FIELDS
from cropmark.dialects.pixlab.steps import Base64Reader, Base64Text, picture_input
from cropmark.model.problems import BadRequest, Problem
from cropmark.plan.source import UploadRef
from cropmark.ports import UploadWriter

FIELDS_BYTES: Final = 2**20
"""All names and texts of a body together, pictures aside."""
SHORT: Final = 8192
"""A text in `img` of up to so many bytes is a field like any other; a longer one is a picture."""
PICTURE: Final = "img"
FILE: Final = "file"

NewIntake = Callable[[], UploadWriter]


@dataclass(frozen=True, slots=True)
class ParsedFields:
    """What a body held. `problem` is what is wrong with it: told once the key is known, which may stand in it too."""

    fields: Mapping[str, str]
    file: UploadRef | None = None
    """The part `file`, else a file in the part `img`."""
    text: UploadRef | None = None
    """The picture that the text in `img` stands for, where that is too long for a field."""
    problem: Problem | None = None
    unread: bool = False
    """Whether part of it could not be read; a key may stand there."""


class _Sink(Protocol):
    """Where the bytes of one field go."""

    def add(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


class FieldReader:
    """The fields of a body as they come: begin(), add() as often as need be, end()."""

    def __init__(self, new_intake: NewIntake) -> None:
        self.new_intake = new_intake
        self.fields: dict[str, str] = {}
        self.files: dict[str, UploadRef] = {}
        self.text: UploadRef | None = None
        self._room = FIELDS_BYTES
        self._count = 0
        self._problem: Problem | None = None
        self._unread = False
        self._sink: _Sink = _DiscardSink()

    def begin(self, name: str, *, is_file: bool) -> None:
        """A field begins. Raises BadOrder for too many."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise BadRequest(f"the body has more than {MAX_FIELDS} fields", fix="leave out those that do nothing")
        if name == FILE or (is_file and name == PICTURE):
            self._sink = _FileSink(self, name)
        elif is_file:
            self._sink = _DiscardSink()
        else:
            self.use(len(name))
            self._sink = _ImageSink(self) if name == PICTURE else _TextSink(self, name)

    def add(self, piece: bytes) -> None:
        """Some of the field's bytes. What is wrong with them is noted, and the rest of the field left out."""
        try:
            self._sink.add(piece)
        except Problem as problem:
            self.note(problem)
            self._sink = _DiscardSink()

    def end(self) -> None:
        """The field has ended."""
        try:
            self._sink.end()
        except Problem as problem:
            self.note(problem)
        self._sink = _DiscardSink()

    def use(self, count: int) -> None:
        """Count bytes of text. Raises BadOrder past FIELDS_BYTES."""
        self._room -= count
        if self._room < 0:
            raise BadRequest(f"the fields have more than {FIELDS_BYTES} bytes", fix="send the picture as the part file")

    def note(self, problem: Problem) -> None:
        """Something is wrong; the first such thing is told."""
        self._problem = self._problem or problem

    def break_off(self, problem: Problem) -> None:
        """Something is so wrong that the rest cannot be read."""
        self.note(problem)
        self._unread = True

    def taken(self) -> ParsedFields:
        """All that there was."""
        file = self.files.get(FILE) or self.files.get(PICTURE)
        return ParsedFields(self.fields, file, self.text, self._problem, self._unread)


class _DiscardSink:
    def add(self, piece: bytes) -> None:
        """Left out."""

    def end(self) -> None:
        """Nothing was kept."""


class _TextSink:
    """A short text; of a repeated name the last."""

    def __init__(self, parts: FieldReader, name: str) -> None:
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

    def __init__(self, parts: FieldReader, name: str) -> None:
        self._parts = parts
        self._name = name
        self._intake = parts.new_intake()

    def add(self, piece: bytes) -> None:
        self._intake.write(piece)

    def end(self) -> None:
        if self._intake.length:
            self._parts.files[self._name] = self._intake.finish()


class _ImageSink:
    """The text of `img`: kept while it is short, for it may be a URL; a long one is base64, and decoded as it comes."""

    def __init__(self, parts: FieldReader) -> None:
        self._parts = parts
        self._head = b""
        self._reader: Base64Reader | None = None
        self._intake: UploadWriter | None = None

    def add(self, piece: bytes) -> None:
        if self._reader is None:
            self._head += piece
            if len(self._head) <= SHORT:
                return
            piece = self._begun()
        self._write(piece)

    def end(self) -> None:
        if self._reader is None or self._intake is None:
            self._parts.fields[PICTURE] = self._head.decode("utf-8", "replace")
            return
        if rest := self._reader.rest():
            self._intake.write(rest)
        self._parts.text = self._intake.finish()

    def _begun(self) -> bytes:
        """What of the head is base64. Raises BadOrder for a URL of that length."""
        found = picture_input(self._head.decode("utf-8", "replace"))
        if not isinstance(found, Base64Text):
            raise BadRequest(
                f"img: expected a URL of at most {SHORT} bytes, got more", fix="shorten it", parameter="img"
            )
        self._reader, self._intake = Base64Reader(), self._parts.new_intake()
        return found.text.encode("utf-8")

    def _write(self, piece: bytes) -> None:
        assert self._reader is not None
        assert self._intake is not None
        if decoded := self._reader.feed(piece):
            self._intake.write(decoded)
