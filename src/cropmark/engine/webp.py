"""The chunks of WebP files: what they hold, and the durations and clear pixels that the encoder does not tell."""

from __future__ import annotations

from collections.abc import Iterator

_ANIMATED, _ALPHA = 0x02, 0x10
"""Flags of a VP8X chunk."""


def chunks(data: bytes, start: int = 12, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The chunks between two offsets: name, first byte and end of what they hold. Stops at the first torn one.

    Source: https://developers.google.com/speed/webp/docs/riff_container
    """
    stop = len(data) if end is None else end
    while start + 8 <= stop:
        first = start + 8
        last = first + int.from_bytes(data[start + 4 : first], "little")
        if last > stop:
            return
        yield data[start : start + 4], first, last
        start = last + (last - first) % 2


def picture_chunks(data: bytes) -> Iterator[bytes]:
    """The names of the chunks that hold pixels, of animations those inside their frames."""
    for name, first, last in chunks(data):
        if name == b"ANMF":
            yield from (inner for inner, _, _ in chunks(data, first + 16, last) if inner in _PICTURES)
        elif name in _PICTURES:
            yield name


_PICTURES = (b"VP8 ", b"VP8L")


def with_durations(webp: bytes, delays_ms: tuple[int, ...]) -> bytes:
    """The animation with its frames' durations as told.

    libvips writes 100 ms for all of 10 ms and below. Where the encoder made one frame of several equal ones, their
    durations are summed already, and nothing is changed.
    """
    frames = [first for name, first, _ in chunks(webp) if name == b"ANMF"]
    if len(frames) != len(delays_ms):
        return webp
    body = bytearray(webp)
    for first, delay in zip(frames, delays_ms, strict=True):
        body[first + 12 : first + 15] = max(0, min(delay, 2**24 - 1)).to_bytes(3, "little")
    return bytes(body)


def with_alpha(webp: bytes) -> bytes:
    """The animation with a header that tells of clear pixels; of a still nothing is changed.

    The encoder cuts clear edges off each frame. Where only opaque pixels are left inside, it tells of no transparency,
    and readers paint the edges black.
    """
    for name, first, _ in chunks(webp):
        if name == b"VP8X" and webp[first] & _ANIMATED:
            return webp[:first] + bytes([webp[first] | _ALPHA]) + webp[first + 1 :]
    return webp
