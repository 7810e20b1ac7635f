"""Keys: issued once, kept as their digest, looked up by it.

SHA-256 without salt or stretching is right for 32 random bytes: nobody can go through them. It would be wrong for words
that people choose, which is why those are refused in production (docs/decisions/0122).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.tables import keys
from cropmark.model.assets import KeyKind, KeyScope, LibraryKey
from cropmark.model.problems import BadRequest

LEAST_CHARS: Final = 15
"""Of a key that is set by hand: the shortest that PixLab's client sends."""
SAFE_CHARS: Final = 32


def digest_of(secret: str) -> str:
    """How a key is kept and looked up."""
    return hashlib.sha256(b"cropmark key\n" + secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_secret(kind: KeyKind) -> str:
    """A key of 32 random bytes; the word before them tells what a key found in a wrong place is for."""
    return f"cropmark_{kind.value}_{secrets.token_urlsafe(32)}"


def create(writing: WriteTransaction, kind: KeyKind, name: str, scope: KeyScope, secret: str) -> LibraryKey:
    """Keep a key. Raises BadOrder for one that is too short, or kept already."""
    if len(secret) < LEAST_CHARS:
        raise BadRequest(
            f"expected a key of at least {LEAST_CHARS} characters, got {len(secret)}", fix="let one be made"
        )
    digest = digest_of(secret)
    if writing.connection.execute(select(keys.c.id).where(keys.c.digest == digest)).first():
        raise BadRequest("this key is there already", fix="choose another, or let one be made")
    row: dict[str, Any] = {
        "id": secrets.token_hex(6),
        "kind": kind.value,
        "name": name,
        "digest": digest,
        "stack": scope.stack,
        "environments": json.dumps(scope.environments),
        "created_ms": writing.now_ms,
        "last_used_ms": None,
    }
    writing.connection.execute(insert(keys).values(**row))
    writing.record_change(ChangeKind.KEYS, scope.stack or "")
    return _key(row)


def revoke(writing: WriteTransaction, key_id: str) -> bool:
    """Forget a key; False where there is none."""
    gone = writing.connection.execute(delete(keys).where(keys.c.id == key_id).returning(keys.c.stack)).all()
    for row in gone:
        writing.record_change(ChangeKind.KEYS, row.stack or "")
    return bool(gone)


def listed(connection: Connection) -> tuple[LibraryKey, ...]:
    """All keys, the oldest first."""
    return tuple(_key(row._mapping) for row in connection.execute(select(keys).order_by(keys.c.created_ms, keys.c.id)))


def used(writing: WriteTransaction, times_ms: dict[str, int]) -> None:
    """Remember when keys were used last."""
    for key_id, at_ms in times_ms.items():
        writing.connection.execute(update(keys).where(keys.c.id == key_id).values(last_used_ms=at_ms))


class KeyIndex:
    """The keys in memory: which key a secret is, without asking the database."""

    def __init__(self, found: Iterable[LibraryKey] = ()) -> None:
        self._by_digest: dict[str, LibraryKey] = {}
        self._used: dict[str, int] = {}
        self.renew(found)

    def renew(self, found: Iterable[LibraryKey]) -> None:
        """These are the keys from now on."""
        self._by_digest = {key.digest: key for key in found}

    def key(self, kind: KeyKind, secret: str, now_ms: int) -> LibraryKey | None:
        """The key of that kind; None where there is none.

        Found by its digest, which tells nobody who measures times how much of a guess was right.
        """
        digest = digest_of(secret)
        found = self._by_digest.get(digest)
        if found is None or found.kind is not kind or not hmac.compare_digest(found.digest, digest):
            return None
        self.use(found.id, now_ms)
        return found

    def use(self, key_id: str, now_ms: int) -> None:
        """A key was used, which somebody else has looked at."""
        self._used[key_id] = now_ms

    def taken_uses(self) -> dict[str, int]:
        """When keys were used since this was asked last, by their ids."""
        taken, self._used = self._used, {}
        return taken


def _key(row: Any) -> LibraryKey:  # a mapping of the table's columns
    scope = KeyScope(row["stack"], tuple(json.loads(row["environments"])))
    return LibraryKey(
        row["id"], KeyKind(row["kind"]), row["name"], row["digest"], scope, row["created_ms"], row["last_used_ms"]
    )
