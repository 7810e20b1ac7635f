"""The purges of a cache folder for which some entries are not removed yet. Lookups do not return such entries.

    FOLDER/<random name>        the prefix of a purge that returned before all of its entries were removed
    FOLDER/soft-<random name>   the same for a soft purge

After a restart, these purges are continued. A purge does not cover entries that were written after it began.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cropmark.caches.tag_index import SHARDS, tag_needle
from cropmark.ports import Digest, Record
from cropmark.runtime.atomic_file import write_atomically

_SOFT: Final = "soft-"
_MAX_WRITES: Final = 65_536
"""Largest number of keys in memory, of entries that were written during purges."""


@dataclass(slots=True, eq=False)
class PendingPurge:
    """A purge, and the progress of removing its entries."""

    prefix: str
    needle: bytes
    number: int
    """Purges are numbered in the order of their calls."""
    is_soft: bool = False
    """True: the entries are moved to the keys of their orders, where lookups of stale renditions find them."""
    shards_left: int = len(SHARDS)
    counts: dict[str, int] = field(default_factory=dict)
    """For each shard that was searched, the number of its entries that the purge covers."""
    failure: OSError | None = None
    """The last failure to remove an entry."""
    done: Future[OSError | None] = field(default_factory=Future)
    """Complete when all shards have been searched once.

    The result is the error if an entry could not be removed, else None.
    """
    file: Path | None = None


class PendingPurges:
    """The unfinished purges of a cache folder. Any thread may call add() and covers()."""

    def __init__(self, folder: Path, part_folder: Path) -> None:
        self._folder = folder
        self._part_folder = part_folder
        self._lock = threading.Lock()
        self._added = 0
        self._begun = 0
        """The number of the last purge that has begun: entries that are written now are newer."""
        self._written: dict[Digest, int] = {}
        """For each key that was written while purges were pending: the last purge that had begun at that time."""
        self._renewed: dict[Digest, int] = {}
        """For each order that got a new rendition while purges were pending: the last purge that had been added at that
        time."""
        self.may_remove = threading.Event()
        """Cleared while entries are counted, so that no removal delays the caller that waits for the count."""
        self.may_remove.set()
        self.all: tuple[PendingPurge, ...] = ()

    def load(self) -> tuple[PendingPurge, ...]:
        """Read the purges that an earlier process has not completed. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for file in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError, ValueError):  # another process has completed it
                self.add(file.read_text(encoding="utf-8"), soft=file.name.startswith(_SOFT)).file = file
        return self.all

    def add(self, tag_prefix: str, *, soft: bool = False) -> PendingPurge:
        """Add a purge of all entries that were written before. Raises ValueError if no entry can have such a tag."""
        needle = tag_needle(tag_prefix)
        with self._lock:
            self._added += 1
            purge = PendingPurge(tag_prefix, needle, self._added, soft)
            self.all = (*self.all, purge)
        return purge

    def begin(self, purge: PendingPurge) -> None:
        """Mark a purge as begun. The writer thread calls this when all entries that the purge covers are written."""
        self._begun = purge.number

    def keep(self, purge: PendingPurge) -> None:
        """Store the purge on the disk, so that a restart continues it. Raises OSError.

        Does nothing if the purge is complete or already stored.
        """
        if purge.file is not None or purge not in self.all:
            return
        purge.file = self._folder / f"{_SOFT if purge.is_soft else ''}{secrets.token_hex(8)}"
        for folder in (self._folder, self._part_folder):  # another process may have emptied the cache folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(purge.file, (purge.prefix.encode(),), folder=self._part_folder)
        if purge not in self.all:  # completed in between
            purge.file.unlink(missing_ok=True)

    def complete(self, purge: PendingPurge) -> None:
        """Forget a purge, because all its entries are removed."""
        with self._lock:
            self.all = tuple(other for other in self.all if other is not purge)
            if not self.all:
                self._written.clear()
                self._renewed.clear()
        if purge.file is not None:
            with contextlib.suppress(OSError):  # a restart searches for its entries again
                purge.file.unlink(missing_ok=True)

    def has_newer(self, purge: PendingPurge) -> bool:
        """True if a later purge covers all entries of this purge."""
        return any(
            other.number > purge.number and purge.prefix.startswith(other.prefix) and other.is_soft <= purge.is_soft
            for other in self.all
        )

    def note_write(self, key: Digest) -> None:
        """Record that an entry was written. Called on the writer thread."""
        if not self.all:
            return
        if len(self._written) >= _MAX_WRITES:
            self._written.clear()  # these entries count as purged, and are rendered again
        self._written[key] = self._begun

    def note_new(self, order_key: Digest) -> None:
        """Record that the new rendition of an order is ready, so that no older rendition may be sent."""
        with self._lock:
            if not self.all:
                return
            if len(self._renewed) >= _MAX_WRITES:
                self._renewed.clear()
            self._renewed[order_key] = self._added

    def is_renewed(self, order_key: Digest, number: int) -> bool:
        """True if a new rendition of the order is ready since the purge with this number was added."""
        return self._renewed.get(order_key, -1) >= number

    def last_before(self, key: Digest) -> int:
        """The number of the last purge that had begun when the entry was written; 0 if it is unknown."""
        return self._written.get(key, 0)

    def old(self, purge: PendingPurge, keys: set[bytes]) -> set[bytes]:
        """The keys without those of entries that were written after the purge began."""
        if not self._written:
            return keys
        return {key for key in keys if self._written.get(Digest(key.decode()), 0) < purge.number}

    def covers(self, record: Record, last_before: int, pending: Sequence[PendingPurge], *, stale: bool = False) -> bool:
        """True if a purge covers an entry with this record. With `stale`, soft purges do not count.

        Before the caller reads the entry, it must get `last_before`, and `all` as `pending`. A purge that was pending
        at that time may have ended since, and may have removed the entry after it was read.
        """
        purges = (purge for purge in {*pending, *self.all} if not (stale and purge.is_soft))
        return any(last_before < purge.number and record.has_tag(purge.prefix) for purge in purges)
