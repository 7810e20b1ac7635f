"""Reads open files. Repeats pread(), because one call may return fewer bytes than requested."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from cropmark.model.formats import SNIFF_BYTES, Format, sniff_format
from cropmark.model.media_types import media_type_of
from cropmark.model.problems import SourceFailed
from cropmark.ports import OpenSource

PIECE_BYTES = 1 << 20


def read_up_to(descriptor: int, length: int) -> bytes:
    """The first `length` bytes of a file; fewer only if the file ends earlier. Raises OSError."""
    parts = tuple(read_pieces(descriptor, length, piece_bytes=length))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_pieces(descriptor: int, length: int, piece_bytes: int = PIECE_BYTES, *, start: int = 0) -> Iterator[bytes]:
    """`length` bytes of a file from offset `start` on, in pieces; fewer only if the file ends first. Raises OSError."""
    at, end = start, start + length
    # pread() instead of read(): several tasks and processes may share the open file, and with it its position.
    while at < end and (piece := os.pread(descriptor, min(piece_bytes, end - at), at)):
        yield piece
        at += len(piece)


def sha256_of(descriptor: int, length: int) -> str:
    """The SHA-256 of the first `length` bytes of a file, in hex; of all bytes of a shorter file. Raises OSError."""
    digest = hashlib.sha256()
    for piece in read_pieces(descriptor, length):
        digest.update(piece)
    return digest.hexdigest()


def source_format(source: OpenSource) -> Format | None:
    """The image format of a source, by its first bytes; None if they match no known format. Raises OSError."""
    return sniff_format(read_up_to(source.descriptor, min(SNIFF_BYTES, source.bytes)))


def source_media_type(source: OpenSource, name: str) -> str | None:
    """The media type of a source that is not an image, by its file name and first bytes; None if unknown.

    Raises OSError.
    """
    return media_type_of(name, read_up_to(source.descriptor, min(SNIFF_BYTES, source.bytes)))


def read_source(source: OpenSource) -> bytes:
    """All bytes of a source. Raises SourceFailed if they cannot be read."""
    return b"".join(source_pieces(source))


def source_pieces(source: OpenSource) -> Iterator[bytes]:
    """All bytes of a source, in pieces. Raises SourceFailed if they cannot be read, or if the file ends early."""
    length = 0
    try:
        for piece in read_pieces(source.descriptor, source.bytes):
            length += len(piece)
            yield piece
    except OSError as error:
        raise SourceFailed("the image cannot be read now", fix="try again later") from error
    if length < source.bytes:
        raise SourceFailed(f"the image ended after {length} of {source.bytes} bytes", fix="try again later")


class FileBytes:
    """The bytes of an open file, which are read only when they are needed.

    After read(), all bytes are in memory and slices use them. If the file is now shorter than `length`, slices and
    read() return fewer bytes.
    """

    def __init__(self, descriptor: int, length: int) -> None:
        """Take ownership of the descriptor: close() closes it. `length` is the length of the file in bytes."""
        self._descriptor = descriptor
        self._length = length
        self._all: bytes | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        """The bytes between two offsets; empty after close(), unless read() was called before. Raises OSError."""
        if self._all is not None:
            return self._all[part]
        if self._descriptor < 0:
            return b""
        start, stop, _ = part.indices(self._length)
        return b"".join(read_pieces(self._descriptor, stop - start, start=start))

    def read(self) -> bytes:
        """All bytes. A second call does not read the file again. Raises OSError, MemoryError."""
        if self._all is None:
            self._all = b"" if self._descriptor < 0 else read_up_to(self._descriptor, self._length)
        return self._all

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


Data = bytes | FileBytes


def all_bytes(data: Data) -> bytes:
    """All bytes of `data`, which may be a FileBytes. Raises OSError, MemoryError."""
    return data if isinstance(data, bytes) else data.read()
