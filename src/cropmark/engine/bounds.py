"""Facts read from a source's raw bytes, which libvips does not report: losslessness, and impossibly small files."""

from __future__ import annotations

from cropmark.engine.webp import image_chunks
from cropmark.model.formats import Format


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


def is_too_short(length: int, pixels: int, stored_as: Format, bits_per_pixel: int) -> bool:
    """True if a file of `length` bytes cannot hold that number of pixels: a decompression bomb or a truncated file.

    Deflate expands at most 1032 times, and each 8 by 8 block of a JPEG takes at least one bit. The other formats store
    a plain color in a few bytes, so they have no such bound.
    """
    match stored_as:
        case Format.PNG:
            return length * 1032 < pixels * bits_per_pixel // 8
        case Format.JPEG:
            return length * 8 < pixels // 64
        case _:
            return False
