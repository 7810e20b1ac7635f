"""What a crash may leave behind in a library, found and mended: bytes that no version names, and what is unfinished.

The other way round, a version without its bytes, no crash leaves; a lost disk may, and no mending brings them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from cropmark.library import changes
from cropmark.library.store import LibraryStore
from cropmark.library.tables import versions

YOUNG_S: Final = 3600.0
"""Bytes that nobody names are left for so long: somebody may be about to."""


@dataclass(frozen=True, slots=True)
class LibraryState:
    """How a library is: `orphans` are digests of bytes that no version names, `lost` of versions without bytes."""

    kept: int
    orphans: tuple[str, ...]
    lost: tuple[str, ...]


def state_of(store: LibraryStore) -> LibraryState:
    """Compare the bytes with the versions."""
    with store.database.read_transaction() as connection:
        named = set(connection.execute(select(versions.c.digest).distinct()).scalars())
    there = set(store.blobs.digests())
    return LibraryState(len(there & named), tuple(sorted(there - named)), tuple(sorted(named - there)))


def mended(store: LibraryStore, *, young_s: float = YOUNG_S) -> int:
    """Remove the orphans that are older than that, and what was never finished; how much it was."""
    return store.drop(state_of(store).orphans, young_s=young_s) + store.blobs.tidy()


def tidied(store: LibraryStore) -> None:
    """What a server does now and then: mend, and forget old news."""
    mended(store)
    with store.database.write_transaction() as writing:
        changes.prune(writing)
