"""A JSON body becomes fields: in one call, or in pieces if its `img` is a large base64 string.

An image of 20 MB in base64 is one JSON string; parsing it in one call would block all other requests for that long.
Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

from cropmark.model.problems import BadRequest
from cropmark.model.text import parse_json

BOOLEANS: Final = frozenset({"blob", "count"})
_MOST_DIGITS = 30


def fields_of_json(body: bytes) -> dict[str, str]:
    """The members of a JSON object as text. The last of a repeated one counts; null counts as absent.

    Booleans become `true` and `false`, as do numbers in boolean fields: all except 0 are true. Lists and objects inside
    are ignored. Raises BadRequest if the body is not a JSON object of valid text.
    """
    try:
        found = parse_json(body, parse_int=_Number, parse_float=_Number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest("expected a body in JSON", fix='write an object: {"img": "https://…", "x": 0}') from error
    if not isinstance(found, dict):
        raise BadRequest("expected a JSON object", fix='write an object: {"img": "https://…", "x": 0}')
    return {name: text for name, value in found.items() if (text := _text(name, value)) is not None}


class _Number(str):
    """A JSON number as its text, so neither a float nor an integer of a million digits is made."""

    __slots__ = ()


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _text(name: str, value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case _Number():
            return _of_number(name, value)
        case str():
            return value
        case _:
            return None


def _of_number(name: str, number: _Number) -> str:
    """The number in decimal notation; one with a huge exponent stays as it is and is rejected by its reader."""
    try:
        value = Decimal(number)
    except InvalidOperation:  # an exponent with twenty digits
        return str(number)
    if name in BOOLEANS:
        return "true" if value else "false"
    return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(number)


# ------------------------------------------------------------------------------------------------ in pieces

MAX_OTHERS_BYTES: Final = 64 * 1024
"""Limit of the body without the text of `img`."""
MAX_TOKENS: Final = 4096
"""Limit of strings, numbers, punctuation and white space between them: each takes longer than its bytes."""
MAX_DEPTH: Final = 16
"""Limit of objects and lists inside each other."""

# Possessive quantifiers: each byte is matched only once.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}:,]|[^"\[\]{}:,]++', re.DOTALL)
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\u[0-9A-Fa-f]{4}|\\[^u])*+', re.DOTALL)
_ESCAPES: Final = re.compile(rb"(?:\\u[0-9A-Fa-f]{4}|\\[^u])++", re.DOTALL)
_ESCAPE_BYTES: Final = len(rb"\u002b")
_IMG: Final = b'"img"'


class JsonBody:
    """An incremental parser of one body: call feed() with each piece, then fields()."""

    def __init__(self) -> None:
        self._unread = b""
        self._others = bytearray()
        self._depth = 0
        self._tokens = 0
        self._member = b""
        """The name of the current member of the outer object."""
        self._last = b""
        """The last token that is not white space."""
        self._is_in_image = False

    def feed(self, piece: bytes) -> bytes:
        """The part of the text of `img` in this piece, with its escapes decoded.

        Raises BadRequest for other members above MAX_OTHERS_BYTES, MAX_TOKENS or MAX_DEPTH, and for invalid JSON in the
        text.
        """
        self._unread += piece
        text = b""
        while self._unread:
            left = len(self._unread)
            if self._is_in_image:
                text += self._read_image()
            else:
                self._collect_others()
            if len(self._unread) == left:
                break
        if len(self._others) + len(self._unread) > MAX_OTHERS_BYTES:
            raise BadRequest(
                f"the body holds more than {MAX_OTHERS_BYTES} bytes without img",
                fix="send only the needed fields",
            )
        return text

    def fields(self) -> dict[str, str]:
        """All members except a text `img`, as fields_of_json() reads them. Raises BadRequest."""
        return fields_of_json(bytes(self._others) + self._unread)

    def _collect_others(self) -> None:
        """Collect the other members, up to the text of `img` or to a string that is not complete yet."""
        at, is_image = 0, False
        while at < len(self._unread) and not is_image:
            is_image = self._is_at_image(at)
            token = None if is_image else _TOKEN.match(self._unread, at)
            if token is None:
                break
            self._track(token.group())
            at = token.end()
        self._others += self._unread[:at] + (b"null" if is_image else b"")
        self._unread = self._unread[at + is_image :]
        self._is_in_image = is_image

    def _is_at_image(self, at: int) -> bool:
        is_value = self._depth == 1 and self._last == b":" and self._member == _IMG
        return is_value and self._unread[at : at + 1] == b'"'

    def _track(self, token: bytes) -> None:
        self._tokens += 1
        if token in b"{[":
            self._depth += 1
        elif token in b"}]":
            self._depth -= 1
        elif token.startswith(b'"') and self._depth == 1 and self._last in (b"{", b","):
            self._member = token
        if self._tokens > MAX_TOKENS or self._depth > MAX_DEPTH:
            raise BadRequest(
                f"expected at most {MAX_TOKENS} values and marks in the body, at most {MAX_DEPTH} levels deep",
                fix="send only the needed fields",
            )
        self._last = token.strip() or self._last

    def _read_image(self) -> bytes:
        """The available text of `img`; an incomplete escape stays until the next piece."""
        end = self._complete_end()
        text = self._unread[:end]
        if self._unread[end : end + 1] == b'"':
            self._is_in_image, self._last = False, b'""'
            end += 1
        self._unread = self._unread[end:]
        return _unescape(text)

    def _complete_end(self) -> int:
        inside = _INSIDE.match(self._unread)
        end = inside.end() if inside else 0
        if self._unread[end : end + 1] == b"\\" and len(self._unread) - end >= _ESCAPE_BYTES:
            raise BadRequest("expected a body in JSON", fix=r"write escapes like \u002b")
        return end


def _unescape(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    if b"\\\\" not in text:
        text = text.replace(b"\\/", b"/")  # PHP escapes every slash: one in 64 characters of base64
    return _ESCAPES.sub(lambda match: _decode_escapes(match.group()), text)


def _decode_escapes(escapes: bytes) -> bytes:
    try:
        text = json.loads(b'"' + escapes + b'"')
    except ValueError as error:
        raise BadRequest("expected a body in JSON", fix=r"write escapes like \u002b") from error
    return str(text).encode("utf-8", "replace")
