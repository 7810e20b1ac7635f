"""Open originals: one that several share, and what each of them is handed."""

from __future__ import annotations

import io
import os
import weakref

from cropmark.ports import OpenSource, SourceVersion


class SharedFile:
    """An open original that several share, closed when the last lets go of it."""

    def __init__(self, descriptor: int, length: int, stamp: SourceVersion) -> None:
        self._descriptor = descriptor
        self._bytes = length
        self.stamp = stamp
        weakref.finalize(self, os.close, descriptor)

    def opened(self) -> OpenSource:
        """A descriptor of one's own."""
        return handed(os.dup(self._descriptor), self._bytes, self.stamp)


def handed(descriptor: int, length: int, stamp: SourceVersion) -> OpenSource:
    """The descriptor as whoever asked for it gets it: to be closed once, however often close() is called."""
    # FileIO closes once: the number may be another file's by the second time.
    return OpenSource(descriptor, length, stamp, io.FileIO(descriptor).close)
