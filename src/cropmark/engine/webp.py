"""Reads the chunks of WebP files, and corrects the frame durations and the alpha flag that the encoder writes."""

from __future__ import annotations

from collections.abc import Iterator

_ANIMATED, _ALPHA = 0x02, 0x10
"""Flags of a VP8X chunk."""


def chunks(data: bytes, start: int = 12, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yields each chunk between two offsets: its name, and the start and end of its payload.

    Stops at the first truncated chunk.

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


def image_chunks(data: bytes) -> Iterator[bytes]:
    """Yields the names of the chunks that contain pixels. In an animation they are inside the chunks of the frames."""
    for name, first, last in chunks(data):
        if name == b"ANMF":
            yield from (inner for inner, _, _ in chunks(data, first + 16, last) if inner in _IMAGE_CHUNKS)
        elif name in _IMAGE_CHUNKS:
            yield name


_IMAGE_CHUNKS = (b"VP8 ", b"VP8L")


def with_durations(webp: bytes, delays_ms: tuple[int, ...]) -> bytes:
    """The animation with these frame durations, because libvips writes 100 ms for durations of 10 ms and less.

    Nothing changes if the encoder merged equal frames: it has added up their durations already.
    """
    frames = [first for name, first, _ in chunks(webp) if name == b"ANMF"]
    if len(frames) != len(delays_ms):
        return webp
    body = bytearray(webp)
    for first, delay in zip(frames, delays_ms, strict=True):
        body[first + 12 : first + 15] = max(0, min(delay, 2**24 - 1)).to_bytes(3, "little")
    return bytes(body)


def with_alpha(webp: bytes) -> bytes:
    """The animation with the alpha flag set in its header; a still image does not change.

    The encoder cuts transparent edges off each frame. If only opaque pixels remain, it clears the flag, and decoders
    paint the edges black.
    """
    for name, first, _ in chunks(webp):
        if name == b"VP8X" and webp[first] & _ANIMATED:
            return webp[:first] + bytes([webp[first] | _ALPHA]) + webp[first + 1 :]
    return webp
