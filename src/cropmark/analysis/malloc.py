"""Returns memory of the neural networks to the system.

Otherwise glibc's allocator would retain 300 MB of free blocks.
"""

from __future__ import annotations

import ctypes

# Looked up at import, because a renderer's sandbox forbids it later. Systems without glibc have neither function.
_LIBC = ctypes.CDLL(None)
_MALLOPT = getattr(_LIBC, "mallopt", None)
_MALLOC_TRIM = getattr(_LIBC, "malloc_trim", None)

_M_MMAP_THRESHOLD = -3
# Most blocks for an image of 192 px are smaller and are reused quickly; those for one of 256 px are larger.
_MAPPED_BYTES = 8 * 2**20


def map_large_blocks() -> None:
    """Map each block above 8 MiB separately from now on. So its memory returns to the system when the block is freed.

    This lowers the peak by 70 MB.
    """
    if _MALLOPT is not None:
        _MALLOPT(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def trim_heap() -> None:
    """Return all free blocks to the system. This takes 10 ms and frees 200 MB."""
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)
