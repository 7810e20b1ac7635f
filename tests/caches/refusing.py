"""A system call that answers what a test wants, to code that calls libc itself."""

from __future__ import annotations

import ctypes

import pytest

from cropmark.caches.disk import DiskCache


def answered(cache: DiskCache, monkeypatch: pytest.MonkeyPatch, read: int, number: int) -> None:
    """preadv2() reads so many bytes, or fails with that errno where `read` is -1."""

    def preadv2(*_: object) -> int:
        ctypes.set_errno(number)
        return read

    monkeypatch.setattr(cache._entries._calls, "_preadv2", preadv2)
