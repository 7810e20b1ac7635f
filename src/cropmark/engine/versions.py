"""The native libraries that decode: their versions, and whether each codec does a round trip here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyvips
import simplejpeg

LIBVIPS_FLOOR = (8, 18, 7)
"""Below this, published memory bugs, of it or of the decoders in its wheel, can be reached with a crafted picture."""
SIMPLEJPEG_FLOOR = (1, 9, 0)
"""Brings libjpeg-turbo 3.1.2."""


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """A native library and its version; `floor` is the oldest that will do."""

    name: str
    version: tuple[int, int, int]
    minimum_version: tuple[int, int, int]

    @property
    def is_safe(self) -> bool:
        return self.version >= self.minimum_version

    def __str__(self) -> str:
        return f"{self.name} {dotted(self.version)}"


def dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


def libraries() -> tuple[NativeLibrary, ...]:
    """Those that are loaded."""
    vips = (pyvips.version(0), pyvips.version(1), pyvips.version(2))
    major, minor, patch = (int(part) for part in simplejpeg.__version__.split(".")[:3])
    return (
        NativeLibrary("libvips", vips, LIBVIPS_FLOOR),
        NativeLibrary("simplejpeg", (major, minor, patch), SIMPLEJPEG_FLOOR),
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


def codecs() -> Iterator[tuple[str, str]]:
    """Every format's name, and what is wrong with it: empty where writing and reading 64 by 64 px works."""
    picture = pyvips.Image.black(64, 64).new_from_image([40, 80, 120]).cast("uchar").copy(interpretation="srgb")
    for name, save, options, load in _ROUND_TRIPS:
        try:
            body = getattr(picture, save)(**options)
            back = getattr(pyvips.Image, load)(body)
            yield name, "" if (back.width, back.height) == (64, 64) else "another size came back"
        except (pyvips.Error, AttributeError) as error:
            yield name, str(error).strip().splitlines()[0]
