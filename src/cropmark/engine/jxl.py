"""Reads and writes JPEG XL with the extra `jxl`, and recompresses JPEGs without loss.

Two libraries are used (docs/decisions/0232):

- pylibjxl reads images with their profile, and recompresses JPEGs. Only its C module is loaded. Its Python package
  would load asyncio and Pillow, and each renderer would take 6 MB of memory for it instead of 0.5 MB.
- imagecodecs writes images, except those with a profile, which it cannot store. Lossy files from pylibjxl are 2.8 times
  as large, because it never uses the format's own color space.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

import numpy as np
import pyvips
from pyvips import Image

from cropmark.engine.image import PROFILE, blob, with_profile
from cropmark.engine.jpeg_segments import END_OF_IMAGE, Segment, segments
from cropmark.model.extras import JXL
from cropmark.model.values import Size

_C_MODULE: Final = "_pylibjxl"
_ERRORS: Final = (ValueError, RuntimeError, MemoryError, TypeError)
"""The exceptions that the modules raise; they have no special class for broken files."""
_LARGE_PIXELS: Final = 4_000_000
"""Lossless images with more pixels are written at the lowest effort: 6 % larger, in a tenth of the time."""
_APP0, _APP2, _APP14, _APP15, _COMMENT = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
_NEEDED: Final = ((_APP0, b"JFIF\0", 14), (_APP2, b"ICC_PROFILE\0", None), (_APP14, b"Adobe", 12))
"""The application segments that decide colors or density: marker, name, and the number of bytes to copy (None: all)."""

_codec: ModuleType | None = None
_encoder: ModuleType | None = None


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """The size of the upright image, whether it has alpha, and whether it is an animation."""

    size: Size
    alpha: bool
    animated: bool


def load_codec() -> None:
    """Load the modules of the extra, if the extra is installed.

    This must happen before the process enters the sandbox, which forbids it.
    """
    global _codec, _encoder  # noqa: PLW0603 - a process has one set of codecs
    if _codec is not None or JXL.package is None:
        return
    package = find_spec(JXL.package.module)
    spec = PathFinder.find_spec(_C_MODULE, package.submodule_search_locations if package else None)
    if spec is None or spec.loader is None:
        raise ImportError(f"{JXL.package.name} is installed without {_C_MODULE}")
    _encoder = import_module("imagecodecs._jpegxl")
    _codec = module_from_spec(spec)
    spec.loader.exec_module(_codec)


def header_of(data: bytes) -> JxlHeader:
    """The header of a JPEG XL; no pixel is decoded. Raises pyvips.Error if it is broken."""
    found = _called(_codec, "probe", data)
    return JxlHeader(Size(found["width"], found["height"]), bool(found["has_alpha"]), bool(found["have_animation"]))


def decoded(data: bytes) -> Image:
    """The first frame in memory, upright, in 8 bits, with its profile. Raises pyvips.Error."""
    if header_of(data).animated:
        samples, metadata = _first_frame(data), dict[str, bytes]()
    else:
        samples, metadata = _called(_codec, "decode", data, metadata=True)
    height, width, bands = samples.shape if samples.ndim == 3 else (*samples.shape, 1)
    frame = Image.new_from_memory(samples.data, width, height, bands, "uchar")
    frame = frame.copy(interpretation="srgb" if bands > 2 else "b-w")
    profile = metadata.get("icc")
    return with_profile(frame, bytes(profile)) if profile else frame


def _first_frame(data: bytes) -> Any:
    """The first frame of an animation in 8 bits, without its profile.

    imagecodecs decodes it, because pylibjxl returns the last frame.
    """
    samples = _called(_encoder, "jpegxl_decode", data, 0, numthreads=1)
    if samples.dtype == np.uint16:
        samples = (samples >> 8).astype(np.uint8)
    if samples.dtype != np.uint8 or samples.ndim not in (2, 3):
        raise pyvips.Error(f"JPEG XL: frames of {samples.dtype} are not read")
    return np.ascontiguousarray(samples)


def encoded(frame: Image, quality: int, *, lossless: bool, keep_profile: bool, low_effort: bool = False) -> bytes:
    """The frame as JPEG XL. Raises pyvips.Error, also if the pixels of the frame cannot be decoded."""
    samples = np.frombuffer(frame.write_to_memory(), np.uint8).reshape(frame.height, frame.width, frame.bands)
    quick = low_effort or (lossless and frame.width * frame.height > _LARGE_PIXELS)
    effort = 1 if quick else 2 if lossless else 3
    distance = None if lossless else distance_of(quality)
    if keep_profile and (profile := blob(frame, PROFILE)):  # imagecodecs writes none
        return bytes(
            _called(_codec, "encode", samples, lossless=lossless, distance=distance or 0.0, effort=effort, icc=profile)
        )
    return bytes(
        _called(_encoder, "jpegxl_encode", samples, lossless=lossless, distance=distance, effort=effort, numthreads=1)
    )


def recompressed(jpeg: bytes) -> bytes | None:
    """The JPEG as JPEG XL with the same pixels and without metadata.

    None if the JPEG has no end, or if the library cannot store it, such as a JPEG in CMYK.
    """
    try:
        return bytes(_called(_codec, "jpeg_to_jxl", _without_metadata(jpeg), effort=3))
    except (pyvips.Error, ValueError):
        return None


def distance_of(quality: int) -> float:
    """The distance, libjxl's measure of loss, for a quality from 1 to 100. Quality 90 is distance 1.0: just visible.

    Source: https://github.com/libjxl/libjxl, JxlEncoderDistanceFromQuality
    """
    if quality >= 100:
        return 0.0
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality * quality - 23 / 20 * quality + 25


def _called(module: ModuleType | None, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of a codec module; returns its result. The exceptions of the module become pyvips.Error."""
    if module is None:
        raise pyvips.Error("JPEG XL: the extra jxl is not installed")
    try:
        return getattr(module, name)(*arguments, **options)
    except _ERRORS as error:
        raise pyvips.Error(f"JPEG XL: {error}") from error


def _without_metadata(jpeg: bytes) -> bytes:
    """The JPEG without Exif, XMP, comments, previews, and data after its end, such as further images.

    The segments that decide colors or density are copied: the color profile (APP2), and the fixed fields of JFIF (APP0)
    and of Adobe (APP14). Raises ValueError if the segments do not reach the end of the image.
    """
    parts, is_whole = [jpeg[:2]], False
    for segment in segments(jpeg):
        parts.append(_kept(segment, jpeg))
        is_whole = segment.kind == END_OF_IMAGE
    if not is_whole:
        raise ValueError("the JPEG has no end")
    return b"".join(parts)


def _kept(segment: Segment, jpeg: bytes) -> bytes:
    """The bytes of the segment to copy: none of its metadata, but all that decides colors or density."""
    for kind, name, length in _NEEDED:
        if segment.kind == kind and jpeg.startswith(name, segment.content):
            content = jpeg[segment.content : segment.end][:length]
            # The two last bytes of JFIF's fields are the size of its preview, which is cut off.
            content = content[:-2] + bytes(2) if kind == _APP0 else content
            return bytes([0xFF, kind]) + (len(content) + 2).to_bytes(2, "big") + content
    is_metadata = _APP0 <= segment.kind <= _APP15 or segment.kind == _COMMENT
    return b"" if is_metadata else jpeg[segment.start : segment.end]
