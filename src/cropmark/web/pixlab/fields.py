"""Stores the fields of a PixLab body as they arrive: short fields as text, images in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cropmark.dialects.pixlab.image_field import Base64Decoder, Base64Text, read_image
from cropmark.dialects.pixlab.query import MAX_FIELDS
from cropmark.model.problems import BadRequest, Problem
from cropmark.plan.source import UploadRef
from cropmark.ports import UploadWriter

MAX_TEXT_BYTES: Final = 64 * 1024
"""Limit of all field names and texts of a body together, without images."""
MAX_FIELD_BYTES: Final = 8192
"""Longest text in `img` that is stored as a field, such as a URL; a longer text must be base64, which is decoded."""
IMAGE_FIELD: Final = "img"
FILE_FIELD: Final = "file"

NewUpload = Callable[[], UploadWriter]


@dataclass(frozen=True, slots=True)
class ParsedFields:
    """The fields of a body, and its first error.

    The caller raises `problem` only after it has checked the key, because the key may be one of the fields.
    """

    fields: Mapping[str, str]
    file: UploadRef | None = None
    """The uploaded file in the part `file`, or else in the part `img`."""
    text: UploadRef | None = None
    """The image decoded from base64 text in `img`; None if the text in `img` has at most MAX_FIELD_BYTES."""
    problem: Problem | None = None
    incomplete: bool = False
    """True if a part of the body could not be read. The unread part may contain the key."""


class _Sink(Protocol):
    """Receives the bytes of one field."""

    def add(self, piece: bytes) -> None: ...

    def end(self) -> None: ...


class FieldReader:
    """Collects the fields of a body. A parser calls begin(), add() for each piece, and end() for each field."""

    def __init__(self, new_upload: NewUpload) -> None:
        self.new_upload = new_upload
        self.texts: dict[str, str] = {}
        self.files: dict[str, UploadRef] = {}
        self.text: UploadRef | None = None
        self._bytes_left = MAX_TEXT_BYTES
        self._count = 0
        self._problem: Problem | None = None
        self._incomplete = False
        self._sink: _Sink = _DiscardSink()

    def begin(self, name: str, *, is_file: bool) -> None:
        """Begin the field `name`. Raises BadRequest above MAX_FIELDS or MAX_TEXT_BYTES."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise BadRequest(f"the body has more than {MAX_FIELDS} fields", fix="remove the fields without effect")
        if name == FILE_FIELD or (is_file and name == IMAGE_FIELD):
            self._sink = _FileSink(self, name)
        elif is_file:
            self._sink = _DiscardSink()
        else:
            self.count_bytes(len(name))
            self._sink = _ImageSink(self) if name == IMAGE_FIELD else _TextSink(self, name)

    def add(self, piece: bytes) -> None:
        """Add bytes to the current field. After an error, record it and discard the rest of the field."""
        try:
            self._sink.add(piece)
        except Problem as problem:
            self.add_problem(problem)
            self._sink = _DiscardSink()

    def end(self) -> None:
        """End the current field and store its value."""
        try:
            self._sink.end()
        except Problem as problem:
            self.add_problem(problem)
        self._sink = _DiscardSink()

    def count_bytes(self, count: int) -> None:
        """Count bytes of field names and texts. Raises BadRequest above MAX_TEXT_BYTES in total."""
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise BadRequest(
                f"the fields have more than {MAX_TEXT_BYTES} bytes",
                fix="send the image as the part named file of a multipart body",
            )

    def add_problem(self, problem: Problem) -> None:
        """Record an error. Only the first error of a body is reported."""
        self._problem = self._problem or problem

    def abort(self, problem: Problem) -> None:
        """Record an error, and that the rest of the body was not read."""
        self.add_problem(problem)
        self._incomplete = True

    def result(self) -> ParsedFields:
        file = self.files.get(FILE_FIELD) or self.files.get(IMAGE_FIELD)
        return ParsedFields(self.texts, file, self.text, self._problem, self._incomplete)


class _DiscardSink:
    def add(self, piece: bytes) -> None:
        """Discard the bytes."""

    def end(self) -> None:
        """Store nothing."""


class _TextSink:
    """Stores the text of a short field. If a name is repeated, its last value counts."""

    def __init__(self, fields: FieldReader, name: str) -> None:
        self._fields = fields
        self._name = name
        self._text = bytearray()

    def add(self, piece: bytes) -> None:
        self._fields.count_bytes(len(piece))
        self._text += piece

    def end(self) -> None:
        self._fields.texts[self._name] = self._text.decode("utf-8", "replace")


class _FileSink:
    """Writes an uploaded file to disk. An empty file is ignored: browsers send it if no file was selected."""

    def __init__(self, fields: FieldReader, name: str) -> None:
        self._fields = fields
        self._name = name
        self._upload = fields.new_upload()

    def add(self, piece: bytes) -> None:
        self._upload.write(piece)

    def end(self) -> None:
        if self._upload.length:
            self._fields.files[self._name] = self._upload.finish()


class _ImageSink:
    """Reads the text of `img`.

    A text of at most MAX_FIELD_BYTES, such as a URL, is stored as a field. A longer text is decoded as base64.
    """

    def __init__(self, fields: FieldReader) -> None:
        self._fields = fields
        self._head = b""
        self._reader: Base64Decoder | None = None
        self._upload: UploadWriter | None = None

    def add(self, piece: bytes) -> None:
        if self._reader is None:
            self._head += piece
            if len(self._head) <= MAX_FIELD_BYTES:
                return
            piece = self._begin_base64()
        self._write(piece)

    def end(self) -> None:
        if self._reader is None or self._upload is None:
            self._fields.texts[IMAGE_FIELD] = self._head.decode("utf-8", "replace")
            return
        if rest := self._reader.finish():
            self._upload.write(rest)
        self._fields.text = self._upload.finish()

    def _begin_base64(self) -> bytes:
        """Begin to decode `img` as base64, and return the base64 text received so far.

        Raises BadRequest if the text is a URL, which may have at most MAX_FIELD_BYTES.
        """
        found = read_image(self._head.decode("utf-8", "replace"))
        if not isinstance(found, Base64Text):
            raise BadRequest(
                f"img: expected a URL of at most {MAX_FIELD_BYTES} bytes, got more", fix="shorten it", parameter="img"
            )
        self._reader, self._upload = Base64Decoder(), self._fields.new_upload()
        return found.text.encode("utf-8")

    def _write(self, piece: bytes) -> None:
        assert self._reader is not None
        assert self._upload is not None
        if decoded := self._reader.feed(piece):
            self._upload.write(decoded)
