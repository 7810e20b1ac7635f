"""A body on its way in: written piece by piece to a temporary file, counted and digested as it comes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import structlog

from cropmark.model.problems import Overloaded

log = structlog.get_logger("cropmark.sources")

PART = "part-"
"""How the names of unfinished files begin."""


class Spool:
    """Writes to a file in `folder`; where the disk refuses, it asks `make_room` once, then goes on in the system's
    folder for temporary files, from which nothing is kept. Raises Overloaded where that is full too.

    Every Spool ends with one call of `discard`, whatever became of it.
    """

    def __init__(self, folder: Path, make_room: Callable[[], None]) -> None:
        self._folder = folder
        self._make_room = make_room
        self._path: Path | None = None
        self._descriptor = -1
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def digest(self) -> str:
        """SHA-256 in hex of what was written."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        try:
            self._open_here()
            self._put(piece)
        except OSError as first:
            log.warning("the folder of originals refuses a write", why=first.strerror)
            self._write_elsewhere(piece)
        self._digest.update(piece)
        self.bytes += len(piece)

    def reading(self) -> int:
        """A new read-only descriptor of what was written."""
        if self._path is not None:
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        # The file elsewhere has no name; by its descriptor it is opened anew where the system has /proc, else shared.
        return os.open(f"/dev/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def keep_as(self, path: Path) -> bool:
        """Give the finished file its name at once and whole; False where it lies elsewhere or the disk refuses."""
        if self._path is None:
            return False
        try:
            self._path.replace(path)
        except OSError as refused:
            log.warning("an original could not be kept", why=refused.strerror)
            return False
        self._path = None
        return True

    def discard(self) -> None:
        """Close, and remove what was not kept."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_here(self) -> None:
        if self._descriptor < 0:
            self._descriptor, name = tempfile.mkstemp(prefix=PART, dir=self._folder)
            self._path = Path(name)

    def _put(self, piece: bytes) -> None:
        """All of the piece at the end of what counts; a half written one before it is written over."""
        view, at = memoryview(piece), self.bytes
        while view:
            done = os.pwrite(self._descriptor, view, at)
            view, at = view[done:], at + done

    def _write_elsewhere(self, piece: bytes) -> None:
        self._make_room()
        try:
            if self._path is not None:
                with contextlib.suppress(OSError):
                    return self._put(piece)
            self._move()
            return self._put(piece)
        except OSError as second:
            raise Overloaded(
                "there is no room to take in a picture", fix="try again later", retry_after_s=10
            ) from second

    def _move(self) -> None:
        """Go on in a file without a name in the system's folder."""
        with tempfile.TemporaryFile() as file:
            target = os.dup(file.fileno())
        before, self._descriptor = self._descriptor, target
        try:
            for at in range(0, self.bytes, 1 << 20):
                os.pwrite(target, os.pread(before, min(1 << 20, self.bytes - at), at), at)
        finally:
            if before >= 0:
                os.close(before)
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._path = None
