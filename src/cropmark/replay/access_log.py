"""Parses access logs: the combined format of nginx and Apache, JSON lines of CDNs, and W3C extended logs.

Each request becomes a LoggedRequest. The known field names are those of nginx, Apache, Fastly's default JSON template,
Cloudflare's http_requests data set, CloudFront's real-time and standard logs, Caddy, and Google's httpRequest.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, urlsplit

from cropmark.model.problems import BadRequest

MAX_LINE_CHARS: Final = 64 * 1024
"""Longest line that is parsed: no server accepts a URL that needs a longer line."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request in an access log. `target` is its path and query, percent-encoded.

    None: the log does not contain the field.
    """

    method: str
    target: str
    host: str | None = None
    status: int | None = None
    media_type: str | None = None
    """The media type of the response."""


class LogParser:
    """Parses the lines of one access log, in their order.

    The order matters in a W3C log, where a line names the fields of the lines after it.
    """

    def __init__(self) -> None:
        self._w3c_fields: tuple[str, ...] = ()

    def parse(self, line: str) -> LoggedRequest | None:
        """The request in a line; None for a comment, an empty line, or a line in an unknown format."""
        line = line.strip("\r\n\ufeff ")
        if not line or len(line) > MAX_LINE_CHARS:
            return None
        if line.startswith("#"):
            if line.startswith("#Fields:"):
                self._w3c_fields = tuple(line.removeprefix("#Fields:").split())
            return None
        if line.startswith("{"):
            return _from_json(line)
        if self._w3c_fields:
            return _from_w3c(line, self._w3c_fields)
        return _from_combined(line)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of the file `path`, which may be compressed by gzip. The path `-` is standard input.

    Raises OSError, and BadRequest for damaged compressed data.
    """
    if str(path) == "-":
        yield from _text(sys.stdin.buffer)
        return
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            yield from _text(gzip.GzipFile(fileobj=file) if is_gzip else file)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadRequest(f"{path} is a damaged gzip file: {error}", fix="copy or compress the log again") from error


def _text(stream: IO[bytes] | gzip.GzipFile) -> Iterator[str]:
    with io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="\n") as text:
        yield from text


# ------------------------------------------------------------------------------------------------ combined

# host ident user [time] "request" status …; Apache's vhost_combined has name:port before it.
_COMBINED: Final = re.compile(r'(?P<client>[^"\[]*)\[[^\]]*\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3})(?: |$)')
_VIRTUAL_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9.-]+):\d+")
_ESCAPE: Final = re.compile(r'\\(x[0-9A-Fa-f]{2}|["\\])')


def _from_combined(line: str) -> LoggedRequest | None:
    match = _COMBINED.match(line)
    if match is None:
        return None
    words = match["client"].split()
    virtual_host = _VIRTUAL_HOST.fullmatch(words[0]) if len(words) >= 4 else None
    request = _ESCAPE.sub(_unescaped, match["request"])
    return _from_request_line(request, virtual_host["host"] if virtual_host else None, int(match["status"]), None)


def _unescaped(match: re.Match[str]) -> str:
    escaped = match[1]
    return f"%{escaped[1:].upper()}" if escaped.startswith("x") else escaped


def _from_request_line(line: str, host: str | None, status: int | None, media_type: str | None) -> LoggedRequest | None:
    method, _, rest = line.partition(" ")
    target = re.sub(r" HTTP/[0-9.]+$", "", rest)
    return _logged(method, target, host, status, media_type)


# ------------------------------------------------------------------------------------------------ JSON

# fmt: off
_TARGET_FIELDS: Final = (
    "ClientRequestURI", "request_uri", "cs-uri-stem", "cs_uri_stem", "url", "uri", "requestUrl", "target", "path",
)
_QUERY_FIELDS: Final = ("cs-uri-query", "cs_uri_query", "query_string", "query", "args")
_METHOD_FIELDS: Final = ("ClientRequestMethod", "request_method", "cs-method", "cs_method", "requestMethod", "method")
_HOST_FIELDS: Final = (
    "ClientRequestHost", "x-host-header", "x_host_header", "http_host", "host", "cs(Host)", "cs-host",
)
_STATUS_FIELDS: Final = ("EdgeResponseStatus", "sc-status", "sc_status", "response_status", "status_code", "status")
_TYPE_FIELDS: Final = (
    "EdgeResponseContentType", "sc-content-type", "sc_content_type", "response_content_type", "content_type",
)
# fmt: on


def _from_json(line: str) -> LoggedRequest | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    for name in ("httpRequest", "request"):  # Google's and Caddy's objects
        if isinstance(fields.get(name), dict):
            fields = {**fields, **fields[name]}
    return _from_fields(fields)


def _from_w3c(line: str, names: tuple[str, ...]) -> LoggedRequest | None:
    values = line.split("\t") if "\t" in line else line.split()
    if len(values) != len(names):
        return None
    return _from_fields({name: value for name, value in zip(names, values, strict=True) if value != "-"})


def _from_fields(fields: Mapping[str, Any]) -> LoggedRequest | None:
    host, media_type = _first(fields, _HOST_FIELDS), _first(fields, _TYPE_FIELDS)
    status_text = _first(fields, _STATUS_FIELDS) or ""
    status = int(status_text) if re.fullmatch("[1-5][0-9]{2}", status_text) else None
    target = _first(fields, _TARGET_FIELDS)
    if target is None:
        line = fields.get("request")
        return _from_request_line(line, host, status, media_type) if isinstance(line, str) else None
    query = _first(fields, _QUERY_FIELDS)
    if query and "?" not in target:
        target = f"{target}?{query.removeprefix('?')}"
    return _logged(_first(fields, _METHOD_FIELDS) or "GET", target, host, status, media_type)


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first value, as text, among the fields with these names. None if all of them are empty or missing.

    Only texts and numbers are values; `-` is empty.
    """
    for name in names:
        value = fields.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value not in ("", "-"):
            return str(value)
    return None


# ------------------------------------------------------------------------------------------------ the request

_SENDABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?")


def _logged(
    method: str, target: str, host: str | None, status: int | None, media_type: str | None
) -> LoggedRequest | None:
    """A LoggedRequest with normalized fields; None if `target` is not a path or URL, such as `*`."""
    if "://" in target.partition("?")[0]:  # the absolute form, also in Google's logs
        try:
            parts = urlsplit(target)
        except ValueError:
            return None
        host = parts.netloc or host
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = target.partition("#")[0]
    if not target.startswith("/"):
        return None
    sendable = quote(target, safe=_SENDABLE, errors="surrogateescape")
    named = host.lower() if host and _HOST.fullmatch(host) else None
    kind = media_type.partition(";")[0].strip().lower() if media_type else None
    return LoggedRequest(method.upper(), sendable, named, status, kind)
