"""The latest purges. They show whether a result was begun before a purge of it and finished after the purge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low
from typing import Final, Generic, TypeVar

from cropmark.ports import Record

LIMIT: Final = 16_384
"""Largest number of prefixes in memory."""

Position = tuple[int, int]
"""A position in the stream of all servers' purges: the milliseconds and the number of a Redis stream id."""
START: Final[Position] = (0, 0)
_CLOCKS_DIFFER_S: Final = 60.0

P = TypeVar("P", float, int, Position)


class LatestPurges(Generic[P]):
    """The latest purge of each prefix. A lookup of a tag needs one step for each different length of a prefix."""

    def __init__(self, start: P, limit: int = LIMIT) -> None:
        self._limit = limit
        self._by_length: dict[int, dict[str, P]] = {}
        self._count = 0
        self.forgotten: P = start
        """Purges up to this one may be missing, because the number of prefixes in memory is limited."""

    def note(self, prefix: str, at: P) -> None:
        purges = self._by_length.setdefault(len(prefix), {})
        self._count += prefix not in purges
        purges[prefix] = max(at, purges.get(prefix, at))
        if self._count > self._limit:
            self._forget_older_half()

    def latest(self, tags: Iterable[str]) -> P | None:
        """The latest purge that covers one of the tags; None if memory contains no such purge."""
        found = [at for tag in tags for n, purges in self._by_length.items() if (at := purges.get(tag[:n])) is not None]
        return max(found) if found else None

    def latest_or_forgotten(self, tags: Iterable[str]) -> P:
        """The latest purge that covers one of the tags. Purges that are not in memory count as covering them."""
        return max(self.latest(tags) or self.forgotten, self.forgotten)

    def _forget_older_half(self) -> None:
        self.forgotten = median_low(at for purges in self._by_length.values() for at in purges.values())
        for purges in self._by_length.values():
            for prefix in [prefix for prefix, at in purges.items() if at <= self.forgotten]:
                del purges[prefix]
        self._count = sum(map(len, self._by_length.values()))


@dataclass(frozen=True, slots=True)
class Began:
    """The purges that were known when a render began.

    `count` is their number on this server, `position` the last one in the stream of all servers' purges.
    """

    count: int
    position: Position | None


class PurgeHistory:
    """The purges that this server knows: their number, and their positions in the stream of all servers' purges."""

    def __init__(self) -> None:
        self.count = 0
        """Purges since the start."""
        self.position: Position | None = None
        """Position of the last shared purge that this server has applied; None: the servers do not share purges."""
        self._here: LatestPurges[int] = LatestPurges(0)
        self._everywhere: LatestPurges[Position] = LatestPurges(START)

    def began(self) -> Began:
        """The state for a render that begins now."""
        return Began(self.count, self.position)

    def note(self, prefix: str, at: Position | None = None) -> None:
        """Count a purge of all tags that begin with `prefix`.

        Results with one of these tags that were begun before the purge are no longer stored.
        """
        self.count += 1
        self._here.note(prefix, self.count)
        if at is not None:
            self.note_earlier(prefix, at)
            self.position = max(at, self.position or START)

    def note_earlier(self, prefix: str, at: Position) -> None:
        """Note a purge that the servers applied before this server's start."""
        self._everywhere.note(prefix, at)

    def forget_until(self, position: Position) -> None:
        """Note that this server does not know the shared purges up to `position`."""
        self._everywhere.forgotten = max(position, self._everywhere.forgotten)

    def covering(self, tags: Iterable[str]) -> int:
        """The number on this server of the last purge that covers one of the tags; 0 if none does."""
        return self._here.latest_or_forgotten(tags) if self.count else 0

    def is_purged(self, tags: Iterable[str], began: Began) -> bool:
        """True if a purge after `began` covers one of the tags, or if purges after it have been forgotten."""
        if began.count == self.count:
            return False
        latest = self._here.latest(tags)
        return began.count < self._here.forgotten or (latest is not None and began.count < latest)

    def is_purged_elsewhere(self, record: Record, stored_s: float) -> bool:
        """True if the server that rendered a result of the shared cache did not know a purge of the result yet.

        `stored_s` is the time at which the shared cache received the result. Results that were stored before the oldest
        purge in memory are covered by the marks in the shared cache.
        """
        if self.is_older_than_a_purge(record):
            return True
        seen, forgotten = read_position(record.purges_seen) or START, self._everywhere.forgotten
        return seen < forgotten and stored_s > forgotten[0] / 1000 - _CLOCKS_DIFFER_S

    def is_older_than_a_purge(self, record: Record) -> bool:
        """True if a shared purge in memory covers the result and was not known when the result's render began."""
        latest = self._everywhere.latest(record.tags)
        return latest is not None and (read_position(record.purges_seen) or START) < latest


def read_position(text: str, separator: str = "-") -> Position | None:
    """The position that Redis writes as `1700000000000-0`; None for any other text."""
    milliseconds, _, number = text.partition(separator)
    return (int(milliseconds), int(number)) if milliseconds.isdecimal() and number.isdecimal() else None


def write_position(position: Position | None, separator: str = "-") -> str:
    """The position as Redis writes it; empty for None."""
    return "" if position is None else f"{position[0]}{separator}{position[1]}"
