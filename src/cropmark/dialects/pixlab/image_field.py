"""The field `img`: a URL, base64 text or a data URI, told apart; and base64 decoded in pieces.

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
    """A picture's bytes as base64, nothing of it checked yet."""

    text: str = field(repr=False)


def read_image(text: str) -> WebUrl | Base64Text:
    """What `img` holds. Of a long text its beginning is enough: a Base64Text goes on with whatever follows.

    ``https://host/a.jpg``            WebUrl
    ``data:image/png;base64,iVBOR…``  Base64Text of what is behind the comma
    ``iVBOR…``                        Base64Text

    Raises SourceRefused for a URL of another scheme, BadOrder for a data URI that is not base64.
    """
    text = text.lstrip()
    if text[: len(_DATA)].lower() == _DATA:
        return _of_data_uri(text)
    if "://" not in text:
        return Base64Text(text)
    if text.partition("://")[0].lower() not in _SCHEMES:
        raise SourceForbidden("img: expected a URL of http or https", fix="name a picture by http or https")
    return WebUrl(text.rstrip())


def _of_data_uri(text: str) -> Base64Text:
    kind, comma, _ = text[:_LONGEST_DATA_PREFIX].partition(",")
    if not comma or not kind.lower().endswith(";base64"):
        raise _unreadable("a data URI in base64", "write data:image/png;base64, before the text")
    return Base64Text(text[len(kind) + 1 :])


def decode_base64(chunks: Iterable[str | bytes]) -> Iterator[bytes]:
    """The bytes behind base64 text that comes in pieces of any length, a piece for a piece.

    Both alphabets, padding or none. White space is dropped, but a blank counts as `+`: that is what becomes of one
    whose escaping got lost in a query. Blanks before the text are dropped, behind it they fill its last group of four.
    Raises BadOrder for everything else, once what came before it is out.
    """
    reader = Base64Decoder()
    for chunk in chunks:
        if decoded := reader.feed(chunk.encode("utf-8", "replace") if isinstance(chunk, str) else chunk):
            yield decoded
    if decoded := reader.finish():
        yield decoded


class Base64Decoder:
    """Where the decoding stands: at most three digits wait for their group, and blanks for a digit behind them.

    Feed it every piece, then ask for the rest; together they are the bytes that decoded_base64() tells of.
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
            raise _unreadable("base64", "give the picture's bytes in base64")
        missing = -len(self._digits) % 4
        if not self._padding:
            self._digits += b"+" * min(self._blanks, missing)
            missing = -len(self._digits) % 4
        if missing == 3 or self._padding > missing:
            raise _unreadable("base64 in whole groups", "give all of it")
        self._digits += b"=" * missing
        return self._decoded(len(self._digits))

    def _take(self, text: bytes) -> None:
        digits, _, behind = text.partition(b"=")
        padding = len(text) - len(digits)
        if behind.strip(b"=") or (digits and self._padding):
            raise _unreadable("nothing behind the padding of base64", "give one picture")
        self._digits += digits
        self._padding += padding

    def _decoded(self, count: int) -> bytes:
        whole, self._digits = self._digits[:count], self._digits[count:]
        try:
            return a2b_base64(whole, strict_mode=True)
        except Error as error:
            raise _unreadable("only base64, standard or URL-safe", "give a URL, or the picture in base64") from error


def _unreadable(expected: str, fix: str) -> BadRequest:
    # Never with the text: pictures of callers have no place in errors and logs.
    return BadRequest(f"img: expected {expected}", fix=fix, parameter="img")
