"""The decoded image, and helpers for its pixels in memory and its color profile."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyvips import GValue, Image

PROFILE: Final = "icc-profile-data"
"""The metadata field with the color profile."""
_STREAM: Final = "vips-sequential"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image: upright frames of one size.

    An animation also has the duration of each frame in ms, and the number of times that it is played (0: forever).
    """

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


def image_of(pixels: NDArray[Any]) -> Image:
    """An image in memory, from an array of 8-bit pixels with the axes row, column and band.

    One band means gray; more bands mean sRGB.
    """
    height, width, bands = pixels.shape
    image = Image.new_from_memory(np.ascontiguousarray(pixels), width, height, bands, "uchar")
    return image.copy(interpretation="b-w" if bands == 1 else "srgb")


def blob(frame: Image, name: str) -> bytes:
    """The bytes of a metadata field; empty if the field is absent or empty."""
    try:
        return bytes(frame.get(name)) if frame.get_typeof(name) else b""
    except RuntimeError:  # pyvips raises it for an empty field
        return b""


def with_profile(frame: Image, profile: bytes) -> Image:
    """The frame with this ICC profile in place of its own. Its pixels do not change."""
    tagged = frame.copy()
    tagged.set_type(GValue.blob_type, PROFILE, profile)
    return tagged


def without_profile(frame: Image) -> Image:
    """The frame without its ICC profile. Its pixels do not change."""
    bare = frame.copy()
    bare.remove(PROFILE)
    return bare


def color_cube(levels: tuple[int, ...], profile: bytes) -> Image:
    """One row of RGB test pixels with this profile. It has every combination of three of the levels."""
    samples = bytes(sample for color in product(levels, repeat=3) for sample in color)
    row = Image.new_from_memory(samples, len(levels) ** 3, 1, 3, "uchar").copy(interpretation="srgb")
    return with_profile(row, profile)
