"""What the raw bytes of a source tell and libvips does not: losslessness, and sizes that no file so small can hold."""

from __future__ import annotations

from struct import unpack_from

from cropmark.engine.riff import picture_chunks
from cropmark.formats import Format


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
    hold a plain colour in next to nothing.
    """
    match stored_as:
        case Format.PNG:
            return length * 1032 < pixels * bits_per_pixel // 8
        case Format.JPEG:
            return length * 8 < pixels // 64
        case _:
            return False


def is_torn(data: bytes, stored_as: Format) -> bool:
    """Whether the file ends inside a block, or a frame has fewer bytes than its size needs: asked of GIF, whose
    decoder shows half a frame and says nothing.

    A missing end mark after a whole block is forgiven. Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    if stored_as is not Format.GIF:
        return False
    try:
        return _gif_end(data) > len(data)
    except IndexError:
        return True


# A code of 12 bits, the longest, stands for 4096 pixels at most; shorter ones for fewer a bit.
_GIF_PIXELS_A_BYTE = 2731


def _gif_end(data: bytes) -> int:
    """Where the last block ends. Raises IndexError where the data ends inside one, or a frame's in the midst of it."""
    at = 13 + _table_bytes(data[10])
    while at < len(data):
        match data[at]:
            case 0x21:  # an extension: its label, then its parts
                at = _parts_end(data, at + 2)
            case 0x2C:  # an image: its place, perhaps a table, the code size, then its parts
                first = at + 11 + _table_bytes(data[at + 9])
                width, height = unpack_from("<HH", data, at + 5)
                at = _parts_end(data, first)
                if width * height > (at - first) * _GIF_PIXELS_A_BYTE:
                    raise IndexError("the frame has too few bytes")
            case _:  # the end mark, or what somebody put behind
                return at
    return at


def _table_bytes(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _parts_end(data: bytes, at: int) -> int:
    """Past the empty part that ends a row of parts, each with its length before it."""
    while data[at]:
        at += data[at] + 1
    return at + 1
