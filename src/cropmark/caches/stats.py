"""What all tiers of the cache have in common: their port with a name, their figures, what a purge means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cropmark.ports import Cache, Record

SHARE: Final = 8
"""An entry is at most an eighth of its tier."""


@dataclass(frozen=True, slots=True)
class TierStats:
    """What a tier holds now, and what happened in it since it was opened.

    `errors` counts failures of the storage, `damaged` entries found broken, `skipped` renditions that were not kept:
    too large, or the storage out of order.
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
    """A Cache that tells its name (`memory`, `disk`, `shared`) and its figures."""

    @property
    def name(self) -> str: ...

    def stats(self) -> TierStats: ...


@dataclass(slots=True)
class TierCounters:
    """The counters behind TierStats. Changed on the event loop only, so that no increment is lost."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    damaged: int = 0
    skipped: int = 0


def tagged(record: Record, tag_prefix: str) -> bool:
    """Whether a purge of this prefix means it."""
    return any(tag.startswith(tag_prefix) for tag in record.tags)
