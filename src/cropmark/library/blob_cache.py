"""Copies of objects that were read lately, as files without names.

A picture that is asked for in eight widths is fetched from its bucket once.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import IO, Final

from cachetools import LRUCache

HELD_BYTES: Final = 64 * 2**20
"""Of all copies; a larger object is fetched each time."""
HELD: Final = 64
"""Copies: each keeps a descriptor open."""


class BlobCache:
    """Files by the digest of what is in them, so none is ever stale. For threads; readers use pread."""

    def __init__(self, most_bytes: int = HELD_BYTES) -> None:
        self._files = _Files(most_bytes)
        self._lock = Lock()

    def open(self, digest: str) -> int | None:
        """A descriptor of the copy, which the caller closes; None where there is none."""
        with self._lock:
            file = self._files.get(digest)
            return None if file is None else os.dup(file.fileno())

    def take(self, digest: str, file: IO[bytes]) -> int:
        """A descriptor of the file, which is ours from now on, and is kept if it is not too large."""
        with self._lock:
            descriptor = os.dup(file.fileno())
            self._files.forget(digest)
            if _length(file) > self._files.maxsize:
                file.close()
            else:
                self._files[digest] = file
            return descriptor

    def evict(self, digest: str) -> None:
        with self._lock:
            self._files.forget(digest)


class _Files(LRUCache[str, IO[bytes]]):
    """Closes what it drops."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, getsizeof=lambda file: max(_length(file), most_bytes // HELD))

    def popitem(self) -> tuple[str, IO[bytes]]:
        digest, file = super().popitem()
        file.close()
        return digest, file

    def forget(self, digest: str) -> None:
        if (file := self.pop(digest, None)) is not None:
            file.close()


def _length(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
