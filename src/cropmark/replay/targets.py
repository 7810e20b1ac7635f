"""Reads the distinct image URLs of an access log, and finds the pattern of a URL's parameters."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from cropmark.replay.access_log import LoggedRequest, LogParser, read_lines

# fmt: off
IMAGE_SUFFIXES: Final = frozenset({
    "apng", "avif", "bmp", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg", "jxl", "png", "svg", "tif", "tiff",
    "webp",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class ReplayTarget:
    """A distinct URL in a log. `target` is its path and query, `requests` the number of its requests in the log.

    None for `host`: the log does not contain it.
    """

    target: str
    host: str | None
    requests: int

    @property
    def key(self) -> str:
        """The host and target, which identify the URL in the file of results."""
        return f"{self.host or ''}{self.target}"


@dataclass(frozen=True, slots=True)
class ReadLog:
    """The distinct image URLs of a log, most requested first, and the number of skipped lines for each reason."""

    targets: tuple[ReplayTarget, ...]
    lines: int
    skipped: tuple[tuple[str, int], ...]


def read_log(path: Path, matching: re.Pattern[str] | None = None) -> ReadLog:
    """Read the distinct image URLs of a log. Raises OSError, and BadRequest for damaged compressed data.

    A URL is that of an image if its path matches `matching`; without `matching`, if the media type of its response or
    the suffix of its path is that of an image.
    """
    parser, skipped, found, lines = LogParser(), Counter[str](), Counter[tuple[str, str | None]](), 0
    for line in read_lines(path):
        lines += 1
        request = parser.parse(line)
        reason = _skip_reason(request, line, matching)
        if request is None or reason is not None:
            skipped[reason or ""] += 1
            continue
        found[request.target, request.host] += 1
    targets = tuple(ReplayTarget(target, host, count) for (target, host), count in found.most_common())
    return ReadLog(targets, lines, tuple((reason, count) for reason, count in skipped.most_common() if reason))


def _skip_reason(request: LoggedRequest | None, line: str, matching: re.Pattern[str] | None) -> str | None:
    """The reason why a line is skipped; empty for a comment or an empty line, None for a request to replay."""
    if request is None:
        return "not in a known format" if line.strip() and not line.startswith("#") else ""
    if request.method != "GET":
        return "not GET"
    if request.status is not None and not (200 <= request.status < 300 or request.status == 304):
        return "not answered with success"
    return None if _is_image(request, matching) else "not an image"


def _is_image(request: LoggedRequest, matching: re.Pattern[str] | None) -> bool:
    path = request.target.partition("?")[0]
    if matching is not None:
        return matching.search(path) is not None
    if request.media_type is not None and request.media_type.startswith("image/"):
        return True
    return unquote(path).rpartition(".")[2].lower() in IMAGE_SUFFIXES


# ------------------------------------------------------------------------------------------------ patterns

_NUMBER: Final = re.compile(r"(?<![A-Za-z])\d+(?:\.\d+)?")
_COLOR: Final = re.compile(r"#?(?=[0-9A-Fa-f]*\d)(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})")
_MAX_VALUE_CHARS: Final = 24


def pattern_of(target: str) -> str:
    """The pattern of a URL's parameters: sorted, with N for numbers, such as `crop=N:N,smart&format=webp&width=N`.

    Colors, long values, and values with a slash become `…`. A URL without a query has the pattern `(no query)`.
    """
    query = target.partition("?")[2]
    pairs = sorted(pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}{equals}{_value_pattern(value)}" for name, equals, value in pairs) or "(no query)"


def _value_pattern(value: str) -> str:
    text = unquote(value)
    if len(text) > _MAX_VALUE_CHARS or "/" in text or _COLOR.fullmatch(text):
        return "…"
    return _NUMBER.sub("N", text)
