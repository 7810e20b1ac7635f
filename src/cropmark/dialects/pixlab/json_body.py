"""Parses a JSON body into fields: in one call, or in pieces if `img` is a large base64 string.

An image of 20 MB in base64 is one JSON string. Parsing it in one call would block all other requests for that time.
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
ARRAYS: Final = frozenset({"cord"})
_MOST_DIGITS = 30


def fields_of_json(body: bytes) -> dict[str, str]:
    """The members of a JSON object as texts by name.

    - If a member is repeated, the last one counts. A member that is null counts as absent.
    - A boolean becomes `true` or `false`.
    - A number becomes its decimal notation. In a boolean field, 0 becomes `false` and any other number `true`.
    - A list becomes JSON if its field is in ARRAYS. Other lists, and objects, are ignored.

    Raises BadRequest if the body is not a JSON object.
    """
    try:
        found = parse_exact(body)
        if isinstance(found, dict):
            return {name: text for name, value in found.items() if (text := _text(name, value)) is not None}
    except (ValueError, RecursionError) as error:
        raise BadRequest("expected a body in JSON", fix='write an object: {"img": "https://…", "x": 0}') from error
    raise BadRequest("expected a JSON object", fix='write an object: {"img": "https://…", "x": 0}')


def parse_exact(text: str | bytes) -> object:
    """Parse JSON with each number as a JsonNumber. Raises ValueError or RecursionError."""
    return parse_json(text, parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=_no_number)


class JsonNumber(str):
    """A JSON number as its text.

    It is not parsed: a float would be inexact, and an integer of a million digits would take long.
    """

    __slots__ = ()

    def decimal_text(self) -> str:
        """The number in decimal notation, without an exponent.

        A number with a huge exponent is returned unchanged. Then the reader of the field rejects it.
        """
        try:
            value = Decimal(self)
        except InvalidOperation:  # an exponent with twenty digits
            return str(self)
        return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(self)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _text(name: str, value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case JsonNumber():
            return _truth(value) if name in BOOLEANS else value.decimal_text()
        case str():
            return value
        case list() if name in ARRAYS:
            return _exact_json(value)
        case _:
            return None


def _truth(number: JsonNumber) -> str:
    try:
        return "true" if Decimal(number) else "false"
    except InvalidOperation:  # an exponent with twenty digits
        return str(number)


def _exact_json(value: object) -> str:
    """The JSON text of a value that parse_exact() returned, with unchanged numbers."""
    match value:
        case JsonNumber():
            return str(value)
        case list():
            return f"[{','.join(map(_exact_json, value))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(name)}:{_exact_json(member)}' for name, member in value.items())}}}"
        case _:
            return json.dumps(value)


# ------------------------------------------------------------------------------------------------ in pieces

MAX_OTHERS_BYTES: Final = 64 * 1024
"""Limit of the body without the text of `img`."""
MAX_TOKENS: Final = 4096
"""The maximum number of tokens, such as a string, a comma or white space: each takes time, even a short one."""
MAX_DEPTH: Final = 16
"""The maximum depth of nested objects and lists."""

# Possessive quantifiers: each byte is matched only once.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}:,]|[^"\[\]{}:,]++', re.DOTALL)
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\u[0-9A-Fa-f]{4}|\\[^u])*+', re.DOTALL)
_ESCAPES: Final = re.compile(rb"(?:\\u[0-9A-Fa-f]{4}|\\[^u])++", re.DOTALL)
_ESCAPE_BYTES: Final = len(rb"\u002b")
_IMG: Final = b'"img"'


class JsonBody:
    """An incremental parser of a JSON body: call feed() with each piece, then fields().

    It returns the text of `img` piece by piece and buffers only the other members.
    """

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
        """Parse a piece of the body. Returns the part of the text of `img` in it, with decoded escapes.

        Raises BadRequest if the other members exceed MAX_OTHERS_BYTES, MAX_TOKENS or MAX_DEPTH, and for an invalid
        escape in the text of `img`.
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
                f"the body has more than {MAX_OTHERS_BYTES} bytes without img",
                fix="send only the needed fields",
            )
        return text

    def fields(self) -> dict[str, str]:
        """All members as texts by name, like fields_of_json(), but without an `img` that is a string.

        Raises BadRequest.
        """
        return fields_of_json(bytes(self._others) + self._unread)

    def _collect_others(self) -> None:
        """Move complete tokens from `_unread` to `_others`, up to the string of `img`. An incomplete string stays."""
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
                f"expected at most {MAX_TOKENS} tokens of JSON in the body, at most {MAX_DEPTH} levels deep",
                fix="send only the needed fields",
            )
        self._last = token.strip() or self._last

    def _read_image(self) -> bytes:
        """The text of `img` that has arrived. An incomplete escape sequence stays in `_unread` until the next piece."""
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
