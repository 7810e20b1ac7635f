"""An open original that several requests share."""

from __future__ import annotations

import os
import weakref

from cropmark.ports import OpenSource, SourceVersion


class SharedFile:
    """An open original. It is closed when the last reference to this object is gone."""

    def __init__(self, descriptor: int, length: int, version: SourceVersion) -> None:
        self._descriptor = descriptor
        self._bytes = length
        self.version = version
        weakref.finalize(self, os.close, descriptor)

    def open(self) -> OpenSource:
        """Open the original again, with a new descriptor that the caller closes."""
        return OpenSource.from_fd(os.dup(self._descriptor), self._bytes, self.version)
