"""Types for the content of a vendor's export: folders, assets with all versions, publications and environments.

ContentstackExport and KontentExport read an export; site_import stores it in the library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit

from cropmark.model.assets import MAX_NAME_CHARS
from cropmark.model.problems import BadRequest
from cropmark.model.text import clean_text, is_valid_text
from cropmark.ports import OpenSource

_READ_CHARS = 256 * 1024


@dataclass(frozen=True, slots=True)
class ExportedVersion:
    """One version of an asset. `path` is the path of its delivery URL. `open_file` opens its file or raises OSError."""

    number: int
    path: str
    filename: str
    open_file: Callable[[], OpenSource]
    file_uid: str | None = None
    """The file's id in Contentstack's URLs; with None the import creates an id."""
    file_id: str | None = None
    """The file's id in Kontent.ai's URLs; with None the import creates an id."""
    bytes: int | None = None
    """The length of the file according to the export. A file of another length is rejected; None skips this check."""
    created_ms: int | None = None
    created_by: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedPublication:
    """A version that is published in an environment. `environment` is the environment's uid."""

    environment: str
    locale: str
    version: int
    at_ms: int | None
    by: str


@dataclass(frozen=True, slots=True)
class ExportedAsset:
    """An asset with its versions, the oldest first.

    `origin` identifies the asset at the vendor, such as `kontent:{id}`. `slug` is the end of its permanent URL.
    """

    uid: str
    origin: str
    title: str
    description: str
    tags: tuple[str, ...]
    parent_uid: str | None
    slug: str | None
    versions: tuple[ExportedVersion, ...]
    publications: tuple[ExportedPublication, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    """A folder of assets."""

    uid: str
    name: str
    parent_uid: str | None


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """An entry of the export that cannot be imported, and the reason."""

    name: str
    reason: str


class Export(Protocol):
    """A vendor's export. Its methods raise BadRequest if the files are not a valid export, and OSError."""

    @property
    def api_key(self) -> str | None:
        """The stack's id in Contentstack's URLs; with None the import creates an id."""
        ...

    @property
    def kontent_id(self) -> str | None:
        """The stack's id in Kontent.ai's URLs; with None the import creates an id."""
        ...

    @property
    def environments(self) -> Mapping[str, str]:
        """The names of the environments by uid."""
        ...

    def folders(self) -> Iterator[ExportedFolder]:
        """The folders, each after its parent."""
        ...

    def assets(self) -> Iterator[ExportedAsset | UnreadableEntry]:
        """The assets. Each asset is read only when the iteration reaches it."""
        ...


# ------------------------------------------------------------------------------------------------ reading


def json_values(file: IO[str], name: str) -> Iterator[Any]:
    """Yields the values of a JSON array or object, parsed one at a time.

    The file may be larger than the memory. `name` is its name in error messages. Raises BadRequest if the file is
    malformed, or is neither an array nor an object.
    """
    reader = _ValueReader(file, name)
    opening = reader.next_char()
    closing = {"[": "]", "{": "}"}.get(opening)
    if closing is None:
        raise reader.malformed()
    reader.skip()
    while reader.next_char() != closing:
        if opening == "{":
            reader.value()
            if reader.next_char() != ":":
                raise reader.malformed()
            reader.skip()
        yield reader.value()
        if reader.next_char() == ",":
            reader.skip()
        elif reader.next_char() != closing:
            raise reader.malformed()


class _ValueReader:
    def __init__(self, file: IO[str], name: str) -> None:
        self._file = file
        self._name = name
        self._text = ""
        self._decoder = json.JSONDecoder()

    def malformed(self) -> BadRequest:
        return BadRequest(f"{self._name} is not valid JSON", fix="export again")

    def next_char(self) -> str:
        """The next character that is not white space. Raises BadRequest at the end of the file."""
        while not (text := self._text.lstrip()):
            if not self._more():
                raise self.malformed()
        self._text = text
        return text[0]

    def skip(self) -> None:
        """Skip the character that next_char() returned."""
        self._text = self._text[1:]

    def value(self) -> Any:
        """The next JSON value.

        If it ends where the text read so far ends, more of the file is read: a number may have more digits.
        """
        self.next_char()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except (ValueError, RecursionError) as error:
                if not self._more():
                    raise self.malformed() from error
                continue
            if end < len(self._text) or not self._more():
                self._text = self._text[end:]
                return value

    def _more(self) -> bool:
        # Each read doubles the text: a long value is decoded from its beginning after every read.
        piece = self._file.read(max(_READ_CHARS, len(self._text)))
        self._text += piece
        return bool(piece)


def text_of(value: Any, default: str = "") -> str:
    """The value as valid text, cut to MAX_NAME_CHARS. The default if the value is empty or not a string."""
    return long_text_of(value)[:MAX_NAME_CHARS] or default


def long_text_of(value: Any) -> str:
    """The value as valid text of any length; empty if the value is not a string."""
    return clean_text(value) if isinstance(value, str) else ""


def delivery_url(entry: Mapping[str, Any], pattern: re.Pattern[str]) -> re.Match[str] | None:
    """Match the path of an entry's URL with the pattern. None if the URL is missing or does not match."""
    try:
        path = unquote(urlsplit(entry["url"]).path)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return pattern.fullmatch(path)


def unix_ms_of(value: Any) -> int | None:
    """A time such as `2026-01-08T15:07:53.495Z` in Unix milliseconds; None for anything else."""
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except (TypeError, ValueError):
        return None


def safe_file(folder: Path, *names: str) -> Path | None:
    """The path of a file below the folder; None if a name is invalid text or could lead out of the folder."""
    if any(not name or "/" in name or not is_valid_text(name) or name in (".", "..") for name in names):
        return None
    return folder.joinpath(*names)
