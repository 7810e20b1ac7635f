"""Reads the changes to a library since the last poll. Any process may have made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, select

from cropmark.library.database import Change, ChangeKind, WriteTransaction
from cropmark.library.tables import changes, clock, schedules

RETENTION_MS: Final = 86_400_000
"""Changes are stored for a day. A front that last polled more than half a day ago must drop all its cached lookups."""

__all__ = ["Change", "ChangeFeed", "ChangeKind", "changes_since", "prune"]


@dataclass(frozen=True, slots=True)
class ChangeFeed:
    """The answer to a poll: the changes since the previous poll, up to the value `n` of the library's clock.

    If `reset` is true, changes may be missing, so every cached lookup must be dropped. If `due` is true, a scheduled
    publication must be run now.
    """

    n: int
    changes: tuple[Change, ...]
    reset: bool
    due: bool
    unpublishing_in_ms: Mapping[str, int] | None = None
    """Milliseconds until each asset's next scheduled unpublishing, by uid; None if no schedule has changed."""


def changes_since(connection: Connection, n: int | None, now_ms: int, polled_ms: int = 0) -> ChangeFeed:
    """The changes since the previous poll. At that poll, the library's clock had the value `n`.

    `polled_ms` is the time of that poll in Unix milliseconds. The feed is a reset without `n`, or if the poll is older
    than half of RETENTION_MS.
    """
    newest = connection.execute(select(clock.c.n)).scalar_one()
    due_ms = connection.execute(select(func.min(schedules.c.at_ms))).scalar()
    is_due = due_ms is not None and due_ms <= now_ms
    if n is None or now_ms - polled_ms > RETENTION_MS // 2:
        return ChangeFeed(newest, (), reset=True, due=is_due, unpublishing_in_ms=_unpublishing(connection, now_ms))
    if n == newest:
        return ChangeFeed(n, (), reset=False, due=is_due)
    rows = connection.execute(
        select(changes).where(changes.c.n > n, changes.c.n <= newest).order_by(changes.c.n, changes.c.place)
    )
    feed = tuple(Change(row.n, ChangeKind(row.kind), row.stack, row.uid) for row in rows)
    rescheduled = any(change.kind in (ChangeKind.SCHEDULED, ChangeKind.WITHDRAWN) for change in feed)
    unpublishing = _unpublishing(connection, now_ms) if rescheduled else None
    return ChangeFeed(newest, feed, reset=False, due=is_due, unpublishing_in_ms=unpublishing)


def _unpublishing(connection: Connection, now_ms: int) -> dict[str, int]:
    """Milliseconds until each asset's next scheduled unpublishing, by the asset's uid."""
    query = select(schedules.c.asset, func.min(schedules.c.at_ms)).where(schedules.c.action == "unpublish")
    return {uid: at_ms - now_ms for uid, at_ms in connection.execute(query.group_by(schedules.c.asset))}


def prune(transaction: WriteTransaction) -> None:
    """Delete the changes that are older than RETENTION_MS."""
    transaction.connection.execute(delete(changes).where(changes.c.at_ms < transaction.now_ms - RETENTION_MS))
