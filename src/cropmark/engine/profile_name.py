"""Reads the name of an ICC profile from its tag `desc`.

Source: https://www.color.org/specification/ICC.1-2022-05.pdf, sections 7.3, 9.2.41 and 10.15
"""

from __future__ import annotations

from struct import error, unpack_from
from typing import Final

MAX_NAME: Final = 100
_TAGS_AT: Final = 128
_MAX_TAGS: Final = 200


def profile_name(profile: bytes) -> str:
    """The name of the profile, cut to MAX_NAME printable characters; empty if the name is absent or malformed."""
    try:
        text = _description(profile)
    except error:  # shorter than its own lengths say
        return ""
    return "".join(c if c.isprintable() else " " for c in text.split("\0")[0][:MAX_NAME]).strip()


def _description(profile: bytes) -> str:
    (count,) = unpack_from(">I", profile, _TAGS_AT)
    for number in range(min(count, _MAX_TAGS)):
        signature, offset, length = unpack_from(">4sII", profile, _TAGS_AT + 4 + 12 * number)
        if signature == b"desc":
            return _text(profile[offset : offset + length])
    return ""


def _text(tag: bytes) -> str:
    """The text of a tag of type `desc` (ICC 2) or `mluc` (ICC 4). The first language of `mluc` is taken."""
    if tag[:4] == b"desc":
        (length,) = unpack_from(">I", tag, 8)
        return tag[12 : 12 + length].decode("ascii", "replace")
    if tag[:4] == b"mluc":
        length, offset = unpack_from(">II", tag, 20)
        units = tag[offset : offset + length]
        # Not decode("utf-16-be"): Python imports that codec on first use, which the sandbox forbids.
        return "".join(chr(high << 8 | low) for high, low in zip(units[::2], units[1::2], strict=False))
    return ""
