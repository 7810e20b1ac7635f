"""Stores the renditions in memory that a soft purge has purged.

They are sent until new renditions are ready, for at most STALE_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from cachetools import TTLCache

from cropmark.ports import STALE_S, Digest, Rendition

STALE_BYTES: Final = 16 * 2**20
_RECORD_BYTES: Final = 1_536


class StaleRenditions:
    """Purged renditions by the key of their order.

    The key of an order stays the same if a purge changes the versions of the sources.
    """

    def __init__(self, limit_bytes: int = STALE_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._renditions: TTLCache[Digest, Rendition] = TTLCache(
            limit_bytes, STALE_S, clock, getsizeof=lambda rendition: len(rendition.body) + _RECORD_BYTES
        )

    def __len__(self) -> int:
        return len(self._renditions)

    def add(self, found: Iterable[Rendition]) -> None:
        """Add purged renditions, except those that are larger than the cache and decisions to send an original."""
        for rendition in found:
            record = rendition.record
            is_small = len(rendition.body) + _RECORD_BYTES <= self._renditions.maxsize
            if record.order_key and record.original is None and is_small:
                self._renditions[Digest(record.order_key)] = rendition

    def find(self, order_key: Digest) -> Rendition | None:
        return self._renditions.get(order_key)

    def remove(self, order_key: Digest) -> None:
        self._renditions.pop(order_key, None)

    def purge(self, tag_prefix: str) -> None:
        """Remove the renditions with a tag that begins with `tag_prefix`."""
        for order_key, rendition in list(self._renditions.items()):
            if rendition.record.has_tag(tag_prefix):
                self.remove(order_key)
