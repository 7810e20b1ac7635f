"""What the raw bytes of a source tell and libvips does not: losslessness, and sizes that no file so small can hold."""

from __future__ import annotations

from cropmark.engine.webp import picture_chunks
from cropmark.model.formats import Format


def is_lossless(data: bytes, stored_as: Format) -> bool:
    """Whether the source is stored without loss: PNG and GIF always, WebP where every frame is VP8L.

    AVIF, JPEG and TIFF count as lossy: AVIF's own flag only says that it could have been without loss.
    """
    match stored_as:
        case Format.PNG | Format.GIF:
            return True
        case Format.WEBP:
            return set(picture_chunks(data)) == {b"VP8L"}
        case _:
            return False


def too_few_bytes(length: int, pixels: int, stored_as: Format, bits_per_pixel: int) -> bool:
    """Whether a file of so many bytes cannot hold so many pixels, whatever they show: a bomb or a torn file.

    Deflate grows 1032 times at most, and every 8 by 8 block of a JPEG costs at least a bit. The other formats can
    hold a plain color in next to nothing.
    """
    match stored_as:
        case Format.PNG:
            return length * 1032 < pixels * bits_per_pixel // 8
        case Format.JPEG:
            return length * 8 < pixels // 64
        case _:
            return False
