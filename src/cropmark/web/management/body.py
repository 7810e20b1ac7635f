"""Reads the body of a management request: a multipart form with a file, else JSON.

JSON needs no Content-Type, because the vendor's SDKs send none after an upload. The form's file is named
`asset[upload]`, or `asset` by SDKs that replace a file.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import structlog
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cropmark.library.inspection import inspect_file
from cropmark.management.request import InvalidField, UploadedFile
from cropmark.model.assets import MAX_NAME_CHARS
from cropmark.model.media_types import UNKNOWN_CONTENT
from cropmark.model.problems import Overloaded, SourceProblem
from cropmark.ports import OpenSource, Renderers, SourceVersion
from cropmark.web.body_reader import body_pieces
from cropmark.web.request import Receive

log = structlog.get_logger("cropmark.access")

JSON_BYTES: Final = 2**20
FIELD_BYTES: Final = 64 * 1024
FIELDS: Final = 50
FILES: Final = ("asset[upload]", "asset")


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """The fields and the file of a request's body."""

    fields: Mapping[str, Any]
    file: UploadFile | None = None
    is_form: bool = False


async def read_body(
    receive: Receive, headers: Mapping[str, str], limit_bytes: int, cleanup: AsyncExitStack
) -> ParsedBody:
    """Read and parse the body. `cleanup` will close its file.

    Raises InvalidField, ClientDisconnected, and Overloaded if the disk is full.
    """
    content_type = headers.get("content-type", "")
    try:
        if content_type.lower().startswith("multipart/"):
            return await _form(receive, content_type, limit_bytes, cleanup)
        return ParsedBody(_object(b"".join([piece async for piece in _parser_pieces(receive, JSON_BYTES)])))
    except TimeoutError as error:
        raise InvalidField("the body of the request arrived too slowly", fix="send it faster") from error


async def inspect_upload(file: UploadFile, renderers: Renderers) -> UploadedFile:
    """The uploaded file with its name, format and size, or with its media type if it is not an image.

    A file of an unknown type is accepted; it will be delivered as an attachment. Raises InvalidField for a broken
    image, and Overloaded.
    """
    with _report_full_disk():
        source = await asyncio.to_thread(_on_disk, file.file)
    try:
        upload = await inspect_file(source, renderers, _safe_name(file.filename or ""))
    except SourceProblem as problem:
        raise InvalidField(f"the image cannot be used: {problem.detail}", parameter="upload") from problem
    if upload.format is None and upload.other_type is None:
        upload = replace(upload, other_type=UNKNOWN_CONTENT)
    return UploadedFile(upload, source)


async def _form(receive: Receive, content_type: str, limit_bytes: int, cleanup: AsyncExitStack) -> ParsedBody:
    parser = MultiPartParser(
        Headers({"content-type": content_type}),
        _parser_pieces(receive, limit_bytes + JSON_BYTES),
        max_files=1,
        max_fields=FIELDS,
        max_part_size=FIELD_BYTES,
    )
    try:
        with _report_full_disk():
            form = await parser.parse()
    except (MultiPartException, KeyError, LookupError) as error:
        raise InvalidField("expected a complete form with one file", fix="let the client library write it") from error
    cleanup.push_async_callback(form.close)
    file = next((form[name] for name in FILES if isinstance(form.get(name), UploadFile)), None)
    if isinstance(file, UploadFile) and (file.size or 0) > limit_bytes:
        raise InvalidField(f"expected a file of at most {limit_bytes:,} bytes", parameter="upload")
    return ParsedBody({"asset": _fields(form)}, file if isinstance(file, UploadFile) else None, is_form=True)


def _fields(form: FormData) -> dict[str, str]:
    """The text fields of a form by name. The field `asset[title]` gets the name `title`."""
    named = ((name.removeprefix("asset[").removesuffix("]"), value) for name, value in form.items())
    return {name: value for name, value in named if isinstance(value, str)}


def _object(text: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; `{}` for an empty body. Raises InvalidField."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidField("expected JSON", fix='send {"asset": {…}}', parameter="body") from error
    if not isinstance(found, Mapping):
        raise InvalidField("expected a JSON object", fix='send {"asset": {…}}', parameter="body")
    return found


async def _parser_pieces(receive: Receive, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    too_large = InvalidField(f"expected a body of at most {limit_bytes:,} bytes", fix="send less", parameter="upload")
    async for piece in body_pieces(receive, limit_bytes, too_large):
        yield piece
    yield b""  # the parser's mark for the end


@contextmanager
def _report_full_disk() -> Iterator[None]:
    """Raise Overloaded in place of an OSError of the block: the disk has no space for the upload."""
    try:
        yield
    except TimeoutError:  # also an OSError, but caused by the client
        raise
    except OSError as error:
        log.warning("an upload cannot be stored", why=str(error))
        raise Overloaded(
            "there is not enough disk space for the upload", fix="try again later", retry_after_s=10
        ) from error


def _on_disk(file: Any) -> OpenSource:  # typed as BinaryIO; it is a SpooledTemporaryFile
    assert isinstance(file, SpooledTemporaryFile)
    file.rollover()
    file.flush()
    length = os.fstat(file.fileno()).st_size

    def close() -> None:
        """Do nothing: the form closes the file."""

    return OpenSource(file.fileno(), length, SourceVersion("upload:", ""), close)


def _safe_name(name: str) -> str:
    """A file name that can end a URL: without folders and control characters, and of at most MAX_NAME_CHARS."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c for c in last if c.isprintable()).encode("utf-8", "replace").decode("utf-8").strip(". ")
    return clean[-MAX_NAME_CHARS:] or "file"
