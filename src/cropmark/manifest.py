"""Reads manifests for `cropmark batch` and `cropmark warm`: lists of renditions as JSON lines or CSV.

    {"source": "sky/blue.jpg", "query": "width=300&format=webp", "output": "blue-300.webp"}
    {"url": "/kontent/sky/blue.jpg?w=300", "output": "blue-300.jpg"}

A line has the path of an image and a query in a dialect, or the URL of a server, `/<dialect>/<source>?<query>`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from cropmark.dialects.registry import folder_entries
from cropmark.model.problems import BadRequest

FIELDS: Final = ("source", "query", "dialect", "url", "output")
DEFAULT_DIALECT: Final = "fastly"
_MAX_NAME_BYTES: Final = 1024
_EXPECTED: Final = 'write {"source": "a.jpg", "query": "width=300", "output": "a-300.jpg"}, or a URL as "url"'


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One rendition of a manifest.

    `source` is the path of the image, `query` a query in the dialect.
    """

    line: int
    source: str
    query: str
    dialect: str
    output: str
    """The path of the result below the output folder; empty if the line does not name it."""

    @property
    def url(self) -> str:
        """The rendition's path and query on a server where each dialect has its own prefix."""
        path = f"/{self.dialect}/{quote(self.source, errors='surrogateescape')}"
        return f"{path}?{self.query}" if self.query else path


def is_manifest(first_line: str) -> bool:
    """True if a text with this first line is a manifest: a JSON object, or a CSV header with our columns."""
    return first_line.lstrip().startswith("{") or _is_header(first_line)


def parse_manifest(lines: Iterable[str]) -> Iterator[ManifestEntry]:
    """Yields the entries of a manifest, in order. Raises BadRequest with the number of an invalid line."""
    rows = iter(lines)
    first = next(rows, "").removeprefix("\ufeff")
    if _is_header(first):
        reader = csv.DictReader(_chained(first, rows))
        try:
            for row in reader:
                yield _entry(reader.line_num, {name: text for name, text in row.items() if text})
        except csv.Error as error:
            raise BadRequest(f"line {reader.line_num + 1}: {error}", fix=_EXPECTED) from error
        return
    for number, text in enumerate(_chained(first, rows), 1):
        if text.strip():
            yield _entry(number, _json_object(number, text))


def read_manifest(path: Path) -> Iterator[ManifestEntry]:
    """Yields the entries of a manifest file, in order. Raises OSError, and BadRequest for an invalid line."""
    with path.open(encoding="utf-8", newline="") as lines:
        try:
            yield from parse_manifest(lines)
        except UnicodeDecodeError as error:
            raise BadRequest(f"{path} is not text: {error}", fix="write UTF-8") from error


def checked_name(name: str) -> str:
    """Check that the name of a result is a relative path without `.` and `..`, and return it.

    Raises ValueError with the reason.
    """
    if any(segment in ("", ".", "..") for segment in name.split("/")):
        raise ValueError("expected a relative path such as shop/blue-300.webp")
    if not name.isprintable() or "\\" in name:
        raise ValueError("expected a path without control characters and backslashes")
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"expected at most {_MAX_NAME_BYTES} bytes")
    return name


def _is_header(line: str) -> bool:
    names = {name.strip() for name in line.split(",")}
    return bool(names & {"source", "url"}) and names <= set(FIELDS)


def _chained(first: str, rows: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rows


def _json_object(number: int, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"line {number} is not JSON: {error}", fix=_EXPECTED) from error
    if not isinstance(found, dict):
        raise BadRequest(f"line {number}: expected a JSON object", fix=_EXPECTED)
    return found


def _entry(number: int, fields: Mapping[str, Any]) -> ManifestEntry:
    """The entry of a line, from its fields. Raises BadRequest."""
    unknown = [name for name in fields if name not in FIELDS]
    if unknown or not all(map(_is_text, fields.values())):
        raise BadRequest(f"line {number}: expected text in {', '.join(FIELDS)}", fix=_EXPECTED)
    if ("url" in fields) == ("source" in fields):
        raise BadRequest(f"line {number}: expected either source or url", fix=_EXPECTED)
    dialect, source, query = _request(number, fields)
    if dialect not in (names := [entry.name for entry in folder_entries()]):
        raise BadRequest(f"line {number}: unknown dialect {dialect[:40]!r}", fix=f"write one of {', '.join(names)}")
    try:
        output = checked_name(fields["output"]) if "output" in fields else ""
    except ValueError as error:
        raise BadRequest(f"line {number}: output {fields['output'][:80]!r}: {error}", fix=_EXPECTED) from error
    return ManifestEntry(number, source, query, dialect, output)


def _is_text(value: object) -> bool:
    """True for text. A lone surrogate is accepted only if it represents a byte of a file name."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _request(number: int, fields: Mapping[str, str]) -> tuple[str, str, str]:
    """The dialect, the path of the image, and the query of a line. Raises BadRequest."""
    if "source" in fields:
        query = fields.get("query", "").removeprefix("?")
        return fields.get("dialect", DEFAULT_DIALECT), fields["source"].removeprefix("/"), query
    if not {"query", "dialect"}.isdisjoint(fields):
        raise BadRequest(
            f"line {number}: a line with url must not have query or dialect, which are parts of the URL", fix=_EXPECTED
        )
    try:
        parts = urlsplit(fields["url"])
    except ValueError as error:
        raise BadRequest(f"line {number}: url: {error}", fix=_EXPECTED) from error
    dialect, _, path = parts.path.removeprefix("/").partition("/")
    return dialect, unquote(path, errors="surrogateescape"), parts.query
