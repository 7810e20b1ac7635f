"""A C library for FileCalls that returns chosen results of preadv2()."""

from __future__ import annotations

import ctypes
from typing import Any


class StubLibc:
    """The functions of the C library of this process. Setting `preadv2_result` replaces the calls of preadv2()."""

    def __init__(self, *, missing: tuple[str, ...] = ()) -> None:
        """`missing`: names of functions that this library lacks."""
        self._libc: Any = ctypes.PyDLL(None, use_errno=True)
        self._missing = missing
        self.preadv2_result: tuple[int, int] | None = None
        """The number of bytes read, -1 for an error, and the errno; None: call the real function."""
        if "preadv2" not in missing:
            self.preadv2 = self._new_preadv2()

    def __getattr__(self, name: str) -> Any:
        if name in self._missing or name == "preadv2":
            raise AttributeError(name)
        return getattr(self._libc, name)

    def _new_preadv2(self) -> Any:
        real = self._libc.preadv2
        real.restype = ctypes.c_long

        def preadv2(*arguments: Any) -> int:
            if self.preadv2_result is not None:
                count, error_number = self.preadv2_result
                ctypes.set_errno(error_number)
                return count
            real.argtypes = preadv2.argtypes  # type: ignore[attr-defined]  # FileCalls sets it
            result: int = real(*arguments)
            return result

        return preadv2
