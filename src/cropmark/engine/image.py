"""The decoded image: its frames, and copying a sequential stream into memory."""

from __future__ import annotations

from dataclasses import dataclass

from pyvips import Image

_STREAM = "vips-sequential"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Upright frames of one size. For animations: each frame's duration in ms, and the number of loops (0: forever)."""

    frames: tuple[Image, ...]
    delays_ms: tuple[int, ...] = ()
    loop: int = 0


def in_memory(frame: Image) -> Image:
    """The frame with its pixels in memory, for operations that do not read from top to bottom.

    The pixels are computed now, unless they are in memory already. libvips' own temporary file is not an option: the
    sandbox forbids writing. Raises pyvips.Error if the source is broken.
    """
    if not frame.get_typeof(_STREAM):
        return frame
    still = frame.copy_memory().copy()
    still.remove(_STREAM)
    return still


def blob(frame: Image, name: str) -> bytes:
    """A metadata field as bytes; empty if it is absent. pyvips raises RuntimeError for a field that is empty."""
    try:
        return bytes(frame.get(name)) if frame.get_typeof(name) else b""
    except RuntimeError:
        return b""
