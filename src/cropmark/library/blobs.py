"""Stores the bytes of asset files (blobs) in a folder. Each blob is named by its digest.

A blob is complete or absent, even after a crash: it is written to a temporary file, synced to disk, then renamed. Equal
bytes are stored once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from cropmark.ports import OpenSource
from cropmark.runtime.atomic_file import sync_folder, write_atomically
from cropmark.runtime.reads import source_pieces

CHUNK_BYTES: Final = 2**20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_INCOMING: Final = "incoming"
_STALE_PART_S: Final = 3600.0
"""An unfinished file that is older was left by a crash."""


class BlobStore(Protocol):
    """Stores the bytes of asset files by their SHA-256 digest.

    All calls block. They raise OSError if the storage fails.
    """

    def put(self, digest: str, source: OpenSource) -> None:
        """Store the bytes of `source` under their digest. Bytes that are already stored get the age 0."""
        ...

    def open(self, digest: str) -> int:
        """A file descriptor of the bytes, which the caller closes. Raises FileNotFoundError."""
        ...

    def age_s(self, digest: str) -> float | None:
        """Seconds since the last put() of the bytes with this digest; None if they are not stored."""
        ...

    def remove(self, digest: str) -> None: ...

    def digests(self) -> Iterator[str]:
        """The digests of all stored bytes."""
        ...

    def remove_unfinished(self) -> int:
        """Remove the files that a crash left unfinished. Returns the number of removed files."""
        ...


def digest_of(source: OpenSource) -> str:
    """The SHA-256 of an open file, in hex."""
    total = hashlib.sha256()
    for piece in source_pieces(source):
        total.update(piece)
    return total.hexdigest()


class FolderBlobStore:
    """A BlobStore in a folder. The bytes with the digest `abcdef…` are in the file `ab/cdef…`."""

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
        write_atomically(path, source_pieces(source), folder=self._incoming, durable=True)
        sync_folder(self._folder)  # the name of a new subfolder

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

    def remove_unfinished(self) -> int:
        count = 0
        for path in self._incoming.glob("*"):
            # Another process may still be writing a young file.
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_PART_S:
                    path.unlink()
                    count += 1
        return count

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:]
