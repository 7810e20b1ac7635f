"""Facts read from a source's raw bytes, which libvips does not report: losslessness, animation, impossible lengths."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from

from cropmark.engine.webp import image_chunks
from cropmark.model.formats import SNIFF_BYTES, Format, is_avif_sequence

_PNG_SIGNATURE_BYTES = 8
_PNG_CHUNK_BYTES = 12
"""The bytes of a chunk without data: its length, name and checksum."""


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
    """True for an animation of which libvips decodes one frame: an AVIF sequence, or a PNG with several frames.

    The extra `motion` reads AVIF sequences whole.

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
    """The names and data offsets of the chunks before the pixels."""
    at = _PNG_SIGNATURE_BYTES
    while at + _PNG_CHUNK_BYTES <= len(data):
        length, name = unpack_from(">I4s", data, at)
        if name == b"IDAT":
            return
        yield name, at + 8
        at += _PNG_CHUNK_BYTES + length


def is_too_short(length: int, pixels: int, stored_as: Format, bits_per_pixel: int) -> bool:
    """True if a file of `length` bytes cannot hold `pixels`: it is a decompression bomb or truncated.

    In PNG, Deflate expands at most 1032 times; in JPEG, each block of 8 by 8 pixels takes at least one bit. The other
    formats can store any number of pixels of one color in a few bytes, so for them the result is always False.
    """
    match stored_as:
        case Format.PNG:
            return length * 1032 < pixels * bits_per_pixel // 8
        case Format.JPEG:
            return length * 8 < pixels // 64
        case _:
            return False
