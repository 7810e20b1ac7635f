"""Locks for renders, shared by the fronts of one host: one front renders an image, the others wait for the disk.

A lock is a byte range of one file. The kernel releases it when its process ends.
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
"""Time after which a front renders an image itself, although another one still renders it."""
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.05
_OFFSET_DIGITS: Final = 15
"""Hexadecimal digits of a key that make the offset of its byte, which fits into 63 bits."""


class HostLocks:
    """Implements ports.RenderLocks with a file that the fronts share.

    The object is never closed: closing the file, even through another descriptor, would release all locks of the
    process.
    """

    tier: Final = "disk"

    def __init__(self, file: Path) -> None:
        """Raises OSError."""
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.longest_wait_s = LONGEST_WAIT_S

    async def acquire(self, key: Digest) -> str | None:
        """The key as the token; None if another front has the lock; empty if the file system has no locks."""
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
        """Lock the key's byte if no other process has locked it. Raises OSError if locks are not available."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, key: Digest) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _offset(key))


def _offset(key: Digest) -> int:
    return int(key[:_OFFSET_DIGITS], 16)
