"""Files as the engine decodes them."""

from __future__ import annotations

from cropmark.engine import color, load
from tests.engine.images import Array, pixels


def srgb(body: bytes) -> Array:
    """The pixels of a file as the engine converts them to sRGB."""
    return pixels(color.to_srgb(load.decode(body, load.info_of(body)).frames[0]))
