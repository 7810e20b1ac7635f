"""File system calls that do not release the GIL, through ctypes.

os.stat() and similar functions release the GIL. The HTTP server's thread then takes it, and waiting for it takes ten
times as long as the call itself, on every hit (docs/decisions/0131). Use this module only where no disk access is
expected: while a call waits for a disk, no other thread runs.
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
_NOT_CACHED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EAGAIN})
"""EAGAIN: the data is not in the page cache. Other errors: the file system or the sandbox lacks RWF_NOWAIT."""


class FileState(NamedTuple):
    """The attributes of a file that show if the file has changed."""

    mode: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        return cls(status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)


class FileCalls:
    """File system calls, with the buffers that they fill. For use in one thread. Paths must not contain NUL."""

    def __init__(self, libc: Any = None) -> None:
        """`libc` is the C library; None: that of this process. It may lack functions: stat() then uses os.stat()."""
        libc = libc or ctypes.PyDLL(None, use_errno=True)
        self._statx = _function(libc, "statx", "iPiup")
        self._open = _function(libc, "open", "Pii")
        self._preadv2 = _function(libc, "preadv2", "ipili")
        self._close = _function(libc, "close", "i")
        self._statx_buffer = bytearray(_STATX_BYTES)
        self._statx_address = _address(self._statx_buffer)
        self._vector = bytearray(_IOVEC.size)
        self._vector_address = _address(self._vector)

    def stat(self, path: bytes) -> FileState:
        """The state of a file. Follows symbolic links. Raises OSError."""
        if self._statx is None:
            return FileState.of(os.stat(path))  # noqa: PTH116 - a Path costs three times the call
        return self._statx_of(_AT_FDCWD, path, 0)

    def read(self, path: bytes, max_bytes: int) -> tuple[FileState, bytearray]:
        """The state and all bytes of a file, read from the page cache only.

        Raises BlockingIOError if the file is larger than `max_bytes`, if it is not in the page cache, or if the system
        cannot read from the page cache only. Raises OSError for other errors, and if the path is a symbolic link.
        """
        if self._statx is None or self._preadv2 is None or _NOWAIT is None:
            raise BlockingIOError
        descriptor = self._open(path, _OPEN, 0)
        if descriptor < 0:
            raise _error()
        try:
            state = self._statx_of(descriptor, b"", _AT_EMPTY_PATH)
            if state.size > max_bytes:
                raise BlockingIOError
            return state, self._read(descriptor, state.size)
        finally:
            self._close(descriptor)

    def read_unchanged(self, path: bytes, known: FileState, start: int) -> bytes | None:
        """The bytes of a file from `start` on; None if the file's state is not `known`. Raises like read()."""
        if self._statx is None or self._preadv2 is None or _NOWAIT is None:
            raise BlockingIOError
        descriptor = self._open(path, _OPEN, 0)
        if descriptor < 0:
            raise _error()
        try:
            if self._statx_of(descriptor, b"", _AT_EMPTY_PATH) != known:
                return None
            data: bytes = _new_bytes(None, known.size - start)
            self._fill(descriptor, _bytes_address(data), len(data), start)
            return data
        finally:
            self._close(descriptor)

    def _statx_of(self, descriptor: int, path: bytes, flags: int) -> FileState:
        if self._statx(descriptor, path, flags, _BASIC_STATS, self._statx_address[0]):
            raise _error()
        mode, inode, size, seconds, nanoseconds = _STATX.unpack_from(self._statx_buffer)
        return FileState(mode, inode, size, seconds * 1_000_000_000 + nanoseconds)

    def _read(self, descriptor: int, size: int) -> bytearray:
        data = bytearray(size)
        if not size:
            return data
        address, export = _address(data)
        self._fill(descriptor, address, size, 0)
        del export  # while it exists, the bytearray cannot be resized
        return data

    def _fill(self, descriptor: int, address: int, size: int, start: int) -> None:
        _IOVEC.pack_into(self._vector, 0, address, size)
        read = self._preadv2(descriptor, self._vector_address[0], 1, start, _NOWAIT)
        if read < 0 and ctypes.get_errno() not in _NOT_CACHED:
            raise _error()
        if read < size:  # the rest is not in the page cache
            raise BlockingIOError


_KINDS: Final = {"i": ctypes.c_int, "u": ctypes.c_uint, "l": ctypes.c_long, "p": ctypes.c_void_p, "P": ctypes.c_char_p}


# A bytes object may be filled while no other code has seen it, which saves a copy:
# https://docs.python.org/3/c-api/bytes.html
_new_bytes: Final = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.argtypes, _new_bytes.restype = [ctypes.c_void_p, ctypes.c_ssize_t], ctypes.py_object
_bytes_address: Final = ctypes.pythonapi.PyBytes_AsString
_bytes_address.argtypes, _bytes_address.restype = [ctypes.py_object], ctypes.c_void_p


def _function(libc: Any, name: str, arguments: str) -> Any:
    """A function of the C library; None if it is missing. `arguments` has a letter of _KINDS for each argument."""
    found = getattr(libc, name, None)
    if found is not None:
        found.argtypes = [_KINDS[kind] for kind in arguments]
        found.restype = ctypes.c_long if name == "preadv2" else ctypes.c_int
    return found


def _address(buffer: bytearray) -> tuple[int, ctypes.c_char]:
    """The address of a buffer, and an object that prevents resizing of the buffer while it exists."""
    first = ctypes.c_char.from_buffer(buffer)
    return ctypes.addressof(first), first


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
