"""Common to all cache tiers: the Tier protocol and its statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cropmark.ports import Cache

MAX_ENTRY_DIVISOR: Final = 8
"""An entry takes at most 1/8 of its tier's limit."""


@dataclass(frozen=True, slots=True)
class TierStats:
    """The size of a tier's contents, and the number of its events since it was opened.

    `errors` counts failures of the storage, `damaged` entries found corrupt, `skipped` renditions that were not stored
    because they were too large, the storage failed or its queue was full. `available` is false while the tier is not
    used because its storage failed.
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
    """The counters of TierStats. Changed on the event loop only, so that no increment is lost."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    damaged: int = 0
    skipped: int = 0
