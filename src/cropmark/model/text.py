"""Checks and cleans text. Valid text has no NUL and no lone surrogate.

PostgreSQL and C libraries reject NUL; a lone surrogate cannot be encoded. Both can arrive in percent-encoded bytes and
in JSON. Where bytes are decoded, invalid text is replaced or rejected, so that later code does not have to check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

REPLACEMENT: Final = "\ufffd"
_INVALID: Final = re.compile("[\0\ud800-\udfff]")


def is_valid_text(text: str) -> bool:
    return _INVALID.search(text) is None


def clean_text(text: str) -> str:
    """The text with each NUL and lone surrogate replaced by U+FFFD, as decoders do for bytes that are not UTF-8.

    No parameter's grammar contains U+FFFD, so a reader rejects such a value.
    """
    return _INVALID.sub(REPLACEMENT, text)


def parse_json(body: str | bytes, **options: Any) -> Any:  # the options of json.loads, and its result
    """Parse a JSON text.

    Raises RecursionError if it is too deeply nested. Raises ValueError if it is malformed, or if a string is invalid
    text.
    """
    parsed = json.loads(body, **options)
    if not all(map(is_valid_text, _texts(parsed))):
        raise ValueError("a string contains NUL or a lone surrogate")
    return parsed


def _texts(parsed: object) -> Iterator[str]:
    """Yields all names and strings in parsed JSON."""
    unread = [parsed]
    while unread:
        match unread.pop():
            case str(text):
                yield text
            case Mapping() as members:
                unread += members
                unread += members.values()
            case list(items):
                unread += items
            case _:
                pass
