"""Writes the body of a fetch to a temporary file, and computes its length and digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import structlog

from cropmark.model.problems import Overloaded
from cropmark.runtime.atomic_file import new_part_file
from cropmark.runtime.reads import read_pieces

log = structlog.get_logger("cropmark.sources")

PART_PREFIX = "part-"
"""Prefix of the names of unfinished files."""


class Spool:
    """A file in `folder` that is being written.

    If a write fails, the spool calls `free_space` and tries again. If that fails too, the spool continues in the
    system's temporary folder; a body there is served but not stored. Raises Overloaded if the temporary folder is also
    full.

    The creator calls discard() exactly once, even after rename().
    """

    def __init__(self, folder: Path, free_space: Callable[[], None]) -> None:
        self._folder = folder
        self._free_space = free_space
        self._path: Path | None = None
        """The path of the unfinished file; None before it is created, after rename(), or in the temporary folder."""
        self._descriptor = -1
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes written so far, in hex."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append a piece. Raises Overloaded."""
        try:
            self._open_part()
            self._write_piece(piece)
        except OSError as first:
            log.warning("writing to the folder of originals failed", error=first.strerror)
            self._write_to_fallback(piece)
        self._digest.update(piece)
        self.bytes += len(piece)

    def open_for_reading(self) -> int:
        """A new read-only descriptor of the file, which the caller closes."""
        if self._path is not None:
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        # A file in the temporary folder has no name. /dev/fd opens it again on systems with /proc; elsewhere the new
        # descriptor shares its position with the old one.
        return os.open(f"/dev/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def rename(self, path: Path) -> bool:
        """Move the complete file to its final path.

        Returns False if the file is in the temporary folder, or if the disk fails.
        """
        if self._path is None:
            return False
        try:
            self._path.replace(path)
        except OSError as error:
            log.warning("an original could not be stored", error=error.strerror)
            return False
        self._path = None
        return True

    def discard(self) -> None:
        """Close the file, and remove it if it was not renamed."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_part(self) -> None:
        if self._descriptor < 0:
            self._descriptor, self._path = new_part_file(self._folder, PART_PREFIX)

    def _write_piece(self, piece: bytes) -> None:
        """Write the piece after the bytes written so far. Overwrites the remains of a failed write."""
        _write_at(self._descriptor, piece, self.bytes)

    def _write_to_fallback(self, piece: bytes) -> None:
        self._free_space()
        try:
            if self._path is not None:
                with contextlib.suppress(OSError):
                    return self._write_piece(piece)
            self._move_to_fallback()
            return self._write_piece(piece)
        except OSError as second:
            raise Overloaded(
                "not enough disk space for this image", fix="try again later", retry_after_s=10
            ) from second

    def _move_to_fallback(self) -> None:
        """Copy the bytes written so far to an unnamed file in the system's temporary folder, and continue there."""
        with tempfile.TemporaryFile() as file:
            target = os.dup(file.fileno())
        before, self._descriptor = self._descriptor, target
        try:
            at = 0
            for piece in read_pieces(before, self.bytes):
                _write_at(target, piece, at)
                at += len(piece)
        finally:
            if before >= 0:
                os.close(before)
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._path = None


def _write_at(descriptor: int, piece: bytes, at: int) -> None:
    """Write the whole piece at an offset. Raises OSError."""
    view = memoryview(piece)
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count
