"""Reads the size of an image from the first bytes of its file, for files that are too large to be read whole.

Sources: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, https://developers.google.com/speed/webp/docs/riff_container
"""

from __future__ import annotations

from struct import unpack_from

from cropmark.model.formats import Format
from cropmark.model.values import Size

HEAD_BYTES = 1 << 20
"""The number of first bytes that are read: enough for the header of nearly every JPEG and PNG, with its metadata and
its preview."""

_CANVAS_AT, _LOSSLESS_AT, _LOSSY_AT = 24, 21, 26
"""The offset of the width and height in a file that begins with a VP8X, a VP8L or a VP8 chunk."""


def canvas_size(head: bytes, stored_as: Format) -> Size | None:
    """The size of the canvas of a GIF or WebP, from the first 30 bytes of its file; None if it cannot be read."""
    if len(head) < 30:
        return None
    width, height = _gif_sides(head) if stored_as is Format.GIF else _webp_sides(head)
    return Size(width, height) if width and height else None


def _gif_sides(head: bytes) -> tuple[int, int]:
    width, height = unpack_from("<HH", head, 6)
    return width, height


def _webp_sides(head: bytes) -> tuple[int, int]:
    match head[12:16]:
        case b"VP8X":
            sides = int.from_bytes(head[_CANVAS_AT : _CANVAS_AT + 6], "little")
            return (sides & 0xFFFFFF) + 1, (sides >> 24) + 1
        case b"VP8L":
            (sides,) = unpack_from("<I", head, _LOSSLESS_AT)
            return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = unpack_from("<HH", head, _LOSSY_AT)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return 0, 0
