"""A JSON body becomes fields: in one call, or in pieces for a body whose `img` is a large base64 string.

An image of 20 MB in base64 is one JSON string; parsing it in one call would block all other requests for that long.
Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

from cropmark.model.problems import BadRequest

BOOLEANS: Final = frozenset({"blob", "count"})
_MOST_DIGITS = 30


def fields_of_json(body: bytes) -> dict[str, str]:
    """The members of a JSON object as text, of a repeated one the last; null is a missing one.

    true and false become these words, as numbers do in the fields that hold a boolean: any but 0 is true. Raises
    BadOrder where the body is not JSON or no object; lists and objects inside are none of our fields.
    """
    try:
        found = json.loads(body, parse_int=_Number, parse_float=_Number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest("expected a body in JSON", fix='write an object: {"img": "https://…", "x": 0}') from error
    if not isinstance(found, dict):
        raise BadRequest("expected a JSON object", fix='write an object: {"img": "https://…", "x": 0}')
    return {name: text for name, value in found.items() if (text := _text(name, value)) is not None}


class _Number(str):
    """A JSON number as it was written: no float, and no integer of a million digits."""

    __slots__ = ()


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


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
    """As a decimal without an exponent; one that nobody can mean stays as it is, and its reader refuses it."""
    try:
        value = Decimal(number)
    except InvalidOperation:  # an exponent of twenty digits
        return str(number)
    if name in BOOLEANS:
        return "true" if value else "false"
    return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(number)


# ------------------------------------------------------------------------------------------------ in pieces

MAX_OTHERS_BYTES: Final = 2**20

# Possessive, so that each byte is looked at once.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}:,]|[^"\[\]{}:,]++', re.DOTALL)
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\u[0-9A-Fa-f]{4}|\\[^u])*+', re.DOTALL)
_ESCAPES: Final = re.compile(rb"(?:\\u[0-9A-Fa-f]{4}|\\[^u])++", re.DOTALL)
_ESCAPE_BYTES: Final = len(rb"\u002b")
_PICTURE: Final = b'"img"'


class JsonBody:
    """Where the reading of one body stands: feed it every piece, then ask for the fields."""

    def __init__(self) -> None:
        self._unread = b""
        self._others = bytearray()
        self._depth = 0
        self._member = b""
        """The name of the last member of the outer object."""
        self._last = b""
        """The last token that is no white space."""
        self._in_picture = False

    def feed(self, piece: bytes) -> bytes:
        """What of the text of `img` came with the piece, its escapes undone.

        Raises BadOrder for more than MAX_OTHERS_BYTES besides, and for what is no JSON inside that text.
        """
        self._unread += piece
        found = b""
        while self._unread:
            left = len(self._unread)
            if self._in_picture:
                found += self._of_picture()
            else:
                self._keep_others()
            if len(self._unread) == left:
                break
        if len(self._others) + len(self._unread) > MAX_OTHERS_BYTES:
            raise BadRequest(
                f"the body holds more than {MAX_OTHERS_BYTES} bytes besides img", fix="send what is needed"
            )
        return found

    def fields(self) -> dict[str, str]:
        """All members but an `img` of text, as fields_of_json() reads them. Raises BadOrder."""
        return fields_of_json(bytes(self._others) + self._unread)

    def _keep_others(self) -> None:
        """Keep all that is read, up to the text of `img` or to a string whose end is still to come."""
        at, picture = 0, False
        while at < len(self._unread) and not picture:
            picture = self._begins_picture(at)
            token = None if picture else _TOKEN.match(self._unread, at)
            if token is None:
                break
            self._note(token.group())
            at = token.end()
        self._others += self._unread[:at] + (b"null" if picture else b"")
        self._unread = self._unread[at + picture :]
        self._in_picture = picture

    def _begins_picture(self, at: int) -> bool:
        awaited = self._depth == 1 and self._last == b":" and self._member == _PICTURE
        return awaited and self._unread[at : at + 1] == b'"'

    def _note(self, token: bytes) -> None:
        if token in b"{[":
            self._depth += 1
        elif token in b"}]":
            self._depth -= 1
        elif token.startswith(b'"') and self._depth == 1 and self._last in (b"{", b","):
            self._member = token
        self._last = token.strip() or self._last

    def _of_picture(self) -> bytes:
        """The text of `img` as far as it is there; an escape that is cut in two waits for the next piece."""
        end = self._whole_until()
        text = self._unread[:end]
        if self._unread[end : end + 1] == b'"':
            self._in_picture, self._last = False, b'""'
            end += 1
        self._unread = self._unread[end:]
        return _unescaped(text)

    def _whole_until(self) -> int:
        inside = _INSIDE.match(self._unread)
        end = inside.end() if inside else 0
        if self._unread[end : end + 1] == b"\\" and len(self._unread) - end >= _ESCAPE_BYTES:
            raise BadRequest("expected a body in JSON", fix=r"write escapes like \u002b")
        return end


def _unescaped(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    if b"\\\\" not in text:
        text = text.replace(b"\\/", b"/")  # PHP escapes every slash: one in 64 characters of base64
    return _ESCAPES.sub(lambda found: _characters(found.group()), text)


def _characters(escapes: bytes) -> bytes:
    try:
        text = json.loads(b'"' + escapes + b'"')
    except ValueError as error:
        raise BadRequest("expected a body in JSON", fix=r"write escapes like \u002b") from error
    return str(text).encode("utf-8", "replace")
