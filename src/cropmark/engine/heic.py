"""Decodes HEIC with the extra `heif`: the primary image, upright, with its profile.

The libvips that we install has no decoder for HEVC. Only the C module of the extra is loaded. Its Python layer would
load Pillow, and each renderer would take 3.6 MB of memory for it instead of 1.4 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import pyvips
from pyvips import Image

from cropmark.engine.avif import avif_colors_of, item_kinds_of
from cropmark.engine.color_tags import HdrColors, avif_colors
from cropmark.engine.image import with_profile
from cropmark.model.extras import HEIF
from cropmark.model.values import Size

MINIMUM_LIBHEIF: Final = (1, 23, 5)
"""The oldest version without published memory bugs. In an older one, _KINDS blocks the path to some of its bugs
(docs/decisions/0231)."""

_KINDS: Final = frozenset({b"hvc1", b"grid", b"tmap", b"Exif", b"mime", b"uri "})
"""The kinds of items that cameras write. Other kinds select decoders and transformations that no photograph needs."""
_ERRORS: Final = (ValueError, EOFError, SyntaxError, RuntimeError, OSError, IndexError)
"""The exceptions that the module raises; OSError includes exhausted memory."""
_INTERPRETATIONS: Final = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}

_codec: ModuleType | None = None


@dataclass(frozen=True, slots=True)
class HeicHeader:
    """The size of the upright primary image, and whether it has alpha."""

    size: Size
    alpha: bool


def load_codec() -> None:
    """Load the C module of the extra, if the extra is installed.

    This must happen before the process enters the sandbox, which forbids it.
    """
    global _codec  # noqa: PLW0603 - a process has one set of codecs
    if _codec is None and (package := HEIF.package) is not None:
        _codec = import_module(package.module)


def library_version() -> tuple[int, int, int] | None:
    """The version of libheif in the C module; None if the module is not loaded."""
    if _codec is None:
        return None
    major, minor, patch = (int(part) for part in str(_codec.get_lib_info()["libheif"]).split(".")[:3])
    return major, minor, patch


def header_of(data: bytes) -> HeicHeader:
    """The header of a HEIC; no pixel is decoded.

    Raises pyvips.Error if the file is broken, or if it may contain an item of a kind that is not in _KINDS.
    """
    width, height = (image := _primary(data, deep=False)).size_mode[0]
    return HeicHeader(Size(width, height), _has_alpha(image))


def decoded(data: bytes) -> Image:
    """The primary image in memory, with 8-bit samples, or with 16-bit samples if it is HDR. Raises pyvips.Error."""
    found = avif_colors_of(data)
    coded = found.coded if found else None
    is_hdr = coded is not None and isinstance(avif_colors(coded.primaries, coded.transfer, 0), HdrColors)
    image = _primary(data, deep=is_hdr)
    try:
        samples = bytes(image.data)  # a copy: they live no longer than the module's image
        (width, height), mode = image.size_mode
    except _ERRORS as error:
        raise pyvips.Error(f"HEIC: {error}") from error
    kind = "ushort" if mode.endswith((";16", ";16L")) else "uchar"
    bands = len(mode.partition(";")[0])
    frame = Image.new_from_memory(samples, width, height, bands, kind)
    frame = frame.copy(interpretation=_INTERPRETATIONS[kind][bands > 2])
    if mode.partition(";")[0].endswith("a"):
        frame = frame.unpremultiply(max_alpha=65535 if kind == "ushort" else 255).cast(kind)
    profile = _icc_profile(image)
    return frame if profile is None else with_profile(frame, profile)


def _icc_profile(image: Any) -> bytes | None:
    """The ICC profile of an image from the C module; None if it is absent, or if the color properties are invalid."""
    try:
        profile = image.color_profile or {}
    except _ERRORS:  # such as unknown primaries, which avif_colors() treats as browsers do
        return None
    return bytes(profile["data"]) if profile.get("type") in ("prof", "rICC") else None


def _primary(data: bytes, *, deep: bool) -> Any:
    """The C module's object for the primary image, with 16-bit samples if `deep`, else 8-bit. Raises pyvips.Error."""
    if _codec is None:
        raise pyvips.Error("HEIC: the extra heif is not installed")
    kinds = item_kinds_of(data)
    if kinds is None or not kinds <= _KINDS:
        raise pyvips.Error(f"HEIC: items of the kinds {sorted(kinds - _KINDS) if kinds else 'unknown'} are not read")
    try:
        # threads, 8 bits, BGR, without stride, 16 bits, preferred decoder, without the library's limits
        images = _codec.load_file(data, 1, not deep, False, True, True, "", False)
        return next(image for image in images if image is not None and image.primary)
    except (*_ERRORS, StopIteration) as error:
        raise pyvips.Error(f"HEIC: {error}") from error


def _has_alpha(image: Any) -> bool:
    return str(image.size_mode[1]).partition(";")[0][-1:] in ("A", "a")
