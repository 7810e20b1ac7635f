"""Locks that prevent two fronts of a host from rendering the same image at the same time.

One front renders the image, and the other fronts wait for the result in the disk cache. A lock is a locked byte of a
file. The kernel releases it when the front's process ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from cropmark.ports import Digest

LONGEST_WAIT_S: Final = 10.0
"""Time after which a waiting front renders the image itself, although another front still renders it."""
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.05
_OFFSET_DIGITS: Final = 15
"""Hexadecimal digits of a key that make the offset of its byte, which fits into 63 bits."""


class HostLocks:
    """Locks for renders, as locked bytes of a file that all fronts share. Implements ports.RenderLocks.

    The file is never closed, because closing it, even through another descriptor, would release all locks of the
    process.
    """

    tier: Final = "disk"

    def __init__(self, file: Path) -> None:
        """`file` is created if it does not exist. Raises OSError."""
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.longest_wait_s = LONGEST_WAIT_S

    async def acquire(self, key: Digest) -> str | None:
        """Acquire the lock for `key`, and return the token for release(), which is the key.

        Returns None if another front has the lock, and an empty text if the file system does not support locks.
        """
        try:
            return key if self._try(key) else None
        except OSError:
            return ""

    async def wait(self, key: Digest, until_s: float) -> None:
        pause_s = _FIRST_PAUSE_S
        while time.monotonic() < until_s:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
            try:
                if self._try(key):
                    self._unlock(key)
                    return
            except OSError:
                return

    async def release(self, key: Digest, token: str) -> None:
        self._unlock(key)

    def _try(self, key: Digest) -> bool:
        """Lock the byte of `key`; returns False if another process has locked it.

        Raises OSError if the file system does not support locks.
        """
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, key: Digest) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _offset(key))


def _offset(key: Digest) -> int:
    return int(key[:_OFFSET_DIGITS], 16)
