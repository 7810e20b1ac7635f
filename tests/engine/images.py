"""Small test images, created by Pillow and numpy, never by the tested code; and comparisons of pixels."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms
from pyvips import Image

Array = NDArray[np.uint8]


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(width: int, height: int, bands: int = 3, seed: int = 7) -> Array:
    """Random pixels: any misplaced pixel is detected."""
    return rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def slopes(width: int, height: int) -> Array:
    """Red grows to the right, green downwards, blue with both: smooth, like most photographs."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    red, green = np.broadcast_to(across, (height, width)), np.broadcast_to(down[:, None], (height, width))
    return np.stack([red, green, (red + green) / 2], axis=2).round().astype(np.uint8)


def file_of(array: Array, kind: str = "PNG", **options: Any) -> bytes:
    return saved(Pillow.fromarray(array[:, :, 0] if array.shape[2] == 1 else array), kind, **options)


def saved(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def seen(body: bytes, mode: str | None = None, frame: int = 0) -> Array:
    """The pixels of a file as Pillow decodes them."""
    image = Pillow.open(BytesIO(body))
    image.seek(frame)
    return np.asarray(image.convert(mode or image.mode))


def opened(body: bytes) -> Pillow.Image:
    return Pillow.open(BytesIO(body))


def frame_of(array: Array) -> Image:
    """An array as an engine frame: 8-bit sRGB with three or four bands."""
    height, width, bands = array.shape
    held = np.ascontiguousarray(array).tobytes()
    return Image.new_from_memory(held, width, height, bands, "uchar").copy(interpretation="srgb")


def pixels(frame: Image) -> Array:
    assert frame.format == "uchar", frame.format
    return np.frombuffer(frame.write_to_memory(), np.uint8).reshape(frame.height, frame.width, frame.bands)


def mean_error(one: Array, other: Array) -> float:
    """The mean difference of two images of one shape, in levels."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def off_by(one: Array, other: Array) -> int:
    """The largest difference of two images of one shape, in levels."""
    assert one.shape == other.shape, (one.shape, other.shape)
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@cache  # it contains the second of its creation
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def gray_profile(gamma: float) -> bytes:
    """A gray profile of ICC version 2 with one gamma."""
    white = b"XYZ " + bytes(4) + pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(4) + pack(">IH2x", 1, round(gamma * 256))
    text = b"desc" + bytes(4) + pack(">I", 5) + b"gray\0" + bytes(79)
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none", b"wtpt": white, b"kTRC": curve}
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += pack(">4sII", name, start + len(data), len(body))
        data += body
    head = pack(">I4sI4s4s4s12x4s", start + len(data), b"", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    header = (head.ljust(68, b"\0") + white[8:]).ljust(128, b"\0")
    return header + pack(">I", len(tags)) + table + data


def grb_profile() -> bytes:
    """An sRGB profile with the red and green primaries swapped."""
    profile = bytearray(srgb_profile())
    red, green = (_tag(profile, name) for name in (b"rXYZ", b"gXYZ"))
    profile[red : red + 20], profile[green : green + 20] = profile[green : green + 20], profile[red : red + 20]
    return bytes(profile)


@cache
def p3_profile() -> bytes:
    """An sRGB profile with the primaries of Display P3, adapted to D50."""
    profile = bytearray(srgb_profile())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for name, xyz in primaries.items():
        at = _tag(profile, name)
        profile[at + 8 : at + 20] = pack(">3i", *(round(part * 65536) for part in xyz))
    return bytes(profile)


def _tag(profile: bytearray, name: bytes) -> int:
    count = int.from_bytes(profile[128:132], "big")
    for at in range(132, 132 + 12 * count, 12):
        if profile[at : at + 4] == name:
            return int.from_bytes(profile[at + 4 : at + 8], "big")
    raise AssertionError(f"no tag {name!r}")
