"""Common to all cache tiers: the Tier protocol, its statistics, and the match of a purge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cropmark.ports import Cache, Record

MAX_ENTRY_DIVISOR: Final = 8
"""An entry takes at most 1/8 of its tier's limit."""


@dataclass(frozen=True, slots=True)
class TierStats:
    """The contents of a tier, and its events since it was opened.

    `errors` counts failures of the storage, `damaged` entries found corrupt, `skipped` renditions that were not stored
    because they were too large or the storage failed.
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


def has_tag(record: Record, tag_prefix: str) -> bool:
    """True if a purge of `tag_prefix` covers this record."""
    return any(tag.startswith(tag_prefix) for tag in record.tags)
