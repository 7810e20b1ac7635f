"""Caches recently read objects of a bucket in anonymous temporary files.

With it, requests for eight widths of one image fetch the image's object from the bucket once.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import IO, Final

from cachetools import LRUCache

MAX_BYTES: Final = 64 * 2**20
"""Total size of all copies. A larger object is fetched each time."""
MAX_FILES: Final = 64
"""Largest number of copies: each holds a descriptor open."""


class BlobCache:
    """Copies by the digest of their bytes, so no copy is ever stale. Thread-safe if readers use pread."""

    def __init__(self, limit_bytes: int = MAX_BYTES) -> None:
        self._files = _Files(limit_bytes)
        self._lock = Lock()

    def open(self, digest: str) -> int | None:
        """A descriptor of the copy, which the caller closes; None if it is not cached."""
        with self._lock:
            file = self._files.get(digest)
            return None if file is None else os.dup(file.fileno())

    def add(self, digest: str, file: IO[bytes]) -> int:
        """Cache the file, which the caller must not use any more. Returns a descriptor of it, which the caller closes.

        A file larger than the cache is not cached.
        """
        with self._lock:
            descriptor = os.dup(file.fileno())
            self._files.discard(digest)
            if _length(file) > self._files.maxsize:
                file.close()
            else:
                self._files[digest] = file
            return descriptor

    def evict(self, digest: str) -> None:
        with self._lock:
            self._files.discard(digest)


class _Files(LRUCache[str, IO[bytes]]):
    """An LRU cache that closes the files it evicts."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes, getsizeof=lambda file: max(_length(file), limit_bytes // MAX_FILES))

    def popitem(self) -> tuple[str, IO[bytes]]:
        digest, file = super().popitem()
        file.close()
        return digest, file

    def discard(self, digest: str) -> None:
        if (file := self.pop(digest, None)) is not None:
            file.close()


def _length(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
