"""Decodes JPEG with libjpeg-turbo directly: a fifth faster than through libvips.

libvips decodes the other files: unusual ones (CMYK, very many scans), files too large to decode into memory, and files
with any error. It reads row by row, and it alone decides whether a file is broken (docs/decisions/0136).
"""

from __future__ import annotations

from typing import Final

from pyvips import GValue, Image
from simplejpeg import decode_jpeg

from cropmark.engine.image import blob
from cropmark.geometry.memory import MAX_WHOLE_JPEG
from cropmark.model.values import Size

_MAX_SCANS: Final = 32
"""Progressive files of cameras and editors have about ten scans. Each scan costs a pass over the whole image."""
_SCAN: Final = b"\xff\xda"
_METADATA_FIELDS: Final = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data")


def decode(data: bytes, header: Image, size: Size) -> Image | None:
    """The frame as stored, decoded to `size`; None if libvips must decode the file.

    `size` is the stored size times a scale of decode_plan(), with sides rounded up. `header` is the file as libvips
    opened it; its metadata is copied to the frame.
    """
    if not _is_plain(header) or size.area > MAX_WHOLE_JPEG or _has_many_scans(data, header):
        return None
    colors = "RGB" if header.bands == 3 else "GRAY"
    try:
        # Strict: at the first doubt about the data it fails, and libvips decodes instead.
        pixels = decode_jpeg(data, colors, min_width=size.width, min_height=size.height, min_factor=1, strict=True)
    except ValueError:
        return None
    if pixels.shape[:2] != (size.height, size.width):
        return None
    frame = Image.new_from_memory(pixels, size.width, size.height, header.bands, "uchar")
    return _with_metadata(frame, header)


def _is_plain(header: Image) -> bool:
    return header.format == "uchar" and (header.interpretation, header.bands) in (("srgb", 3), ("b-w", 1))


def _has_many_scans(data: bytes, header: Image) -> bool:
    is_progressive = bool(header.get_typeof("interlaced")) and header.get("interlaced") == 1
    return is_progressive and data.count(_SCAN) > _MAX_SCANS


def _with_metadata(frame: Image, header: Image) -> Image:
    decoded = frame.copy(interpretation=header.interpretation)
    for name in _METADATA_FIELDS:
        if value := blob(header, name):
            decoded.set_type(GValue.blob_type, name, value)
    return decoded
