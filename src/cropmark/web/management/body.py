"""The body of a management call: JSON, also where nothing says so, or a form with a file.

Source of the traps: requests of the vendor's own SDKs, which send JSON without a Content-Type after an upload, and name
the file `asset` when they replace one.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import structlog
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cropmark.management.request import Unprocessable, UploadedFile
from cropmark.model.assets import MAX_NAME_CHARS, UploadInfo
from cropmark.model.formats import READABLE, SNIFFED_BYTES, sniffed
from cropmark.model.problems import Overloaded, SourceProblem
from cropmark.ports import OpenSource, Renderers, SourceVersion
from cropmark.web.request import Receive

log = structlog.get_logger("cropmark.access")

JSON_BYTES: Final = 2**20
FIELD_BYTES: Final = 64 * 1024
FIELDS: Final = 50
IDLE_S: Final = 15.0
"""Between two pieces of a body."""
FILES: Final = ("asset[upload]", "asset")


class Gone(Exception):
    """The client hung up before all of the request was there."""


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """What a body says, and the file in it."""

    fields: Mapping[str, Any]
    file: UploadFile | None = None
    is_form: bool = False


async def read(receive: Receive, headers: Mapping[str, str], limit_bytes: int, held: AsyncExitStack) -> ParsedBody:
    """The whole body; its file is closed with the stack. Raises Unacceptable, Gone, Overloaded."""
    content_type = headers.get("content-type", "")
    try:
        if content_type.lower().startswith("multipart/"):
            return await _form(receive, content_type, limit_bytes, held)
        return ParsedBody(_object(b"".join([piece async for piece in _pieces(receive, JSON_BYTES)])))
    except TimeoutError as error:
        raise Unprocessable("the body came too slowly", fix="send it at once") from error


async def inspected(file: UploadFile, renderers: Renderers) -> UploadedFile:
    """The file as a renderer found it to be, whatever its name and the client say. Raises Unacceptable, Overloaded."""
    with _room():
        source = await asyncio.to_thread(_on_disk, file.file)
    kind = sniffed(os.pread(source.descriptor, SNIFFED_BYTES, 0))
    if kind is None:
        raise Unprocessable("the file is no picture that is known here", parameter="upload")
    size = None
    if kind in READABLE:
        try:
            info = await renderers.inspect(source, foreign=True)
        except SourceProblem as problem:
            raise Unprocessable(f"the picture cannot be used: {problem.detail}", parameter="upload") from problem
        kind, size = info.format, info.size
    return UploadedFile(UploadInfo(_name(file.filename or ""), kind, size), source)


async def _form(receive: Receive, content_type: str, limit_bytes: int, held: AsyncExitStack) -> ParsedBody:
    parser = MultiPartParser(
        Headers({"content-type": content_type}),
        _pieces(receive, limit_bytes + JSON_BYTES),
        max_files=1,
        max_fields=FIELDS,
        max_part_size=FIELD_BYTES,
    )
    try:
        with _room():
            form = await parser.parse()
    except (MultiPartException, KeyError, LookupError) as error:
        raise Unprocessable("expected a whole form with one file", fix="let the client library write it") from error
    held.push_async_callback(form.close)
    file = next((form[name] for name in FILES if isinstance(form.get(name), UploadFile)), None)
    if isinstance(file, UploadFile) and (file.size or 0) > limit_bytes:
        raise Unprocessable(f"expected a file of at most {limit_bytes:,} bytes", parameter="upload")
    return ParsedBody({"asset": _fields(form)}, file if isinstance(file, UploadFile) else None, is_form=True)


def _fields(form: FormData) -> dict[str, str]:
    """The texts of a form, `asset[title]` as `title`."""
    named = ((name.removeprefix("asset[").removesuffix("]"), value) for name, value in form.items())
    return {name: value for name, value in named if isinstance(value, str)}


def _object(text: bytes) -> Mapping[str, Any]:
    """The JSON object; nothing at all is an empty one."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unprocessable("expected JSON", fix='send {"asset": {…}}', parameter="body") from error
    if not isinstance(found, Mapping):
        raise Unprocessable("expected a JSON object", fix='send {"asset": {…}}', parameter="body")
    return found


async def _pieces(receive: Receive, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises Unacceptable past the limit, Gone, TimeoutError."""
    count, more = 0, True
    while more:
        async with asyncio.timeout(IDLE_S):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        count += len(piece)
        if count > limit_bytes:
            raise Unprocessable(
                f"expected a body of at most {limit_bytes:,} bytes", fix="send less", parameter="upload"
            )
        yield piece
    yield b""  # tells the parser of its end


@contextmanager
def _room() -> Iterator[None]:
    """A disk that takes no file now is told as Overloaded."""
    try:
        yield
    except TimeoutError:  # an OSError too, and the client's
        raise
    except OSError as error:
        log.warning("an upload cannot be taken in", why=str(error))
        raise Overloaded("there is no room to take in a file", fix="try again later", retry_after_s=10) from error


def _on_disk(file: Any) -> OpenSource:  # typed as BinaryIO, and one that rolls over to the disk
    assert isinstance(file, SpooledTemporaryFile)
    file.rollover()
    file.flush()
    length = os.fstat(file.fileno()).st_size

    def close() -> None:
        """The form closes it."""

    return OpenSource(file.fileno(), length, SourceVersion("upload:", ""), close)


def _name(name: str) -> str:
    """A name that can be the last part of a URL: no folders, no control characters, not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c for c in last if c.isprintable()).encode("utf-8", "replace").decode("utf-8").strip(". ")
    return clean[-MAX_NAME_CHARS:] or "file"
