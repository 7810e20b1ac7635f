"""A decoded picture: its frames, and how a stream of rows becomes pixels in memory."""

from __future__ import annotations

from dataclasses import dataclass

from pyvips import Image

_STREAM = "vips-sequential"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Frames of one size, upright; for animations how long each shows (ms) and how often all play (0: forever)."""

    frames: tuple[Image, ...]
    delays_ms: tuple[int, ...] = ()
    loop: int = 0


def gathered(frame: Image) -> Image:
    """The frame with its pixels in memory, for whatever does not go from top to bottom.

    It is computed now, unless it is in memory already; not in libvips' temporary file, which a renderer may not write.
    Raises pyvips.Error where the source is broken.
    """
    if not frame.get_typeof(_STREAM):
        return frame
    still = frame.copy_memory().copy()
    still.remove(_STREAM)
    return still


def blob(frame: Image, name: str) -> bytes:
    """A piece of metadata as bytes; empty where there is none. pyvips stumbles over those that are there and empty."""
    try:
        return bytes(frame.get(name)) if frame.get_typeof(name) else b""
    except RuntimeError:
        return b""
