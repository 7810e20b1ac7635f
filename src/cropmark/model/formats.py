"""Image formats: their traits, detection from the first bytes, Accept headers, and header facts (Info)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cropmark.model.values import Size


class Format(Enum):
    """An image file format. Progressive JPEG, png8 and lossless WebP are encodings of a format, not formats."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    AVIF = "avif"
    TIFF = "tiff"
    SVG = "svg"
    HEIC = "heic"
    JXL = "jxl"
    BMP = "bmp"


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties of a format, and the support for it in the libvips build that is shipped."""

    media_type: str
    extension: str
    alpha: bool
    animated: bool
    """True if several frames can be written."""
    readable: bool
    writable: bool


# fmt: off
TRAITS: dict[Format, Traits] = {
    #                      media type       extension alpha  animated readable writable
    Format.JPEG: Traits("image/jpeg",    "jpg",  False, False, True,  True),
    Format.PNG:  Traits("image/png",     "png",  True,  False, True,  True),
    Format.WEBP: Traits("image/webp",    "webp", True,  True,  True,  True),
    Format.GIF:  Traits("image/gif",     "gif",  True,  True,  True,  True),
    Format.AVIF: Traits("image/avif",    "avif", True,  False, True,  True),
    Format.TIFF: Traits("image/tiff",    "tiff", True,  False, True,  False),
    Format.SVG:  Traits("image/svg+xml", "svg",  True,  False, False, False),   # enabled by configuration only
    Format.HEIC: Traits("image/heic",    "heic", True,  False, False, False),   # the pyvips wheel has no HEVC
    Format.JXL:  Traits("image/jxl",     "jxl",  True,  False, False, False),   # the pyvips wheel has no JPEG XL
    Format.BMP:  Traits("image/bmp",     "bmp",  False, False, False, False),
}
# fmt: on

READABLE = frozenset(f for f, t in TRAITS.items() if t.readable)
WRITABLE = frozenset(f for f, t in TRAITS.items() if t.writable)

SNIFF_BYTES = 4096
"""The number of first bytes that sniff_format() needs."""


class CmykConversion(Enum):
    """The conversion to sRGB of CMYK without a profile."""

    BROWSER = "browser"
    """Each ink takes away its own light, as in browsers: colors are as bright as on a screen."""
    PRESS = "press"
    """A generic offset press: colors are as dull as in print."""


@dataclass(frozen=True, slots=True)
class Info:
    """The facts from an image file's header; none needs pixels to be decoded."""

    format: Format
    stored_size: Size
    """The size in the file, before the Exif orientation is applied."""
    bytes: int
    orientation: int = 1
    """The Exif orientation, 1 to 8."""
    frames: int = 1
    first_frame_only: bool = False
    """An animation of which only the first frame can be decoded (AVIF sequence, APNG); `frames` is 1."""
    alpha: bool = False
    lossless: bool = False
    progressive: bool = False
    palette: bool = False
    """A PNG of at most 256 colors."""

    @property
    def size(self) -> Size:
        """The size of the upright frame."""
        return self.stored_size.transposed if self.orientation >= 5 else self.stored_size

    @property
    def animated(self) -> bool:
        return self.frames > 1


def sniff_format(head: bytes) -> Format | None:
    """The format of a file with these first bytes; None for an unknown format."""
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return Format.TIFF
    if head.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")):
        return Format.JXL
    if head.startswith(b"BM") and len(head) >= 18 and head[14:18] in _BMP_HEADERS:
        return Format.BMP
    return Format.SVG if _looks_like_svg(head) else None


# The length of the second header, the only field near a BMP's start with few valid values.
_BMP_HEADERS = {n.to_bytes(4, "little") for n in (12, 16, 40, 52, 56, 64, 108, 124)}


def is_avif_sequence(head: bytes) -> bool:
    """True if a file with these first bytes has the brand of an animated AVIF.

    Source: https://aomediacodec.github.io/av1-avif/#image-sequence-brand
    """
    return head[4:8] == b"ftyp" and b"avis" in _brands(head)


def _brands(head: bytes) -> set[bytes]:
    end = min(int.from_bytes(head[:4], "big"), len(head), 128)
    return {head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))}


def _iso_media(head: bytes) -> Format | None:
    brands = _brands(head)
    if brands & {b"avif", b"avis"}:
        return Format.AVIF
    if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
        return Format.HEIC
    return None


def _looks_like_svg(head: bytes) -> bool:
    text = head[:SNIFF_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<svg"):
        return True
    return text.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text


def accepted_formats(header: str) -> frozenset[Format]:
    """The formats that an Accept header names explicitly.

    Wildcards are ignored, because browsers that cannot show WebP also send `image/*` and `*/*`.
    """
    types = accepted_types(header)
    return frozenset(f for f, t in TRAITS.items() if t.media_type in types)


def accepted_types(header: str) -> frozenset[str]:
    """The media types, including wildcards, that an Accept header names with a q above 0."""
    types = set()
    for item in header[:4096].lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if not any(_is_zero_q(p) for p in parameters):
            types.add(name)
    return frozenset(types)


def _is_zero_q(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in ("", ".", "0.")
