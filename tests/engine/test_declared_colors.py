"""Colors declared without an ICC profile, from the file to sRGB. The expected values are those of Chromium 156."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import pyvips

from cropmark.engine import color, load
from cropmark.engine.color_tags import PRIMARIES
from cropmark.engine.colorimetry import inverse, multiplied, rgb_to_xyz
from cropmark.engine.image import in_memory
from tests.engine.avif_files import avif_of, flat_stream, gray_stream, icc, nclx, ramp_stream
from tests.engine.decoding import srgb
from tests.engine.images import file_of, gray_profile, grb_profile, pixels, srgb_profile
from tests.engine.test_color_tags import P3, SRGB_CHUNK, chrm, cicp, gama
from tests.hostile.raw import GRAY, RGB, RGBA, chunk, idat, ihdr, png

COLOR = (200, 100, 50)
COLOR_OF_P3 = (215, 93, 31)


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))


def flat_png(*chunks: bytes) -> bytes:
    """16 by 16 pixels of COLOR."""
    return png(ihdr(16, 16), *chunks, idat((b"\0" + bytes(COLOR) * 16) * 16))


def ramp_png(*chunks: bytes, kind: int = RGB, bits: int = 8) -> bytes:
    """All 256 grays from left to right, one row."""
    samples = (3 if kind == RGB else 1) * (bits // 8)
    return png(ihdr(256, 1, bits, kind), *chunks, idat(b"\0" + b"".join(bytes([v]) * samples for v in range(256))))


FLAT = flat_stream(*COLOR)
# fmt: off
FLATS = {
    # PNG
    "untagged":              (flat_png(),                                             COLOR),
    "cICP P3":               (flat_png(cicp(12, 13)),                                 COLOR_OF_P3),
    "cICP over iCCP":        (flat_png(cicp(12, 13), iccp(grb_profile())),            COLOR_OF_P3),
    "cICP sRGB over iCCP":   (flat_png(cicp(1, 13), iccp(grb_profile())),             COLOR),
    "iCCP over sRGB":        (flat_png(iccp(grb_profile()), SRGB_CHUNK),              (100, 200, 50)),
    "iCCP over gAMA":        (flat_png(iccp(grb_profile()), gama(100_000)),           (100, 200, 50)),
    "broken iCCP, gAMA":     (flat_png(iccp(b"junk" * 50), gama(100_000)),            (229, 168, 122)),
    "sRGB over gAMA, cHRM":  (flat_png(SRGB_CHUNK, gama(100_000), chrm(P3)),          COLOR),
    "gAMA and cHRM":         (flat_png(gama(45_455), chrm(P3)),                       (216, 93, 24)),
    "linear gAMA and cHRM":  (flat_png(gama(100_000), chrm(P3)),                      (240, 165, 114)),
    "cHRM alone":            (flat_png(chrm(P3)),                                     COLOR),
    "cICP DCI-P3":           (flat_png(cicp(11, 13)),                                 (211, 93, 32)),
    # AVIF
    "no nclx":               (avif_of(FLAT),                                          COLOR),
    "nclx sRGB":             (avif_of(FLAT, nclx(1, 13)),                             COLOR),
    "nclx unspecified":      (avif_of(FLAT, nclx(2, 2)),                              COLOR),
    "nclx P3":               (avif_of(FLAT, nclx(12, 13)),                            COLOR_OF_P3),
    "nclx P3, camera":       (avif_of(FLAT, nclx(12, 1)),                             COLOR_OF_P3),
    "nclx 470M":             (avif_of(FLAT, nclx(4, 13)),                             (232, 93, 30)),
    "nclx 625":              (avif_of(FLAT, nclx(5, 13)),                             (203, 100, 51)),
    "nclx 525":              (avif_of(FLAT, nclx(6, 13)),                             (196, 102, 49)),
    "nclx film":             (avif_of(FLAT, nclx(8, 13)),                             (222, 92, 32)),
    "nclx BT.2020":          (avif_of(FLAT, nclx(9, 13)),                             (241, 76, 29)),
    "nclx XYZ":              (avif_of(FLAT, nclx(10, 13)),                            (255, 0, 61)),
    "nclx EBU":              (avif_of(FLAT, nclx(22, 13)),                            (202, 102, 49)),
    "profile over nclx":     (avif_of(FLAT, nclx(12, 13), icc(srgb_profile())),       COLOR),
    "broken profile, nclx":  (avif_of(FLAT, nclx(12, 13), icc(b"junk" * 50)),         COLOR_OF_P3),
}
GRAYS_AT = (20, 40, 80, 128, 148, 192, 235, 255)
LINEAR = (79, 110, 151, 188, 200, 225, 246, 255)
GAMMA_22 = (11, 35, 79, 129, 149, 193, 236, 255)
CAMERA = (7, 28, 71, 121, 142, 189, 235, 255)
STRETCHED = (5, 28, 75, 130, 154, 205, 255, 255)
HLG = (5, 21, 57, 99, 120, 189, 239, 255)
PQ = (1, 9, 48, 132, 187, 255, 255, 255)
RAMPS = {
    "gAMA 1.0":              (ramp_png(gama(100_000)),                                LINEAR),
    "gAMA 1.0, gray":        (ramp_png(gama(100_000), kind=GRAY),                     LINEAR),
    "gAMA 1.0, 16 bits":     (ramp_png(gama(100_000), kind=GRAY, bits=16),            LINEAR),
    "gAMA 1/2.2":            (ramp_png(gama(45_455)),                                 GRAYS_AT),
    "gAMA 1/2.2, cHRM":      (ramp_png(gama(45_455), chrm(P3)),                       GAMMA_22),
    "cICP PQ":               (ramp_png(cicp(9, 16)),                                  PQ),
    "cICP PQ, gray":         (ramp_png(cicp(9, 16), kind=GRAY),                       PQ),
    "cICP HLG":              (ramp_png(cicp(9, 18)),                                  HLG),
    "cICP BT.709":           (ramp_png(cicp(1, 1)),                                   CAMERA),
    "nclx linear":           (avif_of(ramp_stream(), nclx(1, 8)),                     LINEAR),
    "nclx PQ":               (avif_of(ramp_stream(), nclx(9, 16)),                    PQ),
    "nclx BT.709":           (avif_of(ramp_stream(), nclx(1, 1)),                     GRAYS_AT),
    "gray":                  (avif_of(gray_stream(), nclx(1, 13)),                    GRAYS_AT),
    "gray, limited":         (avif_of(gray_stream(limited=True), nclx(1, 13, full_range=False)), GRAYS_AT),
    "gray, by the stream":   (avif_of(gray_stream(limited=True)),                     GRAYS_AT),
    "gray, nclx decides":    (avif_of(gray_stream(), nclx(1, 13, full_range=False)),  STRETCHED),
    "gray, limited, PQ":     (avif_of(gray_stream(limited=True), nclx(9, 16, full_range=False)), PQ),
    "gray, profile":         (avif_of(gray_stream(), icc(gray_profile(1.0))),         LINEAR),
    "gray, RGB profile":     (avif_of(gray_stream(), icc(srgb_profile())),            GRAYS_AT),
    "gray PNG, profile":     (ramp_png(iccp(gray_profile(1.0)), kind=GRAY),           LINEAR),
}
# fmt: on


@pytest.mark.parametrize("name", FLATS)
def test_a_color(name: str) -> None:
    body, expected = FLATS[name]
    assert np.abs(srgb(body)[8, 8].astype(int) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("name", RAMPS)
def test_grays(name: str) -> None:
    body, expected = RAMPS[name]
    found = srgb(body)[0, GRAYS_AT, :3]
    assert np.abs(found.astype(int) - np.array(expected)[:, None]).max() <= 1


def test_a_declared_profile_can_be_kept() -> None:
    """With metadata=icc the pixels stay as they are, and the profile that explains them goes with them."""
    body = flat_png(cicp(12, 13))
    kept = in_memory(color.with_own_profile(load.decode(body, load.info_of(body)).frames[0]))
    assert pixels(kept)[8, 8].tolist() == list(COLOR)
    assert srgb(file_of(pixels(kept), icc_profile=kept.get("icc-profile-data")))[8, 8].tolist() == list(COLOR_OF_P3)


def test_hdr_is_tone_mapped_where_profiles_are_kept() -> None:
    body = avif_of(ramp_stream(), nclx(9, 16))
    kept = color.with_own_profile(load.decode(body, load.info_of(body)).frames[0])
    assert abs(int(pixels(kept)[0, 148, 0]) - 187) <= 1
    assert not kept.get_typeof("icc-profile-data")


def test_alpha_is_not_stretched() -> None:
    gray = np.dstack([np.full((16, 16), 255, np.uint8)] * 3 + [np.full((16, 16), 100, np.uint8)])
    body = file_of(gray, "AVIF", quality=100, subsampling="4:0:0", range="limited")
    assert srgb(body)[8, 8].tolist() == [255, 255, 255, 100]


@pytest.mark.parametrize("primaries", [9, 12])
def test_16_bits_are_converted_exactly(primaries: int) -> None:
    """Against the formulas. The color library's own conversion of 16 bits is off by up to 24 levels."""
    wide = np.random.default_rng(3).integers(0, 65536, (16, 64, 3))
    matrix = np.array(multiplied(inverse(rgb_to_xyz(PRIMARIES[1])), rgb_to_xyz(PRIMARIES[primaries])))
    light = (np.where(wide <= 2650, wide / 12.92 / 65535, ((wide / 65535 + 0.055) / 1.055) ** 2.4) @ matrix.T).clip(
        0, 1
    )
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    found = srgb(png(ihdr(64, 16, 16), cicp(primaries, 13), idat(rows)))
    assert np.abs(found - expected).max() <= 3


def test_16_bits_with_alpha_and_a_broken_profile() -> None:
    deep = png(ihdr(1, 1, 16, RGBA), cicp(12, 13), idat(b"\0" + b"".join(bytes((v, v)) for v in (*COLOR, 99))))
    assert np.abs(srgb(deep)[0, 0].astype(int) - np.array((*COLOR_OF_P3, 99))).max() <= 1
    pixel = np.array([[[v * 257 for v in COLOR]]], np.uint16)
    broken = pyvips.Image.new_from_memory(pixel.tobytes(), 1, 1, 3, "ushort").copy(interpretation="rgb16")
    broken.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"\0" * 16 + b"RGB " + bytes(200))
    assert pixels(color.to_srgb(broken))[0, 0].tolist() == list(COLOR)
