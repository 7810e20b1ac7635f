"""The native libraries that decode: their versions, and a round trip of each codec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyvips
import simplejpeg

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
    """The native decoding libraries loaded in this process."""
    vips = (pyvips.version(0), pyvips.version(1), pyvips.version(2))
    major, minor, patch = (int(part) for part in simplejpeg.__version__.split(".")[:3])
    return (
        NativeLibrary("libvips", vips, MINIMUM_LIBVIPS),
        NativeLibrary("simplejpeg", (major, minor, patch), MINIMUM_SIMPLEJPEG),
    )


# name, saver, its options, loader
_ROUND_TRIPS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("JPEG", "jpegsave_buffer", {}, "jpegload_buffer"),
    ("PNG", "pngsave_buffer", {}, "pngload_buffer"),
    ("WebP", "webpsave_buffer", {}, "webpload_buffer"),
    ("GIF", "gifsave_buffer", {}, "gifload_buffer"),
    ("AVIF", "heifsave_buffer", {"compression": "av1"}, "heifload_buffer"),
    ("TIFF", "tiffsave_buffer", {}, "tiffload_buffer"),
)


def check_codecs() -> Iterator[tuple[str, str]]:
    """Yields each format's name and its error; the error is empty if a 64 by 64 px image can be written and read."""
    image = pyvips.Image.black(64, 64).new_from_image([40, 80, 120]).cast("uchar").copy(interpretation="srgb")
    for name, save, options, load in _ROUND_TRIPS:
        try:
            body = getattr(image, save)(**options)
            back = getattr(pyvips.Image, load)(body)
            yield name, "" if (back.width, back.height) == (64, 64) else "the decoded size differs"
        except (pyvips.Error, AttributeError) as error:
            yield name, str(error).strip().splitlines()[0]
