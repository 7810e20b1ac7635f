"""The color description in the sequence header of AV1 streams."""

from __future__ import annotations

import pytest
import pyvips

from cropmark.engine.av1 import CodedColors, coded_colors
from tests.engine.avif_files import gray_stream, ramp_stream


def bits_of(text: str) -> bytes:
    """The bits as bytes, spaces ignored, zeros appended."""
    bits = text.replace(" ", "")
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def header(bits: str) -> bytes:
    """A temporal delimiter, then a sequence header with these bits."""
    payload = bits_of(bits)
    return b"\x12\x00\x0a" + bytes([len(payload)]) + payload


REDUCED = "000 1 1 00000"
SIZE = "0001 0001 11 11"
TOOLS = "000 000"
PQ_FULL = "00001001 00010000 00001001 1"
# no timing, one operating point, level 8 with its tier; no frame numbers; tools with an order hint
LONG = "000 1 0 0 0 00000 000000000000 01000 0"
LONG_TOOLS = "0 000 0000 1 00 1 1 101 000"

# fmt: off
STREAMS = {
    "reduced":             (header(REDUCED + SIZE + TOOLS + "1 0 1" + PQ_FULL),        CodedColors(9, 16, True)),
    "undescribed":         (header(REDUCED + SIZE + TOOLS + "0 0 0 0"),                CodedColors(2, 2, False)),
    "gray, full range":    (header(REDUCED + SIZE + TOOLS + "0 1 0 1"),                CodedColors(2, 2, True)),
    "RGB is full range":   (header(REDUCED + SIZE + TOOLS + "0 0 1 00000001 00001101 00000000"),
                            CodedColors(1, 13, True)),
    "profile 1 has color": (header("001" + REDUCED[3:] + SIZE + TOOLS + "0 0 0"),      CodedColors(2, 2, False)),
    "12 bits":             (header("010" + REDUCED[3:] + SIZE + TOOLS + "1 1 0 1" + PQ_FULL),
                            CodedColors(9, 16, True)),
    "not reduced":         (header(LONG + SIZE + LONG_TOOLS + "1 0 1" + PQ_FULL),      CodedColors(9, 16, True)),
    "timing":              (header("000 1 0 1" + "0" * 64 + "1 001 01 1 00001" + "0" * 42 + "1 00000" + "0" * 12
                                   + "00000 1 00000 1 0000" + SIZE + LONG_TOOLS + "1 0 1" + PQ_FULL),
                            CodedColors(9, 16, True)),
}
# fmt: on


@pytest.mark.parametrize("name", STREAMS)
def test_the_color_description(name: str) -> None:
    stream, expected = STREAMS[name]
    assert coded_colors(stream) == expected


def test_streams_of_two_encoders() -> None:
    """libheif writes the long header, libavif the reduced one."""
    gray = pyvips.Image.black(16, 16).cast("uchar").heifsave_buffer(compression="av1", bitdepth=10)
    assert coded_colors(gray[gray.index(b"mdat") + 4 :]) == CodedColors(1, 13, full_range=True)
    assert coded_colors(ramp_stream().data) == CodedColors(1, 13, full_range=True)
    assert coded_colors(gray_stream(limited=True).data) == CodedColors(1, 13, full_range=False)


# fmt: off
UNREADABLE = {
    "nothing":          b"",
    "no header":        b"\x12\x00" * 40,
    "a long length":    b"\x0a" + b"\xff" * 12,
    "cut":              header(REDUCED + SIZE)[:-1],
    "endless number":   header("000 1 0 1" + "0" * 64 + "1" + "0" * 512),
}
# fmt: on


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_stream_has_no_description(name: str) -> None:
    assert coded_colors(UNREADABLE[name]) is None
