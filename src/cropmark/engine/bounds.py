"""Facts that libvips does not report, read from the bytes of a source: losslessness, animation, impossible lengths."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from

from cropmark.engine.webp import image_chunks
from cropmark.model.formats import SNIFF_BYTES, Format, is_avif_sequence

_PNG_SIGNATURE_BYTES = 8
_PNG_CHUNK_BYTES = 12
"""The number of bytes of a chunk in addition to its data: length, name and checksum."""


def is_lossless(data: bytes, stored_as: Format) -> bool:
    """True if the source is stored losslessly: PNG and GIF always, WebP if every frame is VP8L.

    AVIF, JPEG and TIFF count as lossy: AVIF's own flag only says that lossless coding was possible.
    """
    match stored_as:
        case Format.PNG | Format.GIF:
            return True
        case Format.WEBP:
            return set(image_chunks(data)) == {b"VP8L"}
        case _:
            return False


def is_first_frame_only(data: bytes, stored_as: Format) -> bool:
    """True if the source is an AVIF sequence or an animated PNG: libvips decodes only the first frame of these.

    Source: https://www.w3.org/TR/png-3/#apng-frame-based-animation
    """
    match stored_as:
        case Format.AVIF:
            return is_avif_sequence(data[:SNIFF_BYTES])
        case Format.PNG:
            return any(name == b"acTL" and unpack_from(">I", data, at)[0] > 1 for name, at in _png_headers(data))
        case _:
            return False


def _png_headers(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yields the name of each chunk before the pixels, and the offset of its data."""
    at = _PNG_SIGNATURE_BYTES
    while at + _PNG_CHUNK_BYTES <= len(data):
        length, name = unpack_from(">I4s", data, at)
        if name == b"IDAT":
            return
        yield name, at + 8
        at += _PNG_CHUNK_BYTES + length


def is_too_short(length: int, pixels: int, stored_as: Format, bits_per_pixel: int) -> bool:
    """True if a file of `length` bytes cannot contain `pixels`: the file is truncated or a decompression bomb.

    In PNG, Deflate expands at most 1032 times. In JPEG, each block of 8 by 8 pixels takes at least one bit. The other
    formats can store any number of pixels of one color in a few bytes, so for them the result is always False.
    """
    match stored_as:
        case Format.PNG:
            return length * 1032 < pixels * bits_per_pixel // 8
        case Format.JPEG:
            return length * 8 < pixels // 64
        case _:
            return False
