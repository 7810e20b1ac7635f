"""JPEG by libjpeg-turbo, which is given the file whole: a fifth quicker than through libvips, and to any eighth of it.

What is not plain (press colors, very many scans), too large to lie in memory whole, or broken in any way, is left to
libvips: it reads row by row, and its word on what is broken is the one that counts (docs/decisions/0014).
"""

from __future__ import annotations

from typing import Final

from pyvips import GValue, Image
from simplejpeg import decode_jpeg

from cropmark.engine.image import blob
from cropmark.model.values import Size

_MOST_PIXELS: Final = 16_000_000
_MOST_SCANS: Final = 32
"""A progressive file of a camera or an editor has about ten; each costs a pass over all of the picture."""
_SCAN: Final = b"\xff\xda"
_TOLD: Final = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data")


def decoded(data: bytes, header: Image, size: Size) -> Image | None:
    """The stored frame at `size`, which is an eighth or some of it, sides rounded up; None where libvips is to read it.

    `header` is what libvips told of the file: its metadata goes over to the frame.
    """
    if not _is_plain(header) or size.area > _MOST_PIXELS or _has_many_scans(data, header):
        return None
    colors = "RGB" if header.bands == 3 else "GRAY"
    try:
        # Strict: at the first doubt about the data it gives up, and libvips looks at it.
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
    return is_progressive and data.count(_SCAN) > _MOST_SCANS


def _with_metadata(frame: Image, header: Image) -> Image:
    told = frame.copy(interpretation=header.interpretation)
    for name in _TOLD:
        if value := blob(header, name):
            told.set_type(GValue.blob_type, name, value)
    return told
