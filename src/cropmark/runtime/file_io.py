"""Files looked at and read by system calls that keep the interpreter's lock.

os.stat() and its like let go of the lock; the HTTP server's thread takes it, and to get it back costs ten times the
call, on every hit (docs/decisions/0131). Only for what is answered at once: while a disk keeps the call waiting, no
other thread runs.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct
from typing import Any, Final, NamedTuple

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_BASIC_STATS: Final = 0x7FF
_STATX: Final = Struct("=28xH2xQQ64xqI")
"""struct statx: stx_mode, stx_ino, stx_size, stx_mtime as seconds and nanoseconds. Source: statx(2), linux/stat.h"""
_STATX_BYTES: Final = 256
_IOVEC: Final = Struct("@PN")
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)
_CANNOT_TELL: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EAGAIN})
"""What file systems and sandboxes answer that do not know RWF_NOWAIT, and what it says itself."""


class FileState(NamedTuple):
    """What tells one state of a file from another."""

    mode: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        return cls(status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)


class FileCalls:
    """The calls, with their buffers: for one thread. Paths hold no NUL."""

    def __init__(self) -> None:
        libc: Any = ctypes.PyDLL(None, use_errno=True)
        self._statx = _function(libc, "statx", "iPiup")
        self._open = _function(libc, "open", "Pii")
        self._preadv2 = _function(libc, "preadv2", "ipili")
        self._close = _function(libc, "close", "i")
        self._told = bytearray(_STATX_BYTES)
        self._told_at = _address(self._told)
        self._vector = bytearray(_IOVEC.size)
        self._vector_at = _address(self._vector)

    def stat(self, path: bytes) -> FileState:
        """Links followed. Raises OSError."""
        if self._statx is None:
            return FileState.of(os.stat(path))  # noqa: PTH116 - a Path costs three times the call
        return self._looked(_AT_FDCWD, path, 0)

    def read(self, path: bytes, most_bytes: int) -> tuple[FileState, bytearray]:
        """A whole file that lies in the page cache; its last link is not followed.

        Raises BlockingIOError where it is larger, would have to come from the disk, or nobody can tell; OSError.
        """
        if self._statx is None or self._preadv2 is None or _NOWAIT is None:
            raise BlockingIOError
        descriptor = self._open(path, _OPEN, 0)
        if descriptor < 0:
            raise _error()
        try:
            look = self._looked(descriptor, b"", _AT_EMPTY_PATH)
            if look.size > most_bytes:
                raise BlockingIOError
            return look, self._read(descriptor, look.size)
        finally:
            self._close(descriptor)

    def rest(self, path: bytes, known: FileState, start: int) -> bytes | None:
        """As read(), but what follows `start`, and only of a file whose state is the one that is known; else None."""
        if self._statx is None or self._preadv2 is None or _NOWAIT is None:
            raise BlockingIOError
        descriptor = self._open(path, _OPEN, 0)
        if descriptor < 0:
            raise _error()
        try:
            if self._looked(descriptor, b"", _AT_EMPTY_PATH) != known:
                return None
            made: bytes = _new_bytes(None, known.size - start)
            self._fill(descriptor, _bytes_address(made), len(made), start)
            return made
        finally:
            self._close(descriptor)

    def _looked(self, descriptor: int, path: bytes, flags: int) -> FileState:
        if self._statx(descriptor, path, flags, _BASIC_STATS, self._told_at[0]):
            raise _error()
        mode, inode, size, seconds, nanoseconds = _STATX.unpack_from(self._told)
        return FileState(mode, inode, size, seconds * 1_000_000_000 + nanoseconds)

    def _read(self, descriptor: int, size: int) -> bytearray:
        data = bytearray(size)
        if not size:
            return data
        address, kept = _address(data)
        self._fill(descriptor, address, size, 0)
        del kept  # else the bytes could not be cut
        return data

    def _fill(self, descriptor: int, address: int, size: int, start: int) -> None:
        _IOVEC.pack_into(self._vector, 0, address, size)
        read = self._preadv2(descriptor, self._vector_at[0], 1, start, _NOWAIT)
        if read < 0 and ctypes.get_errno() not in _CANNOT_TELL:
            raise _error()
        if read < size:  # a part of it is on the disk only
            raise BlockingIOError


_KINDS: Final = {"i": ctypes.c_int, "u": ctypes.c_uint, "l": ctypes.c_long, "p": ctypes.c_void_p, "P": ctypes.c_char_p}


# Bytes that nobody has seen yet may be written: https://docs.python.org/3/c-api/bytes.html. It saves a copy.
_new_bytes: Final = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.argtypes, _new_bytes.restype = [ctypes.c_void_p, ctypes.c_ssize_t], ctypes.py_object
_bytes_address: Final = ctypes.pythonapi.PyBytes_AsString
_bytes_address.argtypes, _bytes_address.restype = [ctypes.py_object], ctypes.c_void_p


def _function(libc: Any, name: str, arguments: str) -> Any:
    """None where this libc has no such function."""
    found = getattr(libc, name, None)
    if found is not None:
        found.argtypes = [_KINDS[kind] for kind in arguments]
        found.restype = ctypes.c_long if name == "preadv2" else ctypes.c_int
    return found


def _address(buffer: bytearray) -> tuple[int, ctypes.c_char]:
    """Where the buffer lies, and what keeps it there."""
    first = ctypes.c_char.from_buffer(buffer)
    return ctypes.addressof(first), first


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
