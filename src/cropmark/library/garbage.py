"""Finds and removes the garbage that a crash leaves in a library: unreferenced bytes and unfinished files.

A crash never loses the bytes of a version. If a lost disk does, only a backup can restore them.
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
"""Unreferenced bytes of a lower age are not removed: another process may be about to add a version with them."""


@dataclass(frozen=True, slots=True)
class LibraryState:
    """The state of a library's bytes.

    `stored` is the number of blobs that a version has. `orphans` are the digests of blobs that no version has,
    `missing` the digests of absent blobs that a version has.
    """

    stored: int
    orphans: tuple[str, ...]
    missing: tuple[str, ...]


def check(store: LibraryStore) -> LibraryState:
    """Compare the stored bytes with the versions. Raises OSError if the storage fails."""
    with store.database.read_transaction(timeout_s=LONG_TIMEOUT_S) as connection:
        referenced = set(connection.execute(select(versions.c.digest).distinct()).scalars())
    stored = set(store.blobs.digests())
    return LibraryState(
        stored=len(stored & referenced),
        orphans=tuple(sorted(stored - referenced)),
        missing=tuple(sorted(referenced - stored)),
    )


def collect_garbage(store: LibraryStore, *, min_age_s: float = MIN_AGE_S) -> int:
    """Remove orphans of at least `min_age_s` and unfinished files; return the number of removed files."""
    return store.delete_unreferenced(check(store).orphans, min_age_s=min_age_s) + store.blobs.remove_unfinished()


def run_maintenance(store: LibraryStore) -> None:
    """Collect garbage and delete old rows of the table `changes`. A server calls this periodically."""
    collect_garbage(store)
    with store.database.write_transaction() as transaction:
        changes.prune(transaction)
