"""Reading open files to their end: one pread() may return fewer bytes than it was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cropmark.model.formats import SNIFF_BYTES, Format, sniff_format
from cropmark.model.problems import SourceFailed
from cropmark.ports import OpenSource

PIECE_BYTES = 1 << 20


def read_up_to(descriptor: int, length: int) -> bytes:
    """The first `length` bytes of a file; fewer only if the file ends before. Raises OSError."""
    parts = tuple(read_pieces(descriptor, length, length))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_pieces(descriptor: int, length: int, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """The first `length` bytes of a file in pieces; fewer only if the file ends before. Raises OSError."""
    at = 0
    # pread() instead of read(): several tasks and processes may share the open file, and with it its position.
    while at < length and (piece := os.pread(descriptor, min(piece_bytes, length - at), at)):
        yield piece
        at += len(piece)


def source_format(source: OpenSource) -> Format | None:
    """The format that the first bytes of a source show; None for any other file. Raises OSError."""
    return sniff_format(read_up_to(source.descriptor, min(SNIFF_BYTES, source.bytes)))


def read_source(source: OpenSource) -> bytes:
    """All bytes of a source. Raises SourceFailed if they cannot be read."""
    return b"".join(source_pieces(source))


def source_pieces(source: OpenSource) -> Iterator[bytes]:
    """All bytes of a source in pieces. Raises SourceFailed if they cannot be read, or if the file became shorter."""
    length = 0
    try:
        for piece in read_pieces(source.descriptor, source.bytes):
            length += len(piece)
            yield piece
    except OSError as error:
        raise SourceFailed("the image cannot be read now", fix="try again later") from error
    if length < source.bytes:
        raise SourceFailed(f"the image ended after {length} of {source.bytes} bytes", fix="try again later")
