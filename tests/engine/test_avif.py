"""The color properties of AVIF files, read from their boxes."""

from __future__ import annotations

import pytest

from cropmark.engine.av1 import CodedColors
from cropmark.engine.avif import AvifColors, avif_colors_of
from tests.engine.avif_files import (
    avif_of,
    box,
    content_light,
    flat_stream,
    gray_stream,
    grid_of,
    icc,
    nclx,
    ramp_stream,
)
from tests.engine.images import srgb_profile

SRGB = CodedColors(1, 13, full_range=True)
P3 = CodedColors(12, 13, full_range=True)


def found(coded: CodedColors | None, *, monochrome: bool = False, max_nits: int = 0) -> AvifColors:
    return AvifColors(coded, monochrome, max_nits)


FLAT = flat_stream(200, 100, 50)
WIDE_BOX = (1).to_bytes(4, "big") + b"free" + (24).to_bytes(8, "big") + bytes(8)

# fmt: off
FILES = {
    "nclx":                  (avif_of(FLAT, nclx(12, 13)),                          found(P3)),
    "limited range":         (avif_of(FLAT, nclx(9, 16, full_range=False)),         found(CodedColors(9, 16, False))),
    "profile first":         (avif_of(FLAT, icc(srgb_profile()), nclx(12, 13)),     found(P3)),
    "nclx first":            (avif_of(FLAT, nclx(12, 13), icc(srgb_profile())),     found(P3)),
    "two: the first counts": (avif_of(FLAT, nclx(12, 13), nclx(9, 16)),             found(P3)),
    "brightest light":       (avif_of(FLAT, nclx(12, 13), content_light(4000)),     found(P3, max_nits=4000)),
    "gray":                  (avif_of(gray_stream(), nclx(12, 13)),                 found(P3, monochrome=True)),
    # without nclx the stream counts: Pillow writes sRGB's code points and the range into it
    "none":                  (avif_of(ramp_stream()),                               found(SRGB)),
    "none, gray":            (avif_of(gray_stream()),                               found(SRGB, monochrome=True)),
    "none, gray, limited":   (avif_of(gray_stream(limited=True)),
                              found(CodedColors(1, 13, False), monochrome=True)),
    "grid":                  (grid_of(FLAT, [], [nclx(12, 13)]),                    found(P3)),
    "grid: its own counts":  (grid_of(FLAT, [nclx(9, 16)], [nclx(12, 13)]),         found(P3)),
    "grid: of its tile":     (grid_of(FLAT, [nclx(12, 13)], []),                    found(P3)),
    "grid: of the stream":   (grid_of(gray_stream(limited=True), [], []),
                              found(CodedColors(1, 13, False), monochrome=True)),
    "a box of 64 bits":      (WIDE_BOX + avif_of(FLAT, nclx(12, 13)),               found(P3)),
    "a box without end":     (avif_of(FLAT, nclx(12, 13)) + b"\0\0\0\0free",        found(P3)),
}
# fmt: on


@pytest.mark.parametrize("name", FILES)
def test_the_color_properties(name: str) -> None:
    body, expected = FILES[name]
    assert avif_colors_of(body) == expected


# fmt: off
MALFORMED = {
    "nothing":         b"",
    "no meta":         box(b"ftyp", b"avif"),
    "an empty meta":   box(b"meta", b""),
    "meta in itself":  box(b"meta", bytes(4) + box(b"meta", bytes(4))),
    "a huge length":   b"\xff\xff\xff\xffmeta" + bytes(40),
    "a length of 4":   b"\0\0\0\x04meta" + bytes(40),
    "zeros":           bytes(4096),
}
# fmt: on


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_has_no_color_properties(name: str) -> None:
    assert avif_colors_of(MALFORMED[name]) is None


def test_a_file_that_is_cut_or_changed_anywhere_raises_nothing() -> None:
    for whole in (FILES["profile first"][0], FILES["grid: of the stream"][0], FILES["none"][0]):
        body = bytearray(whole)
        for at in range(0, min(len(body), 600), 2):
            avif_colors_of(bytes(body[:at]))
            kept, body[at] = body[at], 0xFF
            avif_colors_of(bytes(body))
            body[at] = kept
