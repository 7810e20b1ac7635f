"""Caches recently read objects of a bucket in anonymous temporary files.

So requests for eight widths of one image download the image from the bucket only once.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import IO, Final

from cachetools import LRUCache

MAX_BYTES: Final = 64 * 2**20
"""Total size of all cached copies. A larger object is not cached."""
MAX_FILES: Final = 64
"""Largest number of cached copies. Each copy holds a file descriptor open."""


class BlobCache:
    """Local copies of a bucket's objects, found by the digest of their bytes.

    A digest always means the same bytes, so a copy is never stale. Thread-safe if all readers use pread().
    """

    def __init__(self, limit_bytes: int = MAX_BYTES) -> None:
        self._files = _Files(limit_bytes)
        self._lock = Lock()

    def open(self, digest: str) -> int | None:
        """A new file descriptor of the cached copy, which the caller closes. None if the object is not cached."""
        with self._lock:
            file = self._files.get(digest)
            return None if file is None else os.dup(file.fileno())

    def add(self, digest: str, file: IO[bytes]) -> int:
        """Move a file into the cache. Returns a new file descriptor of the file, which the caller closes.

        The caller must not use `file` after the call. A file larger than the cache is not cached.
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
    """An LRU cache of open files. Closes each file that it evicts."""

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
