"""Bytes by their digest, in a folder: whole or not there, whatever happens meanwhile.

Written beside their place, brought to the disk, then renamed. The same bytes are kept once, whoever uploads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from cropmark.ports import OpenSource

PIECE: Final = 2**20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_INCOMING: Final = "incoming"
_DEAD_S: Final = 3600.0
"""Past this age a file on its way in is nobody's."""


class BlobStore(Protocol):
    """Where the bytes of a library lie. All calls wait for storage; OSError tells of trouble with it."""

    def put(self, digest: str, source: OpenSource) -> None:
        """Keep the bytes, which have this digest; where they are kept already, they count as new."""
        ...

    def open(self, digest: str) -> int:
        """A descriptor to read them by, which the caller closes. Raises FileNotFoundError."""
        ...

    def age_s(self, digest: str) -> float | None:
        """How long ago they were put; None where there are none."""
        ...

    def remove(self, digest: str) -> None: ...

    def digests(self) -> Iterator[str]:
        """Of all that is kept."""
        ...

    def tidy(self) -> int:
        """Remove what was never finished; how much there was."""
        ...


def digest_of(source: OpenSource) -> str:
    """The SHA-256 of an open file, in hex."""
    total = hashlib.sha256()
    for piece in pieces(source):
        total.update(piece)
    return total.hexdigest()


def pieces(source: OpenSource) -> Iterator[bytes]:
    """An open file from its beginning, in pieces."""
    for at in range(0, source.bytes, PIECE):
        yield os.pread(source.descriptor, min(PIECE, source.bytes - at), at)


class FolderBlobStore:
    """Implements Blobs: `ab/cdef…` below the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / _INCOMING

    def put(self, digest: str, source: OpenSource) -> None:
        path = self._path(digest)
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces(source))
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(part).unlink(missing_ok=True)
            raise
        _sync(path.parent)
        _sync(self._folder)

    def open(self, digest: str) -> int:
        return os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def age_s(self, digest: str) -> float | None:
        try:
            return time.time() - self._path(digest).stat().st_mtime
        except FileNotFoundError:
            return None

    def remove(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        for path in self._folder.glob("??/*"):
            digest = path.parent.name + path.name
            if _DIGEST.fullmatch(digest):
                yield digest

    def tidy(self) -> int:
        count = 0
        for path in self._incoming.glob("*"):
            # Young ones may be about to be finished, by another process too.
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _DEAD_S:
                    path.unlink()
                    count += 1
        return count

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:]


def _sync(folder: Path) -> None:
    """The folder's entries are on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
