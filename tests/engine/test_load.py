"""Facts from headers, rejected files, and the allowed loaders."""

from __future__ import annotations

import subprocess
import sys
import zlib
from contextlib import suppress
from fractions import Fraction
from struct import pack

import numpy as np
import pytest
import pyvips
from PIL import Image as Pillow

from cropmark.engine import load, render
from cropmark.engine.thumbnail import thumbnail_rgb
from cropmark.model.formats import Format, Info
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import Rendered
from cropmark.runtime.reads import Data
from tests.engine.images import Array, file_of, noise, off_by, opened, saved, slopes
from tests.hostile.raw import chunk

PHOTO = Pillow.fromarray(slopes(40, 30))
CLEAR_PHOTO = PHOTO.convert("RGBA")
CLEAR_PHOTO.putalpha(128)
GRAY = PHOTO.convert("L")
PALETTE = PHOTO.quantize(16)
FRAMES = [PHOTO.rotate(angle) for angle in (0, 40, 80)]


def turned_by_exif(orientation: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return exif


RIGHT, LEFT = turned_by_exif(6), turned_by_exif(8)
LATE_EXIF = saved(PHOTO, "PNG")[:-12] + chunk(b"eXIf", LEFT.tobytes().removeprefix(b"Exif\0\0")) + chunk(b"IEND")
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='9'/>"


def animated(kind: str, **options: object) -> bytes:
    return saved(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], duration=[30, 40, 50], **options)


def reported(body: bytes, **changes: object) -> tuple[bytes, Info]:
    defaults: dict[str, object] = {"stored_size": Size(40, 30), "bytes": len(body)}
    return body, Info(**{**defaults, **changes})  # type: ignore[arg-type]  # a table reads better with names only


# fmt: off
INFOS = {
    "jpeg":            reported(saved(PHOTO, "JPEG"), format=Format.JPEG),
    "progressive":     reported(saved(PHOTO, "JPEG", progressive=True), format=Format.JPEG, progressive=True),
    "gray jpeg":       reported(saved(GRAY, "JPEG"), format=Format.JPEG),
    "cmyk jpeg":       reported(saved(PHOTO.convert("CMYK"), "JPEG"), format=Format.JPEG),
    "turned jpeg":     reported(saved(PHOTO, "JPEG", exif=RIGHT), format=Format.JPEG, orientation=6),
    "odd orientation": reported(saved(PHOTO, "JPEG", exif=turned_by_exif(99)), format=Format.JPEG, orientation=1),
    "png":             reported(saved(PHOTO, "PNG"), format=Format.PNG, lossless=True),
    "palette":         reported(saved(PALETTE, "PNG"), format=Format.PNG, lossless=True, palette=True, few_bits=True),
    "clear palette":   reported(
        saved(PALETTE, "PNG", transparency=3), format=Format.PNG, lossless=True, alpha=True, palette=True, few_bits=True
    ),
    "gray":            reported(saved(GRAY, "PNG"), format=Format.PNG, lossless=True, few_bits=True),
    "clear gray":      reported(saved(GRAY, "PNG", transparency=3), format=Format.PNG, lossless=True, alpha=True),
    "png with alpha":  reported(saved(CLEAR_PHOTO, "PNG"), format=Format.PNG, lossless=True, alpha=True),
    "16-bit png":      reported(file_of(noise(40, 30, 1).astype(np.uint16)), format=Format.PNG, lossless=True),
    "turned png":      reported(saved(PHOTO, "PNG", exif=LEFT), format=Format.PNG, lossless=True, orientation=8),
    "turned webp":     reported(saved(PHOTO, "WEBP", exif=LEFT), format=Format.WEBP, orientation=8),
    "turned late":     reported(LATE_EXIF, format=Format.PNG, lossless=True),  # as in browsers: after the pixels
    "turned avif":     reported(saved(PHOTO, "AVIF", exif=LEFT), format=Format.AVIF, stored_size=Size(30, 40)),
    "webp":            reported(saved(PHOTO, "WEBP"), format=Format.WEBP),
    "lossless webp":   reported(saved(PHOTO, "WEBP", lossless=True), format=Format.WEBP, lossless=True),
    "webp with alpha": reported(saved(CLEAR_PHOTO, "WEBP"), format=Format.WEBP, alpha=True),
    "gif":             reported(saved(PALETTE, "GIF"), format=Format.GIF, lossless=True),
    "clear gif":       reported(saved(PALETTE, "GIF", transparency=0), format=Format.GIF, lossless=True, alpha=True),
    "animated gif":    reported(animated("GIF"), format=Format.GIF, lossless=True, frames=3),
    "avif":            reported(saved(PHOTO, "AVIF"), format=Format.AVIF),
    "avif with alpha": reported(saved(CLEAR_PHOTO, "AVIF"), format=Format.AVIF, alpha=True),
    "avif sequence":   reported(animated("AVIF"), format=Format.AVIF, frames=3),
    "animated png":    reported(animated("PNG"), format=Format.PNG, lossless=True, first_frame_only=True),
    "default image":   reported(
        animated("PNG", default_image=True), format=Format.PNG, lossless=True, first_frame_only=True
    ),
    "one png frame":   reported(
        saved(PHOTO, "PNG", save_all=True, duration=9), format=Format.PNG, lossless=True
    ),
    "tiff":            reported(saved(PHOTO, "TIFF"), format=Format.TIFF),
    "bmp":             reported(saved(PHOTO, "BMP"), format=Format.BMP, lossless=True),
    # known, and not read: format and length, nothing else
    "svg":             reported(SVG, format=Format.SVG, stored_size=Size(1, 1)),
}
# fmt: on


@pytest.mark.parametrize("name", INFOS)
def test_the_header_tells(name: str) -> None:
    body, info = INFOS[name]
    assert load.info_of(body) == info


def test_an_animated_webp_is_lossless_where_every_frame_is() -> None:
    lossy, lossless = (load.info_of(animated("WEBP", lossless=both)) for both in (False, True))
    assert (lossy.frames, lossy.lossless) == (3, False)
    assert (lossless.frames, lossless.lossless) == (3, True)


def test_the_name_counts_for_nothing() -> None:
    """The format comes from the bytes alone; a file name does not exist."""
    assert load.info_of(saved(PHOTO, "WEBP")).format is Format.WEBP


# fmt: off
REFUSED = {
    "nothing":           (b"", "supported image format"),
    "a page":            (b"<!DOCTYPE html><p>not found", "supported image format"),
    "a script":          (b"#!/bin/sh\n", "supported image format"),
    "ppm":               (b"P6 2 2 255\n" + bytes(12), "supported image format"),
    "libvips' own":      (b"\xb6\xa6\xf2\x08" + bytes(100), "supported image format"),
    "pdf":               (b"%PDF-1.7\n" + bytes(100), "supported image format"),
    "exr":               (b"\x76\x2f\x31\x01" + bytes(100), "supported image format"),
    "matlab":            (b"MATLAB 5.0 MAT-file" + bytes(100), "supported image format"),
    "magick's vectors":  (b"push graphic-context\nviewbox 0 0 9 9\n", "supported image format"),
    "a jpeg's start":    (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "broken"),
    "a png's start":     (b"\x89PNG\r\n\x1a\n", "broken"),
    "a gif's start":     (b"GIF89a", "broken"),
    "a webp's start":    (b"RIFF\x10\x00\x00\x00WEBP", "broken"),
    "an avif's start":   (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1", "broken"),
    "a tiff's start":    (b"II*\x00\x08\x00\x00\x00", "broken"),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_check_28_other_formats_are_rejected(name: str) -> None:
    body, words = REFUSED[name]
    with pytest.raises(SourceUnusable, match=words):
        load.info_of(body)


def png_of_size(width: int, height: int, body: bytes) -> bytes:
    header = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG that says it is so large."""
    body = bytearray(saved(PHOTO, "JPEG"))
    at = body.index(b"\xff\xc0")
    body[at + 5 : at + 9] = pack(">HH", height, width)
    return bytes(body)


def gif_of_size(width: int, height: int) -> bytes:
    """A GIF of two pixels with this size in its frame header."""
    body = bytearray(saved(Pillow.new("P", (2, 1)), "GIF"))
    at = body.index(b"\x2c", 13)
    body[at + 5 : at + 9] = pack("<HH", width, height)
    return bytes(body)


BOMBS = {
    "png without pixels": png_of_size(12_000, 12_000, zlib.compress(b"")),
    "png with a hundredth": png_of_size(12_000, 12_000, zlib.compress(bytes(12_000 * 3 * 120))),
    "jpeg without pixels": jpeg_of_size(12_000, 12_000),
    "jpeg strip": jpeg_of_size(65_500, 600),
    "gif without pixels": gif_of_size(12_000, 12_000),
    "gif of a few more": gif_of_size(400, 300),
}


@pytest.mark.parametrize("name", BOMBS)
def test_check_30_a_file_too_short_for_its_size_is_rejected_by_its_header(name: str) -> None:
    with pytest.raises(SourceUnusable, match="broken"):
        load.info_of(BOMBS[name])


def test_check_30_the_most_compressible_image_is_accepted() -> None:
    plain = np.zeros((3000, 3000, 3), np.uint8)
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        assert load.info_of(file_of(plain, kind)).stored_size == Size(3000, 3000)
    flat = Pillow.new("1", (4000, 4000))
    assert load.info_of(saved(flat, "PNG", transparency=0)).stored_size == Size(4000, 4000)


def test_check_30_six_bands_are_too_many() -> None:
    many = pyvips.Image.black(8, 8, bands=6).copy(interpretation="multiband").tiffsave_buffer()
    with pytest.raises(SourceUnusable, match="6 color planes, at most 5") as caught:
        load.info_of(many)
    assert caught.value.fix == "send the image as gray, RGB or CMYK, with at most one alpha channel"


@pytest.mark.parametrize("kept", range(1, 20))
def test_check_31_a_gif_cut_anywhere_is_torn(kept: int) -> None:
    body = animated("GIF")
    with pytest.raises(SourceUnusable, match="broken"):
        load.info_of(body[: len(body) * kept // 20])


def test_a_gif_without_its_end_mark_is_whole() -> None:
    body = animated("GIF")
    assert body.endswith(b";")
    assert load.info_of(body[:-1]).frames == 3


# ---------------------------------------------------------------------------------------------- the process

_BLOCKED = 32  # VIPS_OPERATION_BLOCKED


def test_check_28_only_our_loaders_run() -> None:
    """The live table of libvips: every loader that it has, those from files and sources too."""
    found = loaders()
    assert {"svgload_buffer", "vipsload", "jpegload", "jpegload_source", "pngload_buffer"} <= found
    assert {name for name in found if not pyvips.Introspect(name).flags & _BLOCKED} == set(load.LOADERS.values())


def test_check_28_a_blocked_loader_does_not_run() -> None:
    with pytest.raises(pyvips.Error, match="blocked"):
        pyvips.Image.svgload_buffer(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")


def loaders() -> set[str]:
    """Nicknames of all loaders that can be called."""
    found: set[str] = set()

    def visit(kind: int, *_: object) -> object:
        with suppress(pyvips.Error):  # an abstract class
            nickname = pyvips.nickname_find(kind)
            pyvips.Introspect(nickname)
            found.add(nickname)
        pyvips.type_map(kind, visit)
        return pyvips.ffi.NULL  # goes on

    pyvips.type_map(pyvips.type_from_name("VipsForeignLoad"), visit)
    return found


def test_check_29_no_limits_no_start() -> None:
    script = "from cropmark.engine import load; load.prepare()"
    outcome = subprocess.run(
        [sys.executable, "-c", script], env={"VIPS_UNLIMITED": "1"}, capture_output=True, text=True, check=False
    )
    assert outcome.returncode != 0
    assert "unset VIPS_UNLIMITED" in outcome.stderr


def test_check_31_an_error_that_quotes_bytes_of_the_file_is_an_error_like_any_other() -> None:
    """Found by fuzzing: libheif's error quotes an unknown property, here with a name that is not UTF-8."""
    turned = Pillow.Exif()
    turned[0x0112] = 6
    body = saved(PHOTO, "AVIF", exif=turned).replace(b"irot", b"ir\x82t")
    for _ in range(2):
        with pytest.raises(SourceUnusable, match="broken") as caught:
            load.info_of(body)
        assert "'ir\ufffdt'" in str(caught.value.__cause__)


def test_one_thread_and_no_cache() -> None:
    assert pyvips.concurrency_get() == 1
    assert pyvips.cache_get_max() == 0


# ---------------------------------------------------------------------------------------------- small_rgb


def as_array(held: bytes, size: Size) -> Array:
    return np.frombuffer(held, np.uint8).reshape(size.height, size.width, 3)


# fmt: off
SMALL = [
    # stored      side   small           whole, upright
    ((400, 300),  100,   Size(100, 75),  Size(400, 300)),
    ((300, 400),  100,   Size(75, 100),  Size(300, 400)),
    ((40, 30),    640,   Size(40, 30),   Size(40, 30)),     # never enlarged
    ((3000, 2),   100,   Size(100, 1),   Size(3000, 2)),
    ((1, 1),      640,   Size(1, 1),     Size(1, 1)),
]
# fmt: on


@pytest.mark.parametrize(("stored", "side", "small", "whole"), SMALL)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_small_copy(stored: tuple[int, int], side: int, small: Size, whole: Size, kind: str) -> None:
    held, size, full = thumbnail_rgb(file_of(slopes(*stored), kind), side)
    assert (size, full, len(held)) == (small, whole, 3 * small.area)


def test_a_thumbnail_is_upright() -> None:
    held, size, full = thumbnail_rgb(saved(PHOTO, "JPEG", quality=95, exif=turned_by_exif(6)), 20)
    assert (size, full) == (Size(15, 20), Size(30, 40))
    upright = np.asarray(PHOTO.transpose(Pillow.Transpose.ROTATE_270).resize((15, 20), Pillow.Resampling.LANCZOS))
    assert off_by(as_array(held, size), upright) <= 12


def test_a_thumbnail_has_a_white_background() -> None:
    clear = Pillow.new("RGBA", (30, 30), (0, 0, 0, 0))
    held, _, _ = thumbnail_rgb(saved(clear, "PNG"), 10)
    assert set(held) == {255}


@pytest.mark.parametrize("name", ["nothing", "a jpeg's start"])
def test_no_small_copy_of_what_is_broken(name: str) -> None:
    with pytest.raises(SourceUnusable):
        thumbnail_rgb(REFUSED[name][0], 100)


def test_no_small_copy_of_what_is_torn_or_not_read() -> None:
    body = saved(Pillow.fromarray(noise(400, 400)), "JPEG")
    for bad in (body[: len(body) // 2], INFOS["svg"][0]):
        with pytest.raises(SourceUnusable):
            thumbnail_rgb(bad, 100)


def test_the_rows_above_come_from_another_library() -> None:
    """If Pillow wrote no progressive JPEG, the row about it would say nothing."""
    assert opened(INFOS["progressive"][0]).info.get("progressive") == 1


def test_a_render_opens_a_jpeg_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = load._open

    def counted(data: Data, stored_as: Format, **options: object) -> pyvips.Image:
        opened.append(stored_as)
        return real(data, stored_as, **options)

    monkeypatch.setattr(load, "_open", counted)
    plan = Plan((Resize(Pixels(Fraction(20)), None),), Output((EncodingChoice(Format.JPEG),)))
    assert isinstance(render.render([saved(PHOTO, "JPEG")], plan), Rendered)
    assert opened == [Format.JPEG]
