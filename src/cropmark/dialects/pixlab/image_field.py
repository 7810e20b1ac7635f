"""Reads the field `img` (a URL, base64 text or a data URI), and decodes base64 in pieces.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cropmark.model.problems import BadRequest, SourceForbidden
from cropmark.plan.source import WebUrl

_SCHEMES = ("http", "https")
_DATA = "data:"
_LONGEST_DATA_PREFIX = 256

_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE = b"\t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class Base64Text:
    """An image in base64. The text is not checked yet."""

    text: str = field(repr=False)


def read_image(text: str) -> WebUrl | Base64Text:
    """The image that the field `img` names or contains.

    ``https://host/a.jpg``            WebUrl
    ``data:image/png;base64,iVBOR…``  Base64Text of the part after the comma
    ``iVBOR…``                        Base64Text

    For a long field, `text` may be only the beginning; then the rest of the field continues the Base64Text.
    Raises SourceForbidden for a URL with another scheme, BadRequest for a data URI that is not base64.
    """
    text = text.lstrip()
    if text[: len(_DATA)].lower() == _DATA:
        return _of_data_uri(text)
    return read_web_url("img", text) if "://" in text else Base64Text(text)


def read_web_url(parameter: str, text: str) -> WebUrl:
    """The http or https URL of an image in the field `parameter`, without surrounding blanks.

    Raises SourceForbidden for a URL with another scheme, BadRequest for a text that is not a URL.
    """
    scheme, separator, _ = text.strip().partition("://")
    expected = f"{parameter}: expected a URL of http or https"
    if not separator:
        fix = "send the image to the endpoint store, and write its link"
        raise BadRequest(f"{expected}, got another text", fix=fix, parameter=parameter)
    if scheme.lower() not in _SCHEMES:
        raise SourceForbidden(expected, fix="name an image by http or https", parameter=parameter)
    return WebUrl(text.strip())


def _of_data_uri(text: str) -> Base64Text:
    kind, comma, _ = text[:_LONGEST_DATA_PREFIX].partition(",")
    if not comma or not kind.lower().endswith(";base64"):
        raise _unreadable("a data URI in base64", "write data:image/png;base64, before the text")
    return Base64Text(text[len(kind) + 1 :])


def decode_base64(chunks: Iterable[str | bytes]) -> Iterator[bytes]:
    """Decode base64 text that arrives in pieces of any length. Yields the decoded bytes.

    The alphabet is standard or URL-safe, and padding is optional. White space is dropped, except for blanks:

    - A blank counts as `+`, because an unescaped plus sign in a query becomes a blank.
    - Blanks before the text are dropped.
    - Blanks after the text count only as far as they complete the last group of four digits.

    Raises BadRequest for invalid text, after the bytes before it were yielded.
    """
    reader = Base64Decoder()
    for chunk in chunks:
        if decoded := reader.feed(chunk.encode("utf-8", "replace") if isinstance(chunk, str) else chunk):
            yield decoded
    if decoded := reader.finish():
        yield decoded


class Base64Decoder:
    """An incremental base64 decoder, with the rules of decode_base64(): call feed() with each piece, then finish().

    It buffers at most three digits, until their group of four is complete, and counts the blanks after the last digit.
    Raises BadRequest.
    """

    def __init__(self) -> None:
        self._digits = b""
        self._blanks = 0
        self._padding = 0
        self._begun = False

    def feed(self, chunk: bytes) -> bytes:
        text = chunk.translate(_URL_SAFE, _WHITE)
        if not self._begun:
            text = text.lstrip(b" ")
        filled = text.rstrip(b" ")
        if filled:
            self._begun = True
            self._take(b"+" * self._blanks + filled.replace(b" ", b"+"))
            self._blanks = 0
        if self._begun:
            self._blanks += len(text) - len(filled)
        return self._decoded(len(self._digits) // 4 * 4)

    def finish(self) -> bytes:
        if not self._begun:
            raise _unreadable("base64", "send the image in base64")
        missing = -len(self._digits) % 4
        if not self._padding:
            self._digits += b"+" * min(self._blanks, missing)
            missing = -len(self._digits) % 4
        if missing == 3 or self._padding > missing:
            raise _unreadable("complete base64", "send the whole text")
        self._digits += b"=" * missing
        return self._decoded(len(self._digits))

    def _take(self, text: bytes) -> None:
        digits, _, after = text.partition(b"=")
        padding = len(text) - len(digits)
        if after.strip(b"=") or (digits and self._padding):
            raise _unreadable("nothing after the padding of base64", "send one image")
        self._digits += digits
        self._padding += padding

    def _decoded(self, count: int) -> bytes:
        whole, self._digits = self._digits[:count], self._digits[count:]
        try:
            return a2b_base64(whole, strict_mode=True)
        except Error as error:
            raise _unreadable("only base64, standard or URL-safe", "send a URL, or the image in base64") from error


def _unreadable(expected: str, fix: str) -> BadRequest:
    # Without the text: images of callers must not get into errors and logs.
    return BadRequest(f"img: expected {expected}", fix=fix, parameter="img")
