"""The native libraries that decode images: their versions, and a test of each codec."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack
from typing import Any

import pyvips
import simplejpeg

from cropmark.engine import bmp, heic, jxl, motion, video
from cropmark.engine.image import DecodedImage
from cropmark.model.extras import HEIF, JXL, MOTION, VIDEO
from cropmark.plan.plan import Video

MINIMUM_LIBVIPS = (8, 18, 7)
"""Older versions, or the decoders in their wheels, have published memory bugs that a crafted image can trigger."""
MINIMUM_SIMPLEJPEG = (1, 9, 0)
"""The first version with libjpeg-turbo 3.1.2."""


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """A native library, its version, and the oldest version without known memory bugs."""

    name: str
    version: tuple[int, int, int]
    minimum_version: tuple[int, int, int]

    @property
    def is_safe(self) -> bool:
        return self.version >= self.minimum_version

    def __str__(self) -> str:
        return f"{self.name} {format_version(self.version)}"


def format_version(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


def loaded_libraries() -> tuple[NativeLibrary, ...]:
    """The native libraries that this process has loaded to decode images."""
    vips = (pyvips.version(0), pyvips.version(1), pyvips.version(2))
    major, minor, patch = (int(part) for part in simplejpeg.__version__.split(".")[:3])
    return (
        NativeLibrary("libvips", vips, MINIMUM_LIBVIPS),
        NativeLibrary("simplejpeg", (major, minor, patch), MINIMUM_SIMPLEJPEG),
    )


_HEIC_SAMPLE = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA"
    "AERAAAEAAQAAAAABegABAAAAAAAAABkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3"
    "aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAA"
    "AwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBw"
    "aXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACFtZGF0AAAAFSgBrxmA93yFN//5A/EdTZv40FeLRw=="
)
"""A HEIC of 64 by 64 px of one color. It is stored here because no library that we use can write HEIC."""

# name, saver, its options, loader
_ROUND_TRIPS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("JPEG", "jpegsave_buffer", {}, "jpegload_buffer"),
    ("PNG", "pngsave_buffer", {}, "pngload_buffer"),
    ("WebP", "webpsave_buffer", {}, "webpload_buffer"),
    ("GIF", "gifsave_buffer", {}, "gifload_buffer"),
    ("AVIF", "heifsave_buffer", {"compression": "av1"}, "heifload_buffer"),
    ("TIFF", "tiffsave_buffer", {}, "tiffload_source"),  # as load.py: the other loader of TIFF is blocked
)


def check_codecs() -> Iterator[tuple[str, str]]:
    """Yields the name of each format and its error, which is empty if a 64 by 64 px image can be written and read.

    The formats of an extra are checked if the extra is installed. HEIC is only read, and mp4 only written.
    """
    image = pyvips.Image.black(64, 64).new_from_image([40, 80, 120]).cast("uchar").copy(interpretation="srgb")
    for name, save, options, load in _ROUND_TRIPS:
        try:
            body = getattr(image, save)(**options)
            opened = pyvips.Source.new_from_memory(body) if load.endswith("_source") else body
            back = getattr(pyvips.Image, load)(opened)
            yield name, "" if (back.width, back.height) == (64, 64) else "the decoded size differs"
        except (pyvips.Error, AttributeError) as error:
            yield name, str(error).strip().splitlines()[0]
    yield "BMP", _bmp_error(image)
    if HEIF.package is not None:
        yield "HEIC", _heic_error()
    if JXL.package is not None:
        yield "JXL", _jxl_error(image)
    if MOTION.package is not None:
        yield "animated AVIF", _motion_error(image)
    if VIDEO.package is not None:
        yield "mp4", _video_error(image)


def _bmp_error(image: pyvips.Image) -> str:
    head = b"BM" + pack("<IIIIHHHH", 26 + 64 * 64 * 3, 0, 26, 12, 64, 64, 1, 24)
    try:
        back = bmp.decoded(head + bytes(image.write_to_memory()))
    except pyvips.Error as error:
        return str(error)
    return "" if (back.width, back.height) == (64, 64) else "the decoded size differs"


def _jxl_error(image: pyvips.Image) -> str:
    try:
        jxl.load_codec()
        back = jxl.decoded(jxl.encoded(image, 85, lossless=False, keep_profile=False))
    except (pyvips.Error, ImportError) as error:
        return str(error).strip().splitlines()[0]
    return "" if (back.width, back.height) == (64, 64) else "the decoded size differs"


def _motion_error(image: pyvips.Image) -> str:
    try:
        motion.load_codec()
        back = motion.header_of(motion.encoded(DecodedImage((image, image.invert()), (100, 100)), 64, effort=1))
    except (pyvips.Error, ImportError) as error:
        return str(error).strip().splitlines()[0]
    return "" if back.frames == 2 else f"{back.frames} of 2 frames were decoded"


def _video_error(image: pyvips.Image) -> str:
    """The error if an mp4 cannot be written; else empty. The file is not read, because nothing here reads mp4."""
    try:
        video.load_codec()
        video.encoded(DecodedImage((image, image.invert()), (100, 100)), Video())
    except (pyvips.Error, ImportError) as error:
        return str(error).strip().splitlines()[0]
    return ""


def _heic_error() -> str:
    try:
        heic.load_codec()
        back = heic.decoded(_HEIC_SAMPLE)
    except (pyvips.Error, ImportError) as error:
        return str(error).strip().splitlines()[0]
    return "" if (back.width, back.height) == (64, 64) else "the decoded size differs"
