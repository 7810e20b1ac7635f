"""The Tier protocol, and the statistics that all cache tiers have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cropmark.ports import Cache

MAX_ENTRY_DIVISOR: Final = 8
"""An entry may take at most 1/8 of its tier's limit."""


@dataclass(frozen=True, slots=True)
class TierStats:
    """The contents of a cache tier, and the numbers of its events since it was opened.

    `errors` counts failures of the storage. `damaged` counts entries that were found corrupt. `skipped` counts
    renditions that were not stored: they were too large, the storage failed, or its queue was full. `available` is
    false while the tier is not used after a failure of its storage.
    """

    name: str
    entries: int = 0
    bytes: int = 0
    limit_bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    errors: int = 0
    damaged: int = 0
    skipped: int = 0
    available: bool = True


class Tier(Cache, Protocol):
    """A Cache with a name (`memory`, `disk`, `shared`) and statistics."""

    @property
    def name(self) -> str: ...

    def stats(self) -> TierStats: ...


@dataclass(slots=True)
class TierCounters:
    """The counters for TierStats. Only the event loop changes them, so that no increment is lost."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    damaged: int = 0
    skipped: int = 0
