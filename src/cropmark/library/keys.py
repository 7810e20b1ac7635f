"""Creates, revokes and finds API keys. A key is shown once; only its digest is stored.

SHA-256 without salt or stretching is safe for keys of 32 random bytes, which cannot be guessed. It is not safe for
passwords that people choose, so production rejects short keys (docs/decisions/0122).
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

MIN_CHARS: Final = 15
"""Minimum length of a key that an operator chose: PixLab's client sends no shorter key."""
RECOMMENDED_CHARS: Final = 32
"""Minimum length, in production, of a key that an operator chose."""


def digest_of(secret: str) -> str:
    """The digest of a secret. Keys are stored and found by it."""
    return hashlib.sha256(b"cropmark key\n" + secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret(kind: KeyKind) -> str:
    """A new random secret of 32 bytes. Its prefix names the kind of key, so that a leaked key can be recognized."""
    return f"cropmark_{kind.value}_{secrets.token_urlsafe(32)}"


def create(transaction: WriteTransaction, kind: KeyKind, name: str, scope: KeyScope, secret: str) -> LibraryKey:
    """Store a key. Raises BadRequest if the secret is shorter than MIN_CHARS or already stored."""
    if len(secret) < MIN_CHARS:
        raise BadRequest(
            f"expected a key of at least {MIN_CHARS} characters, got {len(secret)}",
            fix="use a longer key, or a generated key",
        )
    digest = digest_of(secret)
    if transaction.connection.execute(select(keys.c.id).where(keys.c.digest == digest)).first():
        raise BadRequest("a key with this secret exists already", fix="choose another key, or use a generated key")
    row: dict[str, Any] = {
        "id": secrets.token_hex(6),
        "kind": kind.value,
        "name": name,
        "digest": digest,
        "stack": scope.stack,
        "environments": json.dumps(scope.environments),
        "created_ms": transaction.now_ms,
        "last_used_ms": None,
    }
    transaction.connection.execute(insert(keys).values(**row))
    transaction.record_change(ChangeKind.KEYS, scope.stack or "")
    return _key(row)


def revoke(transaction: WriteTransaction, key_id: str) -> bool:
    """Delete a key. Returns False if the id is unknown."""
    deleted = transaction.connection.execute(delete(keys).where(keys.c.id == key_id).returning(keys.c.stack)).all()
    for row in deleted:
        transaction.record_change(ChangeKind.KEYS, row.stack or "")
    return bool(deleted)


def all_keys(connection: Connection) -> tuple[LibraryKey, ...]:
    """All keys, the oldest first."""
    return tuple(_key(row._mapping) for row in connection.execute(select(keys).order_by(keys.c.created_ms, keys.c.id)))


def record_uses(transaction: WriteTransaction, times_ms: dict[str, int]) -> None:
    """Store when keys were last used. `times_ms` has the times in Unix milliseconds, by key id."""
    for key_id, at_ms in times_ms.items():
        transaction.connection.execute(update(keys).where(keys.c.id == key_id).values(last_used_ms=at_ms))


class KeyIndex:
    """All keys in memory. Finds the key with a given secret without a database query."""

    def __init__(self, keys: Iterable[LibraryKey] = ()) -> None:
        self._by_digest: dict[str, LibraryKey] = {}
        self._used: dict[str, int] = {}
        self.replace(keys)

    def replace(self, keys: Iterable[LibraryKey]) -> None:
        """Replace all keys in memory by `keys`."""
        self._by_digest = {key.digest: key for key in keys}

    def find(self, kind: KeyKind, secret: str, now_ms: int) -> LibraryKey | None:
        """The key with this kind and secret, or None. Records that the key was used.

        The lookup compares digests, so its timing reveals nothing about the secret.
        """
        digest = digest_of(secret)
        key = self._by_digest.get(digest)
        if key is None or key.kind is not kind or not hmac.compare_digest(key.digest, digest):
            return None
        self.record_use(key.id, now_ms)
        return key

    def record_use(self, key_id: str, now_ms: int) -> None:
        """Record that a key was used at `now_ms`. find() calls this too."""
        self._used[key_id] = now_ms

    def take_uses(self) -> dict[str, int]:
        """The keys that were used since the previous call, with the time of last use.

        Times are Unix milliseconds, by key id.
        """
        uses, self._used = self._used, {}
        return uses


def _key(row: Any) -> LibraryKey:  # a mapping of the table's columns
    scope = KeyScope(row["stack"], tuple(json.loads(row["environments"])))
    return LibraryKey(
        row["id"], KeyKind(row["kind"]), row["name"], row["digest"], scope, row["created_ms"], row["last_used_ms"]
    )
