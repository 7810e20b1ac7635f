"""The precedence of the color chunks of PNG, and the meaning of code points."""

from __future__ import annotations

import struct

import pytest

from cropmark.engine.color_tags import (
    PRIMARIES,
    SRGB,
    AnyColors,
    Curve,
    HdrColors,
    HdrTransfer,
    SdrColors,
    avif_colors,
    png_colors,
)
from cropmark.engine.colorimetry import Primaries
from tests.hostile.raw import chunk, idat, ihdr, png

P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
"""White, red, green and blue of Display P3 in units of 1/100,000."""


def cicp(primaries: int, transfer: int, matrix: int = 0, full_range: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, matrix, full_range]))


def gama(gamma: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", gamma))


def chrm(values: tuple[int, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *values))


def clli(nits: int) -> bytes:
    return chunk(b"cLLI", struct.pack(">II", nits * 10_000, 10_000))


def mdcv(nits: int) -> bytes:
    return chunk(b"mDCV", bytes(16) + struct.pack(">II", nits * 10_000, 1))


def file_with(*chunks: bytes) -> bytes:
    return png(ihdr(1, 1), *chunks, idat(bytes(4)))


SRGB_CHUNK = chunk(b"sRGB", b"\0")
BROKEN_GAMA = gama(100_000)[:-1] + b"x"
CAMERA = SdrColors(PRIMARIES[1], Curve(2.4))
LINEAR = SdrColors(PRIMARIES[1], Curve(1.0))
DISPLAY_P3 = SdrColors(PRIMARIES[12], SRGB.curve)
LINEAR_P3 = SdrColors(Primaries((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329)), Curve(1.0))


DARKER = SdrColors(PRIMARIES[1], Curve(1 / 0.42))
HLG = HdrColors(9, HdrTransfer.HLG, 1000)


def pq(peak_nits: int) -> HdrColors:
    return HdrColors(9, HdrTransfer.PQ, peak_nits)


# fmt: off
CHUNKS: dict[str, tuple[tuple[bytes, ...], AnyColors | None]] = {
    "none":                          ((),                                            None),
    "cICP":                          ((cicp(12, 13),),                               DISPLAY_P3),
    "cICP before sRGB":              ((SRGB_CHUNK, cicp(12, 13)),                    DISPLAY_P3),
    "cICP of sRGB":                  ((cicp(1, 13), gama(100_000)),                  SRGB),
    "cICP of a camera":              ((cicp(1, 1),),                                 CAMERA),
    "cICP PQ":                       ((cicp(9, 16),),                                pq(1000)),
    "cICP PQ and cLLI":              ((cicp(9, 16), clli(4000), mdcv(600)),          pq(4000)),
    "cICP PQ and mDCV":              ((cicp(9, 16), mdcv(600)),                      pq(600)),
    "cICP PQ and an empty cLLI":     ((cicp(9, 16), clli(0)),                        pq(1000)),
    "cICP PQ and too bright a cLLI": ((cicp(9, 16), clli(100_000)),                  pq(10_000)),
    "cICP HLG":                      ((cicp(9, 18),),                                HLG),
    # ignored, as in browsers: the next chunk counts
    "cICP with a matrix":            ((cicp(12, 13, matrix=1), gama(100_000)),       LINEAR),
    "cICP in limited range":         ((cicp(12, 13, full_range=0), gama(100_000)),   LINEAR),
    "cICP unspecified":              ((cicp(2, 2), gama(100_000)),                   LINEAR),
    "cICP with unknown primaries":   ((cicp(200, 13), gama(100_000)),                LINEAR),
    "cICP with a logarithm":         ((cicp(1, 9), gama(100_000)),                   LINEAR),
    "sRGB before gAMA":              ((SRGB_CHUNK, gama(100_000), chrm(P3)),         None),
    "gAMA":                          ((gama(100_000),),                              LINEAR),
    "gAMA and cHRM":                 ((gama(100_000), chrm(P3)),                     LINEAR_P3),
    "cHRM without gAMA":             ((chrm(P3),),                                   None),
    "gAMA near sRGB's":              ((gama(45_455),),                               None),
    "gAMA 5 % below sRGB's":         ((gama(43_300),),                               None),
    "gAMA 8 % below sRGB's":         ((gama(42_000),),                               DARKER),
    "gAMA near sRGB's and cHRM":     ((gama(50_000), chrm(P3)),
                                      SdrColors(LINEAR_P3.primaries, Curve(2.0))),
    "gAMA 0":                        ((gama(0),),                                    None),
    "gAMA beyond reason":            ((gama(999),),                                  None),
    "cHRM without an area":          ((gama(100_000), chrm((0,) * 8)),               None),
    "cHRM with white outside":       ((gama(100_000), chrm((90_000, 5_000, *P3[2:]))), None),
    "a wrong checksum":              ((BROKEN_GAMA,),                                None),
    "a wrong length":                ((chunk(b"gAMA", bytes(3)),),                   None),
    "the first of two":              ((gama(100_000), gama(50_000)),                 LINEAR),
}
# fmt: on


@pytest.mark.parametrize("name", CHUNKS)
def test_the_chunk_that_counts(name: str) -> None:
    chunks, expected = CHUNKS[name]
    assert png_colors(file_with(*chunks), has_profile=False) == expected


def test_a_profile_comes_after_cicp_and_before_all_others() -> None:
    assert png_colors(file_with(cicp(12, 13)), has_profile=True) == DISPLAY_P3
    assert png_colors(file_with(gama(100_000)), has_profile=True) is None


def test_chunks_after_the_pixels_do_not_count() -> None:
    assert png_colors(png(ihdr(1, 1), idat(bytes(4)), gama(100_000)), has_profile=False) is None


def test_only_the_first_thousand_chunks_are_read() -> None:
    many = [chunk(b"tEXt", b"a\0b")] * 1001
    assert png_colors(file_with(*many, gama(100_000)), has_profile=False) is None


def test_a_file_that_is_cut_anywhere_raises_nothing() -> None:
    body = file_with(cicp(9, 16), clli(4000), gama(100_000), chrm(P3))
    for end in range(len(body)):
        png_colors(body[:end], has_profile=False)


# fmt: off
CODE_POINTS: tuple[tuple[int, int, AnyColors], ...] = (
    (1,  13, SRGB),
    (2,  2,  SRGB),                                               # unspecified
    (99, 99, SRGB),                                               # unknown
    (1,  1,  SRGB),                                               # a camera's curve: browsers show it as sRGB
    (12, 6,  DISPLAY_P3),
    (9,  14, SdrColors(PRIMARIES[9], SRGB.curve)),
    (2,  8,  LINEAR),
    (1,  4,  SdrColors(PRIMARIES[1], Curve(2.2))),
    (9,  16, pq(1000)),
    (2,  18, HdrColors(1, HdrTransfer.HLG, 1000)),
)
# fmt: on


@pytest.mark.parametrize(("primaries", "transfer", "expected"), CODE_POINTS)
def test_code_points_of_avif(primaries: int, transfer: int, expected: AnyColors) -> None:
    assert avif_colors(primaries, transfer, max_nits=0) == expected
