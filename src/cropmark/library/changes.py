"""What changed in a library since one looked last, whoever changed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, select

from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.tables import changes, clock, schedules

KEPT_MS: Final = 86_400_000
"""How long changes are told; whoever has not looked for as long begins anew."""

__all__ = ["Change", "ChangeFeed", "ChangeKind", "news_since", "prune"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what kind, and of what."""

    n: int
    kind: ChangeKind
    stack: str
    uid: str


@dataclass(frozen=True, slots=True)
class ChangeFeed:
    """All changes up to the clock's `n`. `whole`: some may be missing, all that was known is to be forgotten.

    `due`: something is to be published or unpublished by now.
    """

    n: int
    changes: tuple[Change, ...]
    whole: bool
    due: bool


def news_since(connection: Connection, n: int | None, now_ms: int, looked_ms: int = 0) -> ChangeFeed:
    """What came after the clock stood at `n`; None: all is new."""
    upto = connection.execute(select(clock.c.n)).scalar_one()
    due_ms = connection.execute(select(func.min(schedules.c.at_ms))).scalar()
    is_due = due_ms is not None and due_ms <= now_ms
    if n is None or now_ms - looked_ms > KEPT_MS // 2:
        return ChangeFeed(upto, (), whole=True, due=is_due)
    if n == upto:
        return ChangeFeed(n, (), whole=False, due=is_due)
    rows = connection.execute(
        select(changes).where(changes.c.n > n, changes.c.n <= upto).order_by(changes.c.n, changes.c.place)
    )
    found = tuple(Change(row.n, ChangeKind(row.kind), row.stack, row.uid) for row in rows)
    return ChangeFeed(upto, found, whole=False, due=is_due)


def prune(writing: WriteTransaction) -> None:
    """Forget changes that everybody has heard of, or has to begin anew for."""
    writing.connection.execute(delete(changes).where(changes.c.at_ms < writing.now_ms - KEPT_MS))
