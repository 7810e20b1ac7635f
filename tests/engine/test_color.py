"""Conversion of all source color spaces to 8-bit sRGB."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import pyvips
from PIL import Image as Pillow

from cropmark.engine import color, load
from cropmark.engine.image import DecodedImage
from cropmark.engine.save import encode
from cropmark.geometry.recipe import Encoding
from cropmark.model.extras import JXL
from cropmark.model.formats import CmykConversion, Format
from cropmark.plan.plan import KeepMetadata
from tests.engine.decoding import srgb
from tests.engine.images import Array, file_of, grb_profile, noise, off_by, pixels, saved, seen, slopes, srgb_profile

PHOTO = slopes(48, 32)


def rgb(image: Pillow.Image) -> Array:
    return np.asarray(image.convert("RGB"))


def sixteen_bit(bands: int) -> bytes:
    wide = PHOTO[:, :, :bands].astype(np.uint16) * 257
    kind = "grey16" if bands == 1 else "rgb16"
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(wide).tobytes(), 48, 32, bands, "ushort")
    return bytes(image.copy(interpretation=kind).pngsave_buffer())


GRAY = Pillow.fromarray(PHOTO[:, :, 0])
GRAY_ALPHA = Pillow.merge("LA", [GRAY, Pillow.fromarray(PHOTO[:, :, 1])])
PALETTE = Pillow.fromarray(PHOTO).quantize(64)
CLEAR_PALETTE = saved(PALETTE, "PNG", transparency=5)

# fmt: off
SOURCES = {
    "rgb":            (file_of(PHOTO),                     PHOTO),
    "rgba":           (file_of(noise(9, 9, 4)),            noise(9, 9, 4)),
    "gray":           (saved(GRAY, "PNG"),                 rgb(GRAY)),
    "gray jpeg":      (saved(GRAY, "JPEG", quality=100),   rgb(GRAY)),
    "gray alpha":     (saved(GRAY_ALPHA, "PNG"),           np.asarray(GRAY_ALPHA.convert("RGBA"))),
    "palette":        (saved(PALETTE, "PNG"),              rgb(PALETTE)),
    "palette, clear": (CLEAR_PALETTE,                      seen(CLEAR_PALETTE, "RGBA")),
    "one bit":        (saved(GRAY.convert("1"), "PNG"),    rgb(GRAY.convert("1"))),
    "16-bit":         (sixteen_bit(3),                     PHOTO),
    "16-bit gray":    (sixteen_bit(1),                     rgb(GRAY)),
    "gif":            (saved(PALETTE, "GIF"),              rgb(PALETTE)),
    "tiff":           (file_of(PHOTO, "TIFF"),             PHOTO),
}
# fmt: on


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_sample_becomes_srgb(name: str) -> None:
    body, expected = SOURCES[name]
    assert off_by(srgb(body), expected) <= 1


@pytest.fixture
def press() -> Iterator[None]:
    color.use_cmyk_conversion(CmykConversion.PRESS)
    yield
    color.use_cmyk_conversion(CmykConversion.BROWSER)


# fmt: off
INKS = (
    # ink                   sRGB, as Chromium 156 shows it
    ((0, 0, 0, 0),          (255, 255, 255)),
    ((255, 0, 0, 0),        (0, 255, 255)),
    ((0, 255, 0, 0),        (255, 0, 255)),
    ((0, 0, 255, 0),        (255, 255, 0)),
    ((0, 0, 0, 255),        (0, 0, 0)),
    ((128, 0, 0, 0),        (127, 255, 255)),
    ((100, 50, 25, 60),     (118, 156, 175)),
    ((255, 255, 255, 255),  (0, 0, 0)),
)
# fmt: on
SWATCHES = Pillow.fromarray(np.array([[ink] * 8 for ink, _ in INKS], np.uint8).repeat(8, axis=0), "CMYK")


@pytest.mark.parametrize("body", [saved(SWATCHES, "JPEG", quality=100, subsampling=0), saved(SWATCHES, "TIFF")])
def test_ink_becomes_srgb_as_in_a_browser(body: bytes) -> None:
    assert off_by(srgb(body)[4::8, 4], np.array([shown for _, shown in INKS], np.uint8)) <= 1


def test_ink_of_16_bits_and_with_alpha() -> None:
    ink = np.array([[(100, 50, 25, 60, 77)]], np.uint16) * 257
    wide = pyvips.Image.new_from_memory(ink.tobytes(), 1, 1, 5, "ushort").copy(interpretation="cmyk")
    assert off_by(pixels(color.to_srgb(wide)), np.array([[(118, 156, 175, 77)]], np.uint8)) <= 1


@pytest.mark.usefixtures("press")
def test_ink_becomes_srgb_as_on_a_press() -> None:
    """A generic press: paper is white, full ink nearly black, cyan a dull blue."""
    out = srgb(saved(SWATCHES, "JPEG", quality=100, subsampling=0))[4::8, 4].astype(int)
    paper, cyan, full = out[0], out[1], out[-1]
    assert paper.min() >= 250
    assert 20 <= full.max() <= 50
    assert cyan[0] < 60
    assert 120 < cyan[1] < 200
    assert 180 < cyan[2] < 240


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_a_profile_is_applied(kind: str) -> None:
    """Its red is our green, so red comes out green."""
    options = {"PNG": {}, "TIFF": {}}.get(kind, {"quality": 100})
    red = np.full((16, 16, 3), (220, 30, 40), np.uint8)
    out = srgb(file_of(red, kind, icc_profile=grb_profile(), **options))
    assert off_by(out, np.full((16, 16, 3), (30, 220, 40), np.uint8)) <= 6


def test_a_profile_is_applied_with_alpha_and_to_16_bits() -> None:
    clear = np.full((4, 4, 4), (220, 30, 40, 99), np.uint8)
    assert off_by(srgb(file_of(clear, icc_profile=grb_profile())), clear[:, :, [1, 0, 2, 3]]) <= 2


def test_the_usual_profile_changes_nothing() -> None:
    assert np.array_equal(srgb(file_of(PHOTO, icc_profile=srgb_profile())), PHOTO)


# fmt: off
BROKEN = {
    "empty":        b"",
    "noise":        b"not a profile" * 40,
    "cut":          srgb_profile()[:200],
    "of nowhere":   bytes(128) + srgb_profile()[128:],
    "of another":   b"\0" * 16 + b"CMYK" + srgb_profile()[20:],
}
# fmt: on


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_check_36_a_broken_profile_is_left_out(name: str, mode: str) -> None:
    image = Pillow.fromarray(PHOTO).convert(mode)
    out = srgb(saved(image, "PNG", icc_profile=BROKEN[name]))
    assert off_by(out[:, :, :3], rgb(image)) <= 1


def test_check_36_a_broken_profile_on_ink_is_left_out() -> None:
    inks = Pillow.new("CMYK", (8, 8), (0, 0, 0, 0))
    for broken in BROKEN.values():
        assert srgb(saved(inks, "JPEG", icc_profile=broken)).min() >= 250


NOWHERE = {
    "unknown connection space": srgb_profile()[:20] + b"\x80\0\0\0" + srgb_profile()[24:],
    "two connection spaces": srgb_profile()[:20] + b"RGB " + srgb_profile()[24:],
    "a curve that is cut": srgb_profile().replace(b"para", b"curv"),
}


@pytest.mark.parametrize("name", [*BROKEN, *NOWHERE])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_a_profile_that_the_color_library_refuses_is_left_out(name: str, kind: str) -> None:
    """PNG's library reads none of these profiles."""
    profile = {**BROKEN, **NOWHERE}[name]
    options = {"lossless": True} if kind == "WEBP" else {}
    body, plain = file_of(PHOTO, kind, icc_profile=profile, **options), srgb(file_of(PHOTO, kind, **options))
    assert off_by(srgb(body), plain) <= 1
    for target in (Format.PNG, Format.WEBP, Format.AVIF, *([Format.JXL] if JXL.package else [])):
        encoding = Encoding(target, 85, lossless=True, metadata=frozenset({KeepMetadata.ICC}))
        assert off_by(srgb(encode(DecodedImage((stored(body),)), encoding)), plain) <= 4


def stored(body: bytes) -> pyvips.Image:
    return color.with_own_profile(load.decode(body, load.info_of(body)).frames[0])


def test_an_attached_profile_matches_its_pixels() -> None:
    body = file_of(PHOTO, icc_profile=grb_profile())
    frame = stored(body)
    assert np.array_equal(pixels(frame), PHOTO)
    assert frame.get("icc-profile-data") == grb_profile()


def test_check_36_a_profile_of_more_than_a_mebibyte_is_applied_instead() -> None:
    """The offsets of the tables are unchanged; the file is padded far beyond their end."""
    profile = grb_profile() + bytes(2**20)
    long = len(profile).to_bytes(4, "big") + profile[4:]
    assert off_by(pixels(stored(file_of(PHOTO, icc_profile=long))), PHOTO[:, :, [1, 0, 2]]) <= 2


def test_a_cmyk_profile_is_not_attached_to_srgb() -> None:
    out = stored(saved(Pillow.new("CMYK", (8, 8)), "JPEG"))
    assert (out.bands, out.interpretation) == (3, "srgb")
