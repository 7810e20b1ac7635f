"""Reads the color description from the sequence header of an AV1 stream.

Source: https://aomediacodec.github.io/av1-spec/av1-spec.pdf, sections 5.3 to 5.5
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SEQUENCE_HEADER: Final = 1
_MAX_OBUS: Final = 16
_MAX_HEADER_BYTES: Final = 1024
_BT709, _SRGB, _UNSPECIFIED, _IDENTITY = 1, 13, 2, 0


@dataclass(frozen=True, slots=True)
class CodedColors:
    """The colors that a video stream declares: code points (ITU-T H.273) of its primaries and of its transfer function.

    `full_range` is True if samples use 0 to 255, and False if they use 16 to 235.
    """

    primaries: int
    transfer: int
    full_range: bool


@dataclass(slots=True)
class _BitReader:
    """Reads numbers bit by bit, most significant first. Raises IndexError past the end."""

    data: bytes
    at: int = 0

    def number(self, bits: int) -> int:
        if self.at + bits > len(self.data) * 8:
            raise IndexError("the header ends early")
        value = int.from_bytes(self.data, "big") >> (len(self.data) * 8 - self.at - bits)
        self.at += bits
        return value & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.number(1) == 1

    def skip_variable_length(self) -> None:
        """Skip a number in the encoding uvlc: n zero bits, a one bit, then n bits of the number."""
        zeros = 0
        while not self.flag():
            zeros += 1
        self.number(zeros)


def coded_colors(stream: bytes) -> CodedColors | None:
    """The colors that the first sequence header of the stream declares; None without a readable header."""
    try:
        payload = next(body for kind, body in _obus(stream) if kind == _SEQUENCE_HEADER)
        return _sequence_colors(_BitReader(payload[:_MAX_HEADER_BYTES]))
    except (StopIteration, IndexError):
        return None


def _obus(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the type and the payload of each unit (OBU) at the start of the stream. Long payloads are cut."""
    at = 0
    for _ in range(_MAX_OBUS):
        head = stream[at]
        at += 2 if head & 0x04 else 1
        if head & 0x02:
            size, at = _leb128(stream, at)
        else:
            size = len(stream) - at
        yield head >> 3 & 15, stream[at : at + min(size, _MAX_HEADER_BYTES)]
        at += size


def _leb128(stream: bytes, at: int) -> tuple[int, int]:
    """The number at the offset `at`, in the encoding LEB128, and the offset after the number."""
    value = 0
    for count in range(8):
        part = stream[at + count]
        value |= (part & 0x7F) << 7 * count
        if not part & 0x80:
            return value, at + count + 1
    raise IndexError("the number is too long")


def _sequence_colors(bits: _BitReader) -> CodedColors:
    profile = bits.number(3)
    bits.flag()  # still_picture
    reduced = bits.flag()
    if reduced:
        bits.number(5)  # seq_level_idx
    else:
        _skip_operating_points(bits)
    _skip_tools(bits, reduced=reduced)
    return _color_config(bits, profile)


def _skip_operating_points(bits: _BitReader) -> None:
    delay_bits = 0
    if bits.flag():  # timing_info_present_flag
        bits.number(64)
        if bits.flag():  # equal_picture_interval
            bits.skip_variable_length()
        if bits.flag():  # decoder_model_info_present_flag
            delay_bits = bits.number(5) + 1
            bits.number(32 + 5 + 5)
    has_display_delay = bits.flag()
    for _ in range(bits.number(5) + 1):
        bits.number(12)  # operating_point_idc
        if bits.number(5) > 7:  # seq_level_idx
            bits.flag()  # seq_tier
        if delay_bits and bits.flag():
            bits.number(2 * delay_bits + 1)
        if has_display_delay and bits.flag():
            bits.number(4)


def _skip_tools(bits: _BitReader, *, reduced: bool) -> None:
    width_bits, height_bits = bits.number(4) + 1, bits.number(4) + 1
    bits.number(width_bits + height_bits)
    if not reduced and bits.flag():  # frame_id_numbers_present_flag
        bits.number(4 + 3)
    bits.number(3)  # 128x128 superblocks, filter intra, intra edge filter
    if not reduced:
        bits.number(4)  # interintra, masked compound, warped motion, dual filter
        has_order_hint = bits.flag()
        if has_order_hint:
            bits.number(2)
        has_screen_tools = bits.flag() or bits.flag()  # chosen per frame, or forced on
        if has_screen_tools and not bits.flag():  # seq_choose_integer_mv
            bits.flag()
        if has_order_hint:
            bits.number(3)
    bits.number(3)  # superres, cdef, restoration


def _color_config(bits: _BitReader, profile: int) -> CodedColors:
    is_deep = bits.flag()
    if profile == 2 and is_deep:
        bits.flag()  # twelve_bit
    is_mono = profile != 1 and bits.flag()
    described = bits.flag()
    primaries, transfer, matrix = (bits.number(8) for _ in range(3)) if described else (_UNSPECIFIED,) * 3
    is_rgb = (primaries, transfer, matrix) == (_BT709, _SRGB, _IDENTITY)
    return CodedColors(primaries, transfer, full_range=(is_rgb and not is_mono) or bits.flag())
