"""Small valid images in every supported format, equal on every run: the base for truncated and changed files."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyvips
from PIL import Image, ImageCms

from tests.engine import heic_files

SEED = 20_260_101
WIDE, HIGH = 72, 54
DRAWINGS = Path(__file__).parents[1] / "data" / "svg"


def noise(mode: str = "RGB", width: int = WIDE, height: int = HIGH) -> Image.Image:
    """Coarse noise: enough detail that no format folds it into a header."""
    chance = random.Random(SEED)
    small = Image.frombytes("RGB", (width // 3, height // 3), chance.randbytes(width // 3 * (height // 3) * 3))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def drawings() -> list[bytes]:
    """SVGs with gradients, patterns, filters, symbols, styles, units and an embedded image."""
    return [path.read_bytes() for path in sorted(DRAWINGS.glob("*.svg"))]


def moving(kind: str, count: int = 4, **options: Any) -> bytes:
    frames = [noise().rotate(90 * n) for n in range(count)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=80, loop=0, **options)


def timeless(avif: bytes) -> bytes:
    """A moving AVIF without the times at which its tracks were made."""
    body = bytearray(avif)
    for name in (b"mvhd", b"tkhd", b"mdhd"):
        at = avif.find(name) + 4
        length = 16 if avif[at] == 1 else 8
        body[at + 4 : at + 4 + length] = bytes(length)
    return bytes(body)


def by_vips(suffix: str, mode: str = "RGB", bits: int = 8, **options: Any) -> bytes:
    """A file that Pillow cannot write: interlaced PNG, 16-bit color, tiles, 10-bit AVIF."""
    image = pyvips.Image.new_from_memory(noise(mode).tobytes(), WIDE, HIGH, len(mode), "uchar")
    image = image.copy(interpretation="srgb" if len(mode) > 2 else "b-w")
    if bits == 16:
        image = (image.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    return bytes(image.write_to_buffer(suffix, **options))


@cache
def profile() -> bytes:
    """A profile of sRGB, without the time at which it was made."""
    rendered = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return rendered[:24] + bytes(12) + rendered[36:84] + bytes(16) + rendered[100:]


def exif(orientation: int) -> bytes:
    reported = Image.Exif()
    reported[0x0112] = orientation
    return reported.tobytes()


@cache
def torn_seeds() -> Mapping[str, bytes]:
    """One of each way to store pixels, by name and extension: these are cut at every tenth."""
    return {
        "baseline.jpg": saved(noise(), "JPEG", quality=90),
        "progressive.jpg": saved(noise(), "JPEG", quality=90, progressive=True),
        "plain.png": saved(noise("RGBA"), "PNG"),
        "interlaced.png": by_vips(".png", interlace=True),
        "lossy.webp": saved(noise(), "WEBP", quality=80),
        "lossless.webp": saved(noise("RGBA"), "WEBP", lossless=True),
        "moving.webp": moving("WEBP"),
        "still.gif": saved(noise("P"), "GIF"),
        "moving.gif": moving("GIF"),
        "deflated.tiff": saved(noise(), "TIFF", compression="tiff_adobe_deflate"),
        "plain.bmp": saved(noise(), "BMP"),
        "palette.bmp": saved(noise("P"), "BMP"),
        "plain.avif": saved(noise(), "AVIF", quality=80),
        "moving.avif": timeless(moving("AVIF")),
        "photo.heic": heic_files.file("photo"),
        "photo.jxl": (heic_files.FOLDER.parent / "jxl" / "photo.jxl").read_bytes(),
    }


@cache
def sound() -> Mapping[str, bytes]:
    """Odd but sound images: each must become an image."""
    return {**torn_seeds(), **_jpegs(), **_pngs(), **_webps(), **_tiffs(), **_avifs(), **_heics()}


def _heics() -> dict[str, bytes]:
    return {
        "moving.jxl": (heic_files.FOLDER.parent / "jxl" / "animated.jxl").read_bytes(),
        "deep.heic": heic_files.file("deep"),
        "alpha.heic": heic_files.file("alpha"),
        "gray.heic": heic_files.file("gray"),
        "grid.heic": heic_files.grid(),
        "rotated.heic": heic_files.rotated(1),
        "hdr.heic": heic_files.hdr(),
        "profile-broken.heic": heic_files.with_profile(b"\0" * 40 + b"acsp" + b"\xff" * 90),
    }


def _jpegs() -> dict[str, bytes]:
    found = {f"turned-{n}.jpg": saved(noise(), "JPEG", exif=exif(n)) for n in range(1, 9)}
    return found | {
        "gray.jpg": saved(noise("L"), "JPEG"),
        "ink.jpg": saved(noise("CMYK"), "JPEG"),
        "ink-profile-of-light.jpg": saved(noise("CMYK"), "JPEG", icc_profile=profile()),
        "profile.jpg": saved(noise(), "JPEG", icc_profile=profile()),
        "profile-broken.jpg": saved(noise(), "JPEG", icc_profile=b"\0" * 40 + b"acsp" + b"\xff" * 90),
        "profile-empty.jpg": saved(noise(), "JPEG", icc_profile=b"x"),
        "profile-huge.jpg": saved(noise(), "JPEG", icc_profile=profile() + bytes(1_500_000)),
        "quality-1.jpg": saved(noise(), "JPEG", quality=1),
        "444.jpg": saved(noise(), "JPEG", subsampling=0),
        "411.jpg": saved(noise(), "JPEG", subsampling="4:1:1"),
        "restarts.jpg": saved(noise(), "JPEG", restart_marker_blocks=1),
        "turned-9.jpg": saved(noise(), "JPEG", exif=exif(9)),
        "turned-65535.jpg": saved(noise(), "JPEG", exif=exif(65535)),
        "exif-broken.jpg": saved(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 60),
        "1x1.jpg": saved(noise("RGB", 3, 3).resize((1, 1)), "JPEG"),
        "12000x1.jpg": saved(Image.new("RGB", (12000, 1), (9, 90, 200)), "JPEG"),
    }


def _pngs() -> dict[str, bytes]:
    clear = noise("P")
    return {
        "gray.png": saved(noise("L"), "PNG"),
        "bits-1.png": saved(noise("1"), "PNG"),
        "gray-alpha.png": saved(noise("LA"), "PNG"),
        "palette.png": saved(noise("P"), "PNG"),
        "palette-2bit.png": saved(noise("P").quantize(4), "PNG", bits=2),
        "palette-clear.png": saved(clear, "PNG", transparency=3),
        "rgb-clear.png": saved(noise(), "PNG", transparency=(1, 2, 3)),
        "gray-16.png": saved(noise("I").convert("I;16"), "PNG"),
        "rgb-16.png": by_vips(".png", bits=16),
        "rgba-interlaced.png": by_vips(".png", "RGBA", interlace=True),
        "moving.png": moving("PNG"),
        "profile.png": saved(noise(), "PNG", icc_profile=profile()),
        "profile-broken.png": saved(noise(), "PNG", icc_profile=b"no profile at all"),
        "exif.png": saved(noise(), "PNG", exif=exif(6)),
        "1x1.png": saved(Image.new("RGBA", (1, 1), (1, 2, 3, 4)), "PNG"),
        "1x8000.png": saved(Image.new("RGB", (1, 8000), (9, 90, 200)), "PNG"),
        "12000x1.png": saved(Image.new("L", (12000, 1), 90), "PNG"),
    }


def _webps() -> dict[str, bytes]:
    return {
        "alpha.webp": saved(noise("RGBA"), "WEBP", quality=60),
        "profile.webp": saved(noise(), "WEBP", icc_profile=profile()),
        "profile-broken.webp": saved(noise(), "WEBP", icc_profile=b"no profile at all"),
        "exif.webp": saved(noise(), "WEBP", exif=exif(8)),
        "moving-lossless.webp": moving("WEBP", lossless=True),
        "1x1.webp": saved(Image.new("RGB", (1, 1)), "WEBP"),
    }


def _tiffs() -> dict[str, bytes]:
    packings = ("raw", "tiff_lzw", "packbits", "jpeg")
    found = {f"{p}.tiff": saved(noise(), "TIFF", **({} if p == "raw" else {"compression": p})) for p in packings}
    pages = [noise(), noise().rotate(180)]
    return found | {
        "bits-1-fax.tiff": saved(noise("1"), "TIFF", compression="group4"),
        "ink.tiff": saved(noise("CMYK"), "TIFF"),
        "palette.tiff": saved(noise("P"), "TIFF"),
        "gray-16.tiff": saved(noise("I").convert("I;16"), "TIFF"),
        "float.tiff": saved(noise("F"), "TIFF"),
        "rgba.tiff": saved(noise("RGBA"), "TIFF"),
        "pages.tiff": saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]),
        "tiles.tiff": by_vips(".tiff", tile=True, tile_width=16, tile_height=16, compression="deflate"),
        "pyramid.tiff": by_vips(".tiff", tile=True, tile_width=16, tile_height=16, pyramid=True),
        "big.tiff": by_vips(".tiff", bigtiff=True),
        "rgb-16.tiff": by_vips(".tiff", bits=16),
    }


def _avifs() -> dict[str, bytes]:
    return {
        "alpha.avif": saved(noise("RGBA"), "AVIF"),
        "bits-10.avif": by_vips(".avif", bits=16, bitdepth=10, effort=0, compression="av1"),
        "profile.avif": saved(noise(), "AVIF", icc_profile=profile()),
        "exif.avif": saved(noise(), "AVIF", exif=exif(3)),
    }
