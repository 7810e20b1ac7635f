"""Records the latest purges, to find results that were begun before a purge that covers them."""

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
    """The latest purge of each purged prefix of tags. Purges are given by their number, time or position.

    Finding the latest purge of a tag takes one lookup for each different length of the prefixes.
    """

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
        """The latest recorded purge that covers one of the tags; None without one."""
        found = [at for tag in tags for n, purges in self._by_length.items() if (at := purges.get(tag[:n])) is not None]
        return max(found) if found else None

    def latest_or_forgotten(self, tags: Iterable[str]) -> P:
        """The latest purge that may cover one of the tags. A forgotten purge may have covered any tag."""
        return max(self.latest(tags) or self.forgotten, self.forgotten)

    def _forget_older_half(self) -> None:
        self.forgotten = median_low(at for purges in self._by_length.values() for at in purges.values())
        for purges in self._by_length.values():
            for prefix in [prefix for prefix, at in purges.items() if at <= self.forgotten]:
                del purges[prefix]
        self._count = sum(map(len, self._by_length.values()))


@dataclass(frozen=True, slots=True)
class Began:
    """The purges that this server knew when a render began.

    `count` is their number. `position` is that of the latest purge in the stream of all servers' purges; None if the
    servers do not share purges.
    """

    count: int
    position: Position | None


class PurgeHistory:
    """The purges that this server knows, by number, and those in the stream of all servers' purges, by position."""

    def __init__(self) -> None:
        self.count = 0
        """Purges since the start."""
        self.position: Position | None = None
        """Position of the last shared purge that this server has applied; None: the servers do not share purges."""
        self._here: LatestPurges[int] = LatestPurges(0)
        self._everywhere: LatestPurges[Position] = LatestPurges(START)

    def began(self) -> Began:
        """The purges known now, for a render that begins now."""
        return Began(self.count, self.position)

    def note(self, prefix: str, at: Position | None = None) -> None:
        """Record a purge of all tags that begin with `prefix`.

        Results with one of these tags are no longer stored if their render began before this call. `at` is the position
        of the purge in the stream of all servers' purges; None: it is not in the stream.
        """
        self.count += 1
        self._here.note(prefix, self.count)
        if at is not None:
            self.note_earlier(prefix, at)
            self.position = max(at, self.position or START)

    def note_earlier(self, prefix: str, at: Position) -> None:
        """Record a purge from the stream that was carried out before this server's start."""
        self._everywhere.note(prefix, at)

    def forget_until(self, position: Position) -> None:
        """Record that this server does not know the purges in the stream up to `position`."""
        self._everywhere.forgotten = max(position, self._everywhere.forgotten)

    def covering(self, tags: Iterable[str]) -> int:
        """The number of the latest purge on this server that may cover one of the tags; 0 without a purge."""
        return self._here.latest_or_forgotten(tags) if self.count else 0

    def is_purged(self, tags: Iterable[str], began: Began) -> bool:
        """True if a purge after `began` covers one of the tags. Also True if a purge after `began` was forgotten."""
        if began.count == self.count:
            return False
        latest = self._here.latest(tags)
        return began.count < self._here.forgotten or (latest is not None and began.count < latest)

    def is_purged_elsewhere(self, record: Record, stored_s: float) -> bool:
        """True if a result in the shared cache may be older than a purge that covers it.

        The server that rendered the result may not have known the purge when the render began. `stored_s` is the time
        at which the shared cache received the result. Results that were stored before the oldest known purge are not
        checked here: the marks in the shared cache cover them.
        """
        if self.is_older_than_a_purge(record):
            return True
        seen, forgotten = read_position(record.purges_seen) or START, self._everywhere.forgotten
        return seen < forgotten and stored_s > forgotten[0] / 1000 - _CLOCKS_DIFFER_S

    def is_older_than_a_purge(self, record: Record) -> bool:
        """True if a known purge in the stream covers the result, and the result's render began without knowing it."""
        latest = self._everywhere.latest(record.tags)
        return latest is not None and (read_position(record.purges_seen) or START) < latest


def read_position(text: str, separator: str = "-") -> Position | None:
    """The position in a text such as `1700000000000-0`, as Redis writes it; None for any other text."""
    milliseconds, _, number = text.partition(separator)
    return (int(milliseconds), int(number)) if milliseconds.isdecimal() and number.isdecimal() else None


def write_position(position: Position | None, separator: str = "-") -> str:
    """The position as text, as Redis writes it; empty for None."""
    return "" if position is None else f"{position[0]}{separator}{position[1]}"
