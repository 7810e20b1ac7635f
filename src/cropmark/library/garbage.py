"""Finds and removes the garbage that a crash leaves in a library: unreferenced blobs and unfinished files.

A crash never loses the bytes of a version. Bytes that were lost with a disk can only be restored from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from cropmark.library import changes
from cropmark.library.migrate import LONG_TIMEOUT_S
from cropmark.library.store import LibraryStore
from cropmark.library.tables import versions

MIN_AGE_S: Final = 3600.0
"""Younger unreferenced blobs are not removed: another process may be about to add a version with their bytes."""


@dataclass(frozen=True, slots=True)
class LibraryState:
    """The state of a library's blobs.

    `stored` is the number of stored blobs that a version uses. `orphans` has the digests of blobs that no version uses.
    `missing` has the digests of blobs that a version uses but that are not stored.
    """

    stored: int
    orphans: tuple[str, ...]
    missing: tuple[str, ...]


def check(store: LibraryStore) -> LibraryState:
    """Compare the stored blobs with the versions in the database. Raises OSError if the storage fails."""
    with store.database.read_transaction(timeout_s=LONG_TIMEOUT_S) as connection:
        referenced = set(connection.execute(select(versions.c.digest).distinct()).scalars())
    stored = set(store.blobs.digests())
    return LibraryState(
        stored=len(stored & referenced),
        orphans=tuple(sorted(stored - referenced)),
        missing=tuple(sorted(referenced - stored)),
    )


def collect_garbage(store: LibraryStore, *, min_age_s: float = MIN_AGE_S) -> int:
    """Remove unfinished files, and orphans that are at least `min_age_s` old. Returns the number of removed files."""
    return store.delete_unreferenced(check(store).orphans, min_age_s=min_age_s) + store.blobs.remove_unfinished()


def run_maintenance(store: LibraryStore) -> None:
    """Collect garbage and delete old rows of the table `changes`. A server calls this periodically."""
    collect_garbage(store)
    with store.database.write_transaction() as transaction:
        changes.prune(transaction)
