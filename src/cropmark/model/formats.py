"""Image formats: their properties, detection from the first bytes, Accept headers, and facts from file headers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cropmark.model.extras import HEIF, INSTALLED, JXL, MOTION, VIDEO
from cropmark.model.values import Size


class Format(Enum):
    """A file format. Progressive JPEG, png8 and lossless WebP are encodings of a format, not formats."""

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
    MP4 = "mp4"
    """Video, which is only written."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties of a format. They depend on the shipped libvips and on the installed extras."""

    media_type: str
    extension: str
    alpha: bool
    animated: bool
    """True if several frames can be written."""
    readable: bool
    writable: bool
    max_side: int = 2**20
    """The longest side, in pixels, that the format's encoder can write."""
    extra: str | None = None
    """The extra that reads the format. None if libvips reads it, or if no extra does."""
    animation_extra: str | None = None
    """The extra that reads and writes animations in the format; None if no extra is necessary or available."""


_HEIC, _JXL, _MOTION, _VIDEO = (extra.name in INSTALLED for extra in (HEIF, JXL, MOTION, VIDEO))

# fmt: off
TRAITS: dict[Format, Traits] = {
    #                      media type       extension alpha  animated readable writable max_side
    Format.JPEG: Traits("image/jpeg",    "jpg",  False, False, True,  True,  65_500),
    Format.PNG:  Traits("image/png",     "png",  True,  False, True,  True),
    Format.WEBP: Traits("image/webp",    "webp", True,  True,  True,  True,  16_383),
    Format.GIF:  Traits("image/gif",     "gif",  True,  True,  True,  True,  65_535),
    Format.AVIF: Traits("image/avif",    "avif", True,  _MOTION, True, True, 16_384, animation_extra=MOTION.name),
    Format.TIFF: Traits("image/tiff",    "tiff", True,  False, True,  False),
    Format.SVG:  Traits("image/svg+xml", "svg",  True,  False, False, False),   # read if a setting allows it
    Format.HEIC: Traits("image/heic",    "heic", True,  False, _HEIC, False, extra=HEIF.name),  # no HEVC in the wheel
    Format.JXL:  Traits("image/jxl",     "jxl",  True,  False, _JXL,  _JXL,  extra=JXL.name),   # no JPEG XL either
    Format.BMP:  Traits("image/bmp",     "bmp",  True,  False, True,  False),
    Format.MP4:  Traits("video/mp4",     "mp4",  False, True,  False, _VIDEO, 16_384),
}
# fmt: on

READABLE = frozenset(f for f, t in TRAITS.items() if t.readable)
WRITABLE = frozenset(f for f, t in TRAITS.items() if t.writable)

SNIFF_BYTES = 4096
"""The number of bytes at the start of a file that sniff_format() needs."""


class CmykConversion(Enum):
    """The method that converts CMYK images without a profile to sRGB."""

    BROWSER = "browser"
    """As in browsers: each ink absorbs only its own light, so colors are as bright as on a screen."""
    PRESS = "press"
    """As on a generic offset press: colors are as dull as in print."""


class Colors(Enum):
    """The color space of a result, if the source has an RGB profile with colors outside sRGB."""

    SRGB = "srgb"
    P3 = "p3"
    """Display P3, with its profile."""
    KEEP = "keep"
    """The source's own colors, with its profile. HDR is tone-mapped to Display P3."""


@dataclass(frozen=True, slots=True)
class Info:
    """Facts from the header of an image file. No pixel is decoded to read them."""

    format: Format
    stored_size: Size
    """The size in the file, before the Exif orientation is applied."""
    bytes: int
    orientation: int = 1
    """The Exif orientation, 1 to 8."""
    frames: int = 1
    first_frame_only: bool = False
    """True for an animation of which only the first frame can be decoded; `frames` is then 1.

    Examples are an APNG, and an AVIF sequence without the extra `motion`.
    """
    alpha: bool = False
    lossless: bool = False
    progressive: bool = False
    palette: bool = False
    """True for a PNG with a palette, which has at most 256 colors."""
    few_bits: bool = False
    """True for a PNG that is gray and opaque with up to 8 bits per pixel, or has 1, 2 or 4 bits per sample."""
    gain_map: bool = False
    """True for a JPEG with a gain map (Ultra HDR)."""
    not_drawn: str = ""
    """The name of an SVG element that cannot be drawn here, such as `text`; empty if all can be drawn."""

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


def begins_as(head: bytes, format_: Format) -> bool:
    """True if a file of this format that cropmark wrote may begin with these bytes.

    Only this function recognizes an mp4: as a source, a video is a file next to the images (media_types.py).
    """
    if format_ is Format.MP4:
        return head[4:8] == b"ftyp" and b"avc1" in _brands(head)
    return sniff_format(head) is format_


def is_avif_sequence(head: bytes) -> bool:
    """True if a file that begins with these bytes declares to be an animated AVIF.

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
    """The media types, including wildcards, that an Accept header names with a q value above 0."""
    types = set()
    for item in header[:4096].lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if not any(_is_zero_q(p) for p in parameters):
            types.add(name)
    return frozenset(types)


def _is_zero_q(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in ("", ".", "0.")
