"""Reads and writes animated AVIF with the extra `motion`, which uses the libavif in Pillow.

libvips reads and writes only one frame of a sequence. Pillow's C module is loaded without the rest of Pillow, so each
renderer takes only 1.5 MB of memory for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import pyvips
from pyvips import Image

from cropmark.engine.image import DecodedImage, with_profile
from cropmark.engine.sequence import plays_of, with_plays
from cropmark.model.extras import MOTION
from cropmark.model.formats import SNIFF_BYTES, is_avif_sequence
from cropmark.model.values import Size

_ERRORS: Final = (ValueError, RuntimeError, SyntaxError, OSError, MemoryError, TypeError)
"""The exceptions that the module raises for broken files and failed encoders."""
_MODES: Final = {3: "RGB", 4: "RGBA"}
_FULL_COLOR_QUALITY: Final = 90
"""The quality from which colors are not subsampled, as for stills."""

_codec: ModuleType | None = None


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """The header of an AVIF sequence. `orientation` expresses its rotation and mirroring as an Exif orientation."""

    size: Size
    frames: int
    alpha: bool
    orientation: int


def load_codec() -> None:
    """Load Pillow's AVIF module, if the extra is installed.

    This must happen before the process enters the sandbox, which forbids it.
    """
    global _codec  # noqa: PLW0603 - a process has one set of codecs
    if _codec is None and MOTION.package is not None:
        _codec = import_module(MOTION.package.module)


def reads(data: bytes) -> bool:
    """True if the file is an AVIF sequence, and the extra that reads sequences is loaded."""
    return _codec is not None and is_avif_sequence(data[:SNIFF_BYTES])


def header_of(data: bytes) -> SequenceHeader:
    """The header of an AVIF sequence; no pixel is decoded. Raises pyvips.Error if it is broken."""
    (width, height), frames, mode, _, _, orientation, _ = _opened(data)[1]
    return SequenceHeader(Size(width, height), frames, mode == "RGBA", orientation)


def decoded(data: bytes, frames: int) -> DecodedImage:
    """The first `frames` frames in memory, in 8 bits, with their profile, in the stored orientation.

    Raises pyvips.Error.
    """
    decoder, ((width, height), _, mode, profile, *_) = _opened(data)
    images: list[Image] = []
    delays: list[int] = []
    for number in range(frames):
        samples, timescale, _, duration = _called(decoder.get_frame, number)
        frame = Image.new_from_memory(samples, width, height, len(mode), "uchar").copy(interpretation="srgb")
        images.append(with_profile(frame, bytes(profile)) if profile else frame)
        delays.append(round(1000 * duration / timescale) if timescale else 0)
    if frames == 1:
        return DecodedImage((images[0],))
    return DecodedImage(tuple(images), tuple(delays), plays_of(data))


def encoded(image: DecodedImage, quality: int, *, effort: int, profile: bytes = b"") -> bytes:
    """The animation as an AVIF sequence. Equal frames give equal bytes. Raises pyvips.Error."""
    if _codec is None:
        raise pyvips.Error("AVIF: the extra motion is not installed")
    first = image.frames[0]
    subsampling = "4:4:4" if quality >= _FULL_COLOR_QUALITY else "4:2:0"
    size, speed = (first.width, first.height), 9 - effort
    # one thread, full range, one tile, colors not premultiplied, no Exif, orientation 1, no XMP, no other options
    encoder = _called(
        *(_codec.AvifEncoder, size, subsampling, quality, speed, 1, "auto", "full"),
        *(0, 0, False, False, profile, b"", 1, b"", None),
    )
    for frame, delay_ms in zip(image.frames, image.delays_ms, strict=True):
        samples = frame.write_to_memory()
        _called(encoder.add, bytes(samples), max(1, delay_ms), size, _MODES[frame.bands], False)
    return with_plays(bytes(_called(encoder.finish)), image.loop)


def _opened(data: bytes) -> tuple[Any, Any]:
    """A decoder of Pillow's AVIF module for the file, and the file's header. Raises pyvips.Error."""
    if _codec is None:
        raise pyvips.Error("AVIF: the extra motion is not installed")
    decoder = _called(_codec.AvifDecoder, data, "auto", 1)
    return decoder, _called(decoder.get_info)


def _called(function: Any, *arguments: Any) -> Any:
    """Call a function of the AVIF module; returns its result. The exceptions of the module become pyvips.Error."""
    try:
        return function(*arguments)
    except _ERRORS as error:
        raise pyvips.Error(f"AVIF: {error}") from error
